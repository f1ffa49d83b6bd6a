internal import CdcCore

/// What the initial copy needs to know of the target's tables.
struct PostgresCopy {
    let session: PostgresSession
    /// What each table is called at the target.
    let names: [TableRef: TableRef]

    private static let tablesAtOnce = 100

    private func target(_ table: TableSchema) -> TableRef { names[table.ref] ?? table.ref }

    /// Parents before children where foreign keys hold meanwhile, as indexes.
    func order(of tables: [TableSchema]) throws(PostgresError) -> [Int] {
        guard !session.isReplica else { return Array(tables.indices) }
        let targets = tables.map(target)
        let parents = try PostgresCatalog(client: session.client).parents(of: targets)
        var order: [Int] = []
        var waiting = Array(tables.indices)
        while !waiting.isEmpty {
            let left = Set(waiting.map { targets[$0] })
            let free = waiting.filter { (parents[targets[$0]] ?? []).isDisjoint(with: left.subtracting([targets[$0]])) }
            // A circle has no beginning: the constraints decide.
            order += free.isEmpty ? waiting : free
            waiting = free.isEmpty ? [] : waiting.filter { !free.contains($0) }
        }
        return order
    }

    /// Empties tables, children before parents.
    func empty(_ tables: [TableSchema], _ mode: TruncateMode) throws(PostgresError) {
        let statements = try order(of: tables).reversed().map { place in
            (mode == .truncate ? "TRUNCATE " : "DELETE FROM ") + PostgresLayout.quoted(target(tables[place]))
        }
        for part in statements.parts(of: PostgresCopy.tablesAtOnce) {
            try session.client.execute(part.joined(separator: ";"))
        }
    }

    /// Those of the tables that have rows.
    func withRows(_ tables: [TableSchema]) throws(PostgresError) -> [TableSchema] {
        var full: [TableSchema] = []
        for part in tables.parts(of: PostgresCopy.tablesAtOnce) {
            let questions = part.map { "EXISTS (SELECT FROM \(PostgresLayout.quoted(target($0))))" }
            let rows = try session.client.execute("SELECT \(questions.joined(separator: ","))")
            full += zip(part, rows.first ?? []).filter { $1 == "t" }.map(\.0)
        }
        return full
    }

    /// Why tables with rows of somebody else are not copied into; nil for no such tables.
    func refusal(_ full: [TableSchema]) -> SinkError? {
        guard let first = full.first else { return nil }
        let list = full.map { target($0).description }.joined(separator: ", ")
        return SinkError(
            .configuration,
            operation: "begin copy",
            table: full.count == 1 ? first.ref : nil,
            cause: "\(list) at the target \(full.count == 1 ? "has" : "have") rows that this pipeline did not write, "
                + "and a copy would remove them",
            remedy: "empty or rename it, set SINK_TABLE_NAME or SINK_SCHEMA, or start with SOURCE_SNAPSHOT=never "
                + "if the rows are those of the source"
        )
    }
}

extension Array {
    /// The elements in runs of at most so many.
    fileprivate func parts(of count: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: self.count, by: count).map { self[$0..<Swift.min($0 + count, self.count)] }
    }
}
