import CdcCore

/// A small generator whose sequence depends on the seed alone (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

/// Makes changes that a source could have sent, and knows the rows that they leave: each change is applied to the model as
/// it stands, one after the other, without any folding.
struct RandomWorkload {
    let schema: TableSchema
    /// The rows that the source has.
    private(set) var rows: [[TestCell]] = []
    private var random: SeededRandom
    private let values: [[TestCell]]

    /// Draws from `values`, what each column may hold: few of them, so that keys and rows meet again.
    init(_ schema: TableSchema, values: [[TestCell]], seed: UInt64) {
        self.schema = schema
        self.values = values
        random = SeededRandom(seed: seed)
    }

    mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &random) < share }
    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    /// Goes back to an earlier state of the rows: a unit was given up.
    mutating func restore(_ earlier: [[TestCell]]) { rows = earlier }

    /// Adds one change to the batch, if one is possible.
    mutating func step(_ builder: BatchBuilder, table: UInt32) {
        switch number(0...99) {
        case 0..<35: insert(builder, table)
        case 35..<65: update(builder, table, movesKey: false)
        case 65..<80: update(builder, table, movesKey: true)
        case 80..<98: delete(builder, table)
        default:
            builder.truncate(table: table)
            rows.removeAll()
        }
    }

    private func key(_ row: [TestCell]) -> [TestCell] { schema.key.map { row[$0] } }

    private func isTaken(_ row: [TestCell]) -> Bool {
        schema.hasKey && rows.contains { key($0) == key(row) }
    }

    private mutating func randomRow() -> [TestCell] {
        values.map { $0[Int.random(in: 0..<$0.count, using: &random)] }
    }

    private mutating func insert(_ builder: BatchBuilder, _ table: UInt32) {
        let row = randomRow()
        guard !isTaken(row) else { return }
        rows.append(row)
        builder.insert(row, table: table)
    }

    private mutating func update(_ builder: BatchBuilder, _ table: UInt32, movesKey: Bool) {
        guard !rows.isEmpty else { return }
        let place = number(0...rows.count - 1)
        let old = rows[place]
        var new = old
        let fresh = randomRow()
        for column in schema.columns.indices where schema.key.contains(column) ? movesKey : chance(0.5) {
            new[column] = fresh[column]
        }
        guard key(new) == key(old) || !isTaken(new) else { return }
        rows[place] = new
        // A value that stays may have been toasted, the key's too; then an old row tells what it is.
        var sent = new
        let hasOld = schema.identity == .full || key(new) != key(old) || chance(0.2)
        for column in schema.columns.indices where new[column] == old[column] && new[column] != .null {
            if (hasOld || !schema.key.contains(column)) && chance(0.4) { sent[column] = .unchanged }
        }
        if schema.identity == .full {
            builder.update(sent, old: old, table: table)
        } else {
            builder.update(sent, key: hasOld ? keyTuple(old) : nil, table: table)
        }
    }

    private mutating func delete(_ builder: BatchBuilder, _ table: UInt32) {
        guard !rows.isEmpty else { return }
        let old = rows.remove(at: number(0...rows.count - 1))
        if schema.identity == .full {
            builder.delete(old: old, table: table)
        } else {
            builder.delete(key: keyTuple(old), table: table)
        }
    }

    private func keyTuple(_ row: [TestCell]) -> [TestCell] {
        row.indices.map { schema.key.contains($0) ? row[$0] : .null }
    }
}

/// The tables that random workloads run over: each kind of key and identity.
enum RandomTables {
    static let integers = TableSchema(
        "integers",
        [ColumnDef("id", .int32), ColumnDef("a", .text), ColumnDef("b", .text), ColumnDef("c", .int64)]
    )
    static let composite = TableSchema(
        "composite",
        [ColumnDef("a", .text), ColumnDef("k", .text), ColumnDef("n", .int16), ColumnDef("b", .other)],
        key: [1, 2]
    )
    static let full = TableSchema(
        "full",
        [ColumnDef("id", .uuid), ColumnDef("a", .text), ColumnDef("b", .text)],
        identity: .full
    )
    static let keyless = TableSchema(
        "keyless",
        [ColumnDef("n", .int32), ColumnDef("f", .float64), ColumnDef("a", .text)],
        key: [],
        identity: .full
    )

    static let all = [integers, composite, full, keyless]

    static func workload(_ table: TableSchema, seed: UInt64, hasNaN: Bool = true) -> RandomWorkload {
        let texts: [TestCell] = ["", "x", "y", "long", .null]
        let values: [[TestCell]] =
            switch table.ref.name {
            case "integers": [(0..<8).map { .text("\($0)") }, texts, texts, ["-1", "0", "9223372036854775807", .null]]
            case "composite": [texts, ["", "\u{E9}", "e\u{301}"], ["0", "1", "2"], texts]
            case "full": [(0..<6).map { .text("\($0)2e50000-0000-0000-0000-000000000000") }, texts, texts]
            default: [["1", "2", .null], ["0", "-0", hasNaN ? "NaN" : "2.5", "1.5", .null], ["x", "y"]]
            }
        return RandomWorkload(table, values: values, seed: seed)
    }
}
