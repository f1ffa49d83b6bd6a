import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.util.Properties;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/** Debezium's embedded engine with a handler that counts: PROPERTIES COUNT. Says so when it has COUNT, ends with its input. */
public class CountingEngine {
    public static void main(String[] arguments) throws Exception {
        var properties = new Properties();
        try (var file = new FileReader(arguments[0])) {
            properties.load(file);
        }
        long wanted = Long.parseLong(arguments[1]);
        var count = new AtomicLong();
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
            .using(properties)
            .using((success, message, error) -> {
                if (!success) {
                    System.out.println("failed: " + message + " " + error);
                    System.exit(1);
                }
            })
            .notifying((events, committer) -> {
                for (var event : events) {
                    committer.markProcessed(event);
                }
                committer.markBatchFinished();
                long before = count.getAndAdd(events.size());
                if (before < wanted && before + events.size() >= wanted) {
                    System.out.println("has " + count.get());
                }
            })
            .build();
        var executor = Executors.newSingleThreadExecutor();
        executor.execute(engine);
        while (System.in.read() >= 0) { }
        engine.close();
        System.exit(0);
    }
}
