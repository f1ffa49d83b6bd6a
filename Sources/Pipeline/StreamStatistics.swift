internal import CdcCore

/// What a session has carried, counted once per batch.
struct StreamStatistics: Sendable, Equatable {
    /// Operations written.
    private(set) var rows = 0
    /// Bytes of column values written.
    private(set) var bytes = 0
    /// Batches written.
    private(set) var batches = 0

    mutating func add(_ batch: CdcBatch, _ result: SinkResult) {
        rows += result.recordsWritten
        bytes += result.bytesWritten
        batches += 1
    }
}
