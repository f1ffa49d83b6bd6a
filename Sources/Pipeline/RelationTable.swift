internal import CdcCore
internal import Logging
internal import PgOutput
internal import PostgresSource

/// The relations of a session: which rows go to which table.
final class RelationTable {
    /// The tables of the batches.
    let schemas: [TableSchema]
    /// The binding of the row at hand, see ``select(_:)``.
    @exclusivity(unchecked) private(set) var current = TableBinding.ignored
    /// Set when a RELATION cannot be taken as it is.
    @exclusivity(unchecked) private(set) var sessionEnd: SessionEnd?

    private let carried: [CarriedTable]
    private let byName: [TableRef: UInt32]
    private let isWanted: (TableRef) -> Bool
    private let known: KnownRelations
    private let logger: Logger
    private var bindings: [UInt32: TableBinding] = [:]
    @exclusivity(unchecked) private var currentOID: UInt32?

    /// Relations for which the catalog was read again already; lives as long as the pipeline.
    final class KnownRelations {
        fileprivate var refreshed: Set<RelationMessage> = []
        /// Makes an empty set.
        init() {}
    }

    /// - Parameters:
    ///   - carried: the tables of the pipeline, as the catalog has them now.
    ///   - known: what earlier sessions have asked the catalog about.
    ///   - logger: where to tell what is left out.
    ///   - isWanted: whether SOURCE_TABLES names a table.
    init(
        _ carried: [CarriedTable],
        known: KnownRelations,
        logger: Logger,
        isWanted: @escaping (TableRef) -> Bool
    ) {
        self.carried = carried
        self.known = known
        self.logger = logger
        self.isWanted = isWanted
        schemas = carried.map(\.schema)
        byName = Dictionary(
            carried.enumerated().map { ($1.schema.ref, UInt32($0)) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// Makes ``current`` the binding of the relation's rows.
    @inline(__always)
    func select(_ oid: UInt32) throws(WireError) {
        guard oid != currentOID else { return }
        guard let binding = bindings[oid] else { throw WireError("row of a relation that was not described", at: 0) }
        current = binding
        currentOID = oid
    }

    /// Takes a RELATION message in.
    func relation(_ relation: RelationMessage) {
        currentOID = nil
        bindings[relation.oid] = .ignored
        guard let index = byName[relation.ref] else { return unknown(relation) }
        let table = carried[Int(index)]
        let isFresh = known.refreshed.contains(relation)
        switch RelationMatch(relation, table, isFresh: isFresh) {
        case .bound(let map):
            bindings[relation.oid] = TableBinding(table: index, map: map, copiedUpTo: table.copiedUpTo)
        case .older(let map, let dropped):
            logger.info(
                "reading WAL from before a schema change",
                metadata: ["table": "\(relation.ref)", "dropped_columns": "\(dropped.joined(separator: ","))"]
            )
            bindings[relation.oid] = TableBinding(table: index, map: map, copiedUpTo: table.copiedUpTo)
        // Made anew: a look at the catalog would only make it match, and the old rows would stay at the sink.
        case .differs(let cause) where isFresh || relation.oid != table.source.oid:
            sessionEnd = .failed(RelationTable.mismatch(relation, cause))
        case .differs(let cause):
            refresh(relation, cause)
        }
    }

    private func unknown(_ relation: RelationMessage) {
        guard isWanted(relation.ref) else { return }
        guard known.refreshed.contains(relation) else { return refresh(relation, "it is new") }
        // The catalog has been asked: the table is gone from the source or from the publication.
        logger.warning("rows of a table that is published no more are left out", metadata: ["table": "\(relation.ref)"])
    }

    private func refresh(_ relation: RelationMessage, _ cause: String) {
        known.refreshed.insert(relation)
        sessionEnd = .restart(reason: "table \(relation.ref): \(cause)")
    }

    private static func mismatch(_ relation: RelationMessage, _ cause: String) -> PipelineFailure {
        PipelineFailure(
            SourceError(
                .schemaMismatch,
                operation: "take up the stream",
                table: relation.ref,
                cause: cause,
                remedy: "copy the tables anew: run the daemon once with SOURCE_SNAPSHOT=only, then as before"
            )
        )
    }
}
