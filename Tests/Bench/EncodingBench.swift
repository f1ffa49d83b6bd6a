import CdcCore
import Glibc
import HTTPClient
import Sinks

/// Encodes and compresses the same rows as the starrocks sink does and as a JSON array with gzip, and tells what each costs.
///
///     encoding-bench FILE ROUNDS
///
/// FILE is `COPY … TO` of rows of the bench's usual columns. For each way and round a line: name, rows, CPU seconds, bytes
/// before compression, bytes on the wire. The ways alternate batch by batch. `scripts/bench starrocks` makes tables of it.
@main
struct EncodingBench {
    private static let table = TableSchema(
        ref: TableRef(schema: "public", name: "bulk"),
        sinkName: "bulk",
        columns: [
            column("id", .int32, 23, "integer"), column("a", .int64, 20, "bigint"), column("b", .text, 25, "text"),
            column("c", .text, 25, "text"),
            column("d", .decimal(precision: 12, scale: 2), 1700, "numeric(12,2)"),
            column("e", .timestampTz, 1184, "timestamp with time zone"), column("f", .float64, 701, "double precision"),
            column("g", .boolean, 16, "boolean"), column("h", .uuid, 2950, "uuid"), column("i", .date, 1082, "date"),
        ],
        key: [0],
        identity: .default
    )

    private static func column(_ name: String, _ type: DataType, _ oid: UInt32, _ typeName: String) -> ColumnDef {
        ColumnDef(name: name, type: type, postgresType: PostgresType(oid: oid, name: typeName))
    }

    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3, let rounds = Int(arguments[2]), var file = RowFile(arguments[1]) else {
            print("usage: encoding-bench FILE ROUNDS")
            exit(2)
        }
        let batch = CdcBatch(tables: [table], keptCapacity: 32 << 20)
        var ways: [any Way] = []
        for method in [CompressionMethod.none, .lz4, .zstd, .gzip] { ways.append(try OurWay(table, method)) }
        for level: Int32 in [1, 6] { ways.append(JSONWay(table, level)) }
        for round in 1...rounds {
            var sums = Array(repeating: Sums(), count: ways.count)
            file.rewindRows()
            while file.fill(batch, limit: StarRocksSink.capabilities.maxBatchBytes) {
                for (place, way) in ways.enumerated() {
                    let begin = cpuSeconds()
                    let (plain, sent) = try way.encode(batch)
                    sums[place].add(rows: batch.changeCount, cpuSeconds() - begin, plain: plain, sent: sent)
                }
            }
            // The first warms the caches up.
            if round == 1, rounds > 1 { continue }
            for (way, sum) in zip(ways, sums) {
                print(way.name, sum.rows, sum.seconds, sum.plain, sum.sent, separator: "\t")
            }
        }
    }

    /// CPU seconds of this process, in user and kernel mode.
    private static func cpuSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

private struct Sums {
    var rows = 0
    var seconds = 0.0
    var plain = 0
    var sent = 0

    mutating func add(rows: Int, _ seconds: Double, plain: Int, sent: Int) {
        self.rows += rows
        self.seconds += seconds
        self.plain += plain
        self.sent += sent
    }
}

/// One way to make bodies of a batch; asked once a batch.
private protocol Way: AnyObject {
    var name: String { get }
    /// Returns bytes before compression and after.
    func encode(_ batch: CdcBatch) throws -> (plain: Int, sent: Int)
}

/// What the starrocks sink sends.
private final class OurWay: Way {
    let name: String
    private let bodies: StarRocksBodies

    init(_ table: TableSchema, _ method: CompressionMethod) throws {
        name = "csv \(method.rawValue)"
        var config = SinkConfig(type: "starrocks", url: "http://127.0.0.1:1", capabilities: StarRocksSink.capabilities)
        config.database = "bench"
        config.starRocks.compression = method
        bodies = try StarRocksBodies(table, config)
    }

    func encode(_ batch: CdcBatch) throws -> (plain: Int, sent: Int) {
        var (plain, sent) = (0, 0)
        try bodies.encode(batch) { body in
            plain += body.plainCount
            sent += body.bytes.count
        }
        return (plain, sent)
    }
}

/// A JSON array with gzip.
private final class JSONWay: Way {
    let name: String
    private var rows: JSONRows
    private let gzip: Gzip

    init(_ table: TableSchema, _ level: Int32) {
        name = "json gzip-\(level)"
        rows = JSONRows(table)
        gzip = Gzip(level: level)
    }

    func encode(_ batch: CdcBatch) -> (plain: Int, sent: Int) {
        var plain = 0
        let gzip = gzip
        rows.write(batch, now: "2026-11-28 12:00:00.000") { piece in
            plain += piece.count
            gzip.append(piece)
        }
        return (plain, gzip.finish())
    }
}
