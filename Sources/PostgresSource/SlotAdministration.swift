public import CdcCore

/// The permanent slot for people: what `dbmazz-sink slot` shows.
public struct SlotDescription: Sendable, Codable {
    /// Its name.
    public var name: String
    /// Who reads it; nil for nobody.
    public var reader: String?
    /// What was acknowledged.
    public var confirmedFlush: String?
    /// The end of the source's WAL.
    public var walEnd: String
    /// `reserved`, `extended`, `unreserved` or `lost`.
    public var walStatus: String?
    /// WAL kept for it, in bytes.
    public var retainedBytes: Int
    /// WAL that may still be written before it is in danger, in bytes.
    public var safeBytes: Int?
    /// Transactions that decoding wrote to the source's disk.
    public var spilledTransactions: Int
    /// Bytes written that way.
    public var spilledBytes: Int
    /// Why PostgreSQL has invalidated it.
    public var invalidationReason: String?
}

/// Shows and drops the permanent slot, by an operator's wish alone.
public struct SlotAdministration {
    private let session: PostgresConnection
    private let name: String

    /// Connects to the source.
    public init(_ config: SourceConfig) throws(SourceError) {
        session = try PostgresConnection(try ConnectionParameters(config), replication: false, stop: StopSignal())
        name = config.slotName
    }

    /// What the source says of the slot; nil if there is none.
    public func show() throws(SourceError) -> SlotDescription? {
        guard try ReplicationSlot.find(name, session) != nil else { return nil }
        let rows = try session.execute(SlotReport.query(slot: name), as: "look at slot \(name)")
        guard let report = rows.first.flatMap(SlotReport.init(row:)) else { return nil }
        return SlotDescription(
            name: name,
            reader: try PipelineLock(session, slot: name).reader()?.description,
            confirmedFlush: report.confirmedFlush?.description,
            walEnd: report.walEnd.description,
            walStatus: report.walStatus,
            retainedBytes: report.retainedBytes,
            safeBytes: report.safeWALBytes,
            spilledTransactions: report.spilledTransactions,
            spilledBytes: report.spilledBytes,
            invalidationReason: report.invalidationReason
        )
    }

    /// Drops the slot.
    ///
    /// - Throws: ``SourceError`` if there is none, somebody reads it, or a daemon of this pipeline is alive.
    public func drop() throws(SourceError) {
        let operation = "drop slot \(name)"
        guard try ReplicationSlot.find(name, session) != nil else {
            throw SourceError(
                .slotLost,
                operation: operation,
                cause: "it does not exist",
                remedy: "nothing is to be done"
            )
        }
        let lock = PipelineLock(session, slot: name)
        if let holder = try lock.take() { throw inUse(operation, holder) }
        if let reader = try lock.reader() { throw inUse(operation, reader) }
        // The server refuses as well, should somebody have begun to read it in this moment.
        _ = try session.query("SELECT pg_catalog.pg_drop_replication_slot($1)", [name], as: operation)
    }

    private func inUse(_ operation: String, _ holder: SlotHolder) -> SourceError {
        SourceError(
            .slotInUse,
            operation: operation,
            cause: "it is in use by \(holder)",
            remedy: "stop that daemon first"
        )
    }
}
