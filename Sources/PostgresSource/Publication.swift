public import CdcCore

/// The publication: made where it is missing, checked where it is there.
public struct Publication {
    /// What the pipeline carries, and what it leaves alone.
    public struct Selection: Sendable {
        /// The tables to carry.
        public var tables: [SourceTable]
        /// Published tables that SOURCE_TABLES does not name.
        public var filteredOut: [TableRef]
        /// Whether the publication was made now.
        public var wasCreated: Bool
        /// Published tables, carried or not, that would end a binary stream; see ``SourceTable/endsBinaryStream``.
        ///
        /// If there are any, the stream has to be text.
        public var textOnly: [TableRef]
    }

    private let session: PostgresConnection
    private let catalog: SourceCatalog
    private let config: SourceConfig

    /// Works through the given session.
    public init(_ session: PostgresConnection, config: SourceConfig) {
        self.session = session
        self.config = config
        catalog = SourceCatalog(session)
    }

    private var operation: String { "check publication \(config.publicationName)" }
    private var quotedName: String { PostgresConnection.quote(identifier: config.publicationName) }

    /// What there is, and what has to be made.
    public struct Inspection: Sendable {
        /// The tables to carry.
        public var tables: [SourceTable]
        /// Published tables that SOURCE_TABLES does not name.
        public var filteredOut: [TableRef] = []
        /// The statement that makes the publication; nil where it is there.
        public var creation: String?
        /// Operations that it leaves out: the target will not see them.
        public var unpublished: [String] = []
        /// Published tables, carried or not, that would end a binary stream.
        fileprivate var textOnly: [TableRef] = []
        /// Whether rows of partitions come as rows of their root.
        public var publishesRoots = true
    }

    /// Checks the publication, or what it would have to be, and says which tables to carry.
    ///
    /// Changes nothing.
    ///
    /// - Throws: ``SourceError`` of kind configuration with the statements that mend what is wrong.
    public func inspect() throws(SourceError) -> Inspection {
        let found = try session.query(
            "SELECT pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_catalog.pg_publication "
                + "WHERE pubname = $1",
            [config.publicationName],
            as: operation
        )
        guard let row = found.first else { return try inspectTables() }
        let published = try catalog.publishedTables(config.publicationName)
        let wanted = published.filter { isWanted($0.ref) }
        try checkNotNarrower(than: published)
        try checkKeys(wanted, publishesOldRows: row[1] == "t" || row[2] == "t")
        guard !wanted.isEmpty else { throw nothingToCarry() }
        return Inspection(
            tables: wanted,
            filteredOut: published.map(\.ref).filter { !isWanted($0) },
            unpublished: zip(["inserts", "updates", "deletes", "truncates"], row).filter { $1 != "t" }.map(\.0),
            textOnly: Publication.textOnly(published),
            publishesRoots: row[4] == "t"
        )
    }

    /// Makes the publication if it is missing, and says which tables to carry.
    ///
    /// - Throws: ``SourceError`` of kind configuration with the statements that mend what is wrong.
    public func prepare() throws(SourceError) -> Selection {
        let inspection = try inspect()
        guard let statement = inspection.creation else {
            return Selection(
                tables: inspection.tables,
                filteredOut: inspection.filteredOut,
                wasCreated: false,
                textOnly: inspection.textOnly
            )
        }
        do throws(SourceError) {
            try session.execute(statement, as: "create publication \(config.publicationName)")
        } catch {
            var error = error
            if error.sqlState == "42501" { error.remedy = "have the tables' owner run \(statement);" }
            throw error
        }
        let tables = try catalog.publishedTables(config.publicationName)
        return Selection(tables: tables, filteredOut: [], wasCreated: true, textOnly: Publication.textOnly(tables))
    }

    private static func textOnly(_ tables: [SourceTable]) -> [TableRef] {
        tables.filter(\.endsBinaryStream).map(\.ref)
    }

    /// Whether SOURCE_TABLES names the table; without patterns every table is wanted.
    ///
    /// The bookkeeping of another pipeline, whose target this source is, never is.
    public func isWanted(_ table: TableRef) -> Bool {
        !table.isState && (config.tables.isEmpty || config.tables.contains { $0.matches(table) })
    }

    private func nothingToCarry() -> SourceError {
        SourceError(
            .configuration,
            operation: operation,
            cause: "there is no table to carry",
            remedy: "create a table first, or correct SOURCE_TABLES"
        )
    }

    private func inspectTables() throws(SourceError) -> Inspection {
        let all = try catalog.userTables()
        let wanted = all.filter { isWanted($0.ref) }
        try checkPatterns(all.map(\.ref))
        guard !wanted.isEmpty else { throw nothingToCarry() }
        try checkKeys(wanted, publishesOldRows: true)
        let names = wanted.map(\.quotedName).joined(separator: ", ")
        let creation = "CREATE PUBLICATION \(quotedName) FOR TABLE \(names) WITH (publish_via_partition_root = true)"
        return Inspection(tables: wanted, creation: creation)
    }

    private func checkPatterns(_ tables: [TableRef]) throws(SourceError) {
        let missing = config.tables.filter { pattern in !tables.contains { pattern.matches($0) } }
        guard missing.isEmpty else {
            throw SourceError(
                .configuration,
                operation: "find the tables of SOURCE_TABLES",
                cause: "no table matches \(missing.map(\.description).joined(separator: ", "))",
                remedy: "correct SOURCE_TABLES, or create the table"
            )
        }
    }

    /// A publication that lacks tables which SOURCE_TABLES names would lose their changes.
    private func checkNotNarrower(than published: [SourceTable]) throws(SourceError) {
        guard !config.tables.isEmpty else { return }
        let all = try catalog.userTablesWithoutColumns().map(\.ref)
        try checkPatterns(published.map(\.ref) + all)
        let there = Set(published.map(\.ref))
        let missing = all.filter { isWanted($0) && !there.contains($0) }
        guard missing.isEmpty else {
            throw SourceError(
                .configuration,
                operation: operation,
                cause:
                    "it lacks tables that SOURCE_TABLES names: \(missing.map(\.description).joined(separator: ", "))",
                remedy: "run ALTER PUBLICATION \(quotedName) ADD TABLE "
                    + missing.map(Publication.quote).joined(separator: ", ") + ";"
            )
        }
    }

    /// In a publication of updates or deletes a table that cannot identify its rows makes the application's own updates
    /// fail: refused before it gets in, and told where it already is.
    private func checkKeys(_ tables: [SourceTable], publishesOldRows: Bool) throws(SourceError) {
        guard publishesOldRows else { return }
        let bad = tables.filter { !$0.identifiesRows }
        guard !bad.isEmpty else { return }
        let statements = bad.map { "ALTER TABLE \($0.quotedName) REPLICA IDENTITY FULL;" }
        throw SourceError(
            .configuration,
            operation: operation,
            cause:
                "without a primary key or REPLICA IDENTITY FULL, updates and deletes of these tables would fail at the "
                + "source: \(bad.map(\.ref.description).joined(separator: ", "))",
            remedy:
                "add a primary key, leave the table out of SOURCE_TABLES, or run \(statements.joined(separator: " "))"
        )
    }

    /// A table's name, quoted.
    static func quote(_ table: TableRef) -> String {
        PostgresConnection.quote(identifier: table.schema) + "." + PostgresConnection.quote(identifier: table.name)
    }
}
