// Debezium's embedded engine with a handler that counts: arguments are the port, how many events to wait for, the offsets' file.
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

public class CountingEngine {
    public static void main(String[] args) throws Exception {
        String[][] settings = {
            {"name", "engine"}, {"connector.class", "io.debezium.connector.postgresql.PostgresConnector"},
            {"database.hostname", "127.0.0.1"}, {"database.port", args[0]}, {"database.user", "postgres"},
            {"database.password", "x"}, {"database.dbname", "postgres"}, {"topic.prefix", "bench"},
            {"plugin.name", "pgoutput"}, {"slot.name", "dbz"}, {"publication.name", "bench"},
            {"publication.autocreate.mode", "disabled"}, {"table.include.list", "public.bulk,public.small"},
            {"snapshot.mode", "no_data"}, {"offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore"},
            {"offset.storage.file.filename", args[2]}, {"offset.flush.interval.ms", "1000"},
            {"converter.schemas.enable", "false"}, {"tombstones.on.delete", "false"}, {"max.batch.size", "8192"},
            {"max.queue.size", "32768"}, {"poll.interval.ms", "50"}};
        Properties properties = new Properties();
        for (String[] setting : settings) properties.setProperty(setting[0], setting[1]);
        long wanted = Long.parseLong(args[1]);
        AtomicLong count = new AtomicLong(), first = new AtomicLong();
        CountDownLatch done = new CountDownLatch(1);
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class).using(properties)
            .notifying((records, committer) -> {
                first.compareAndSet(0, System.nanoTime());
                for (ChangeEvent<String, String> record : records) {
                    count.incrementAndGet();
                    committer.markProcessed(record);
                }
                committer.markBatchFinished();
                if (count.get() >= wanted) done.countDown();
            }).build();
        Executors.newSingleThreadExecutor().execute(engine);
        done.await();
        System.out.printf("events %d seconds %.3f%n", count.get(), (System.nanoTime() - first.get()) / 1e9);
        System.out.flush();
        Thread.sleep(60_000);
    }
}
