internal import CSQLite
internal import CdcCore

/// `SINK_ON_UNREPRESENTABLE` for one table: what takes the place of values that SQLite cannot hold, and how many there were.
struct SQLiteSubstitutes {
    let policy: UnrepresentablePolicy
    private let schema: TableSchema
    /// Columns in which NULL may take a value's place.
    private let mayBeNull: [Bool]
    private var counts: [Int]

    init(_ policy: UnrepresentablePolicy, _ schema: TableSchema) {
        self.policy = policy
        self.schema = schema
        mayBeNull = schema.columns.indices.map { schema.columns[$0].isNullable && !schema.key.contains($0) }
        counts = Array(repeating: 0, count: schema.columns.count)
    }

    /// Binds what the policy puts in a value's place; false if it has nothing.
    @inline(never)
    mutating func bind(
        _ problem: SQLiteBinder.Problem,
        _ statement: OpaquePointer,
        _ parameter: Int32,
        _ column: Int
    ) -> Bool {
        let code: Int32
        switch (policy, problem) {
        case (.null, .notUTF8), (.null, .tooLong), (.null, .notANumber), (.null, .negativeZero):
            guard mayBeNull[column] else { return false }
            code = sqlite3_bind_null(statement, parameter)
        case (.clamp, .negativeZero): code = sqlite3_bind_double(statement, parameter, 0)
        default: return false
        }
        guard code == SQLITE_OK else { return false }
        counts[column] += 1
        return true
    }

    /// What was changed since this was asked last.
    mutating func take() -> [ValueSubstitution] {
        guard policy != .error else { return [] }
        defer { for column in counts.indices { counts[column] = 0 } }
        return counts.indices.filter { counts[$0] > 0 }.map {
            ValueSubstitution(table: schema.ref, column: schema.columns[$0].name, count: counts[$0])
        }
    }
}

/// The rows of a batch that SQLite refused, where all of them are looked for.
///
/// A statement that fails leaves what was written before it in the transaction, so the rest can be tried.
struct SQLiteRefusals {
    /// Whether more than the first is wanted.
    let areWanted: Bool
    private var first: SinkError?

    init(areWanted: Bool) {
        self.areWanted = areWanted
    }

    /// Takes note of a refusal.
    ///
    /// - Throws: an error that is none, or when nobody wants the others.
    mutating func note(_ error: SinkError, _ connection: SQLiteConnection) throws(SinkError) {
        guard areWanted, error.kind == .permanent, error.concernsRows, !error.changes.isEmpty,
            connection.isInTransaction
        else {
            first = nil
            throw error
        }
        guard let known = first else {
            first = error
            return
        }
        // Others are found in the next attempt: one error has one cause.
        guard known.cause == error.cause, known.operation == error.operation, known.table == error.table else { return }
        first?.changes += error.changes
    }

    /// Throws what was noted, if anything was.
    mutating func finish() throws(SinkError) {
        guard var error = first else { return }
        first = nil
        error.changes.sort()
        throw error
    }
}
