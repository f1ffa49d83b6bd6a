import CdcCore
import PgOutput

/// Feeds messages into a batch through the decoders, as the pipeline does, and looks at what came of it.
///
/// Shared with the fuzzer's driver (`Tests/Fuzz`), which has no test framework.
struct MessageFeed: ~Copyable {
    /// What a message turned out to be.
    enum Outcome: Int, CaseIterable {
        case keepalive
        case begin
        case commit
        case origin
        case relation
        case type
        case insert
        case update
        case delete
        case truncate
        case message
        case copiedRow
        /// Header or trailer of a copy in binary format.
        case copyFrame
        /// A row of a relation that nobody described.
        case unknownRelation
    }

    /// What must not change when a message is refused.
    struct Fill: Equatable {
        var changes: Int
        var transactions: Int
        var tupleBytes: Int
        var bytes: Int
        var touchedTables: [UInt32]
    }

    private struct Route {
        var table: UInt32
        var map: ColumnMap
    }

    let batch: CdcBatch
    private var copyDecoder = CopyTextDecoder()
    /// Decoders of a copy in binary format for each table: one that waits for the header, one behind it.
    private let binaryDecoders: [(fresh: CopyBinaryDecoder, begun: CopyBinaryDecoder)]
    private var routes: [UInt32: Route] = [:]
    private var ordinal: UInt64 = 0

    /// Begins with the sample tables as they are and an open transaction.
    init(_ tables: [TableSchema] = Samples.tables) {
        let batch = CdcBatch(tables: tables)
        self.batch = batch
        binaryDecoders = tables.map { table in
            let fresh = CopyBinaryDecoder(table.columns)
            var begun = fresh
            guard (try? begun.append(Wire.copyHeader().span.bytes, into: batch, table: 0)) == false else {
                fatalError("the header of a copy is not taken")
            }
            return (fresh, begun)
        }
        clear()
        for table in tables.indices {
            let count = tables[table].columns.count
            route(
                Samples.oid(UInt32(table)),
                to: UInt32(table),
                ColumnMap(places: Array(0..<count), tableColumns: count)
            )
        }
    }

    /// Empties the batch and opens a transaction in it.
    mutating func clear() {
        batch.reset()
        ordinal = 0
        batch.begin(TransactionInfo(xid: 1, commitLSN: LSN(rawValue: 100), commitTime: 0))
    }

    /// Says where a relation's rows go.
    mutating func route(_ relation: UInt32, to table: UInt32, _ map: ColumnMap) {
        routes[relation] = Route(table: table, map: map)
    }

    /// How full the batch is.
    var fill: Fill {
        Fill(
            changes: batch.changeCount,
            transactions: batch.transactionCount,
            tupleBytes: batch.tupleBytes,
            bytes: batch.byteCount,
            touchedTables: batch.touchedTables
        )
    }

    // MARK: Feeding

    /// Takes a CopyData message of the stream.
    @discardableResult
    mutating func takeFrame(_ frame: RawSpan) throws(WireError) -> Outcome {
        switch try ReplicationMessage(frame) {
        case .keepalive: .keepalive
        case .data: try take(frame, from: ReplicationMessage.payloadOffset)
        }
    }

    /// Takes a line of the copy of a table.
    @discardableResult
    mutating func takeLine(_ line: RawSpan, table: UInt32) throws(WireError) -> Outcome {
        try copyDecoder.append(line, into: batch, table: table)
        return .copiedRow
    }

    /// Takes a message of a binary copy of a table: one with a header as its first, another one as the second.
    @discardableResult
    mutating func takeBinary(_ message: RawSpan, table: UInt32) throws(WireError) -> Outcome {
        let isFirst = message.withUnsafeBytes { $0.first == UInt8(ascii: "P") }
        let decoders = binaryDecoders[Int(table)]
        var decoder = isFirst ? decoders.fresh : decoders.begun
        return try decoder.append(message, into: batch, table: table) ? .copiedRow : .copyFrame
    }

    /// Takes a pgoutput message that begins at `start`.
    @discardableResult
    mutating func take(_ message: RawSpan, from start: Int = 0) throws(WireError) -> Outcome {
        switch try PgOutputDecoder.decode(message, from: start) {
        case .insert(let relation, let newOffset):
            guard let route = routes[relation] else { return .unknownRelation }
            try TupleDecoder.insert(
                message,
                newOffset: newOffset,
                into: batch,
                table: route.table,
                map: route.map,
                ordinal: ordinal + 1
            )
            ordinal += 1
            return .insert
        case .update(let relation, let old, let oldOffset, let newOffset):
            guard let route = routes[relation] else { return .unknownRelation }
            try TupleDecoder.update(
                message,
                old: old,
                oldOffset: oldOffset,
                newOffset: newOffset,
                into: batch,
                table: route.table,
                map: route.map,
                ordinal: ordinal + 1
            )
            ordinal += 1
            return .update
        case .delete(let relation, let old, let oldOffset):
            guard let route = routes[relation] else { return .unknownRelation }
            try TupleDecoder.delete(
                message,
                old: old,
                oldOffset: oldOffset,
                into: batch,
                table: route.table,
                map: route.map,
                ordinal: ordinal + 1
            )
            ordinal += 1
            return .delete
        case .truncate(let relations, _, _): return truncate(relations)
        case .begin(let info):
            ordinal = 0
            batch.begin(info)
            return .begin
        case .commit(let commitLSN, let endLSN, _):
            batch.commit(SourcePosition(commitLSN: commitLSN, ordinal: ordinal, endLSN: endLSN))
            return .commit
        case .relation(let relation):
            take(relation)
            return .relation
        case .origin: return .origin
        case .type: return .type
        case .message: return .message
        }
    }

    private mutating func truncate(_ relations: [UInt32]) -> Outcome {
        for relation in relations {
            guard let route = routes[relation] else { continue }
            ordinal += 1
            batch.appendTruncate(table: route.table, ordinal: ordinal)
        }
        return .truncate
    }

    /// Columns are placed by name, as the pipeline does; columns that the table lacks are left out.
    private mutating func take(_ relation: RelationMessage) {
        guard let table = batch.tables.firstIndex(where: { $0.ref == relation.ref }) else { return }
        let columns = batch.tables[table].columns
        let places = relation.columns.map { column in
            columns.firstIndex { $0.name == column.name } ?? ColumnMap.leftOut
        }
        route(relation.oid, to: UInt32(table), ColumnMap(places: places, tableColumns: columns.count))
    }

    // MARK: Looking

    /// What is wrong with the changes from `first` on; nil if all cells lie inside the arena and every record can be made.
    func complaint(from first: Int = 0) -> String? {
        for index in first..<batch.changeCount {
            let change = batch.change(index)
            let columns = batch.tables[Int(change.table)].columns.indices
            if change.kind == .insert || change.kind == .update {
                for column in columns where !isInside(batch.newCell(change, column)) {
                    return "new cell outside the arena"
                }
            }
            if change.oldTuple != .none {
                for column in columns where !isInside(batch.oldCell(change, column)) {
                    return "old cell outside the arena"
                }
            }
            guard isSane(batch.record(index), of: change) else { return "record that is not its change's" }
        }
        return nil
    }

    private func isInside(_ cell: Cell) -> Bool {
        Int(cell.offset) + cell.length <= batch.tupleBytes && batch.bytes(of: cell).count == cell.length
    }

    private func isSane(_ record: CdcRecord, of change: Change) -> Bool {
        let columns = batch.tables[Int(change.table)].columns.count
        switch record {
        case .insert(_, let new, _): return change.kind == .insert && new.count == columns
        case .update(_, let old, let new, _):
            return change.kind == .update && new.count == columns && (old == nil) == (change.oldTuple == .none)
        case .delete: return change.kind == .delete
        case .truncate: return change.kind == .truncate
        case .schemaChange, .begin, .commit, .heartbeat: return false
        }
    }
}

extension MessageFeed {
    /// Takes a CopyData message given as an array.
    @discardableResult
    mutating func takeFrame(_ frame: [UInt8]) throws(WireError) -> Outcome { try takeFrame(frame.span.bytes) }

    /// Takes a pgoutput message given as an array.
    @discardableResult
    mutating func take(_ message: [UInt8]) throws(WireError) -> Outcome { try take(message.span.bytes) }

    /// Takes a message of a binary copy given as an array.
    @discardableResult
    mutating func takeBinary(_ message: [UInt8], table: UInt32) throws(WireError) -> Outcome {
        try takeBinary(message.span.bytes, table: table)
    }

    /// Takes a line of COPY given as an array.
    @discardableResult
    mutating func takeLine(_ line: [UInt8], table: UInt32) throws(WireError) -> Outcome {
        try takeLine(line.span.bytes, table: table)
    }
}
