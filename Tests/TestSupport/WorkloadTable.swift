/// A table of the generated workload: how it is made, and how its keys and values are chosen.
struct WorkloadTable: Sendable {
    /// How the workload may touch it.
    enum Role {
        /// Rows are addressed by key.
        case keyed
        /// Rows have no key and may repeat.
        case bag
        /// The second column is unique too, and rows exchange their values of it.
        case unique
        /// Referenced by `child`.
        case parent
        case child
        /// Holds the rows of large transactions.
        case bulk
    }

    let schema: String
    let name: String
    let role: Role
    let columns: [(name: String, type: String, kind: ValueGenerator.Kind)]
    /// The first columns are the key; what their values are for a number.
    let keyCount: Int
    let slots: Int
    let key: @Sendable (Int) -> [String]
    /// What follows the columns in CREATE TABLE, and the statements after it; `%` stands for the qualified name.
    let constraint: String
    let afterwards: [String]
    /// Keys that are equal to PostgreSQL can differ as texts (1.0 and 1.00): rows are then found by text.
    let addressesByText: Bool
    /// What follows the parenthesis of CREATE TABLE.
    let suffix: String

    init(
        _ name: String,
        schema: String = "public",
        role: Role = .keyed,
        slots: Int = 80,
        keyCount: Int = 1,
        columns: [(String, String, ValueGenerator.Kind)],
        constraint: String = "",
        suffix: String = "",
        afterwards: [String] = [],
        addressesByText: Bool = false,
        key: @escaping @Sendable (Int) -> [String] = { ["\($0)"] }
    ) {
        self.schema = schema
        self.name = name
        self.role = role
        self.slots = slots
        self.keyCount = keyCount
        self.columns = columns.map { (name: $0.0, type: $0.1, kind: $0.2) }
        self.constraint = constraint
        self.suffix = suffix
        self.afterwards = afterwards
        self.addressesByText = addressesByText
        self.key = key
    }

    var qualifiedName: String { quoteIdentifier(schema) + "." + quoteIdentifier(name) }
    var keyNames: [String] { columns.prefix(keyCount).map { quoteIdentifier($0.name) } }
    var valueColumns: Range<Int> { keyCount..<columns.count }

    /// The statements that make it.
    var definition: [String] {
        let lines = columns.map { "\(quoteIdentifier($0.name)) \($0.type)" } + (constraint.isEmpty ? [] : [constraint])
        let create = "CREATE TABLE % (\(lines.joined(separator: ", "))) \(suffix)"
        let external = columns.filter { $0.kind == .bigText || $0.kind == .bigBytea }
            .map { "ALTER TABLE % ALTER COLUMN \(quoteIdentifier($0.name)) SET STORAGE EXTERNAL" }
        return ([create] + external + afterwards).map { statement in
            statement.split(separator: "%", omittingEmptySubsequences: false).joined(separator: qualifiedName)
        }
    }
}
