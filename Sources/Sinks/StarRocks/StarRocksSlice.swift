internal import CdcCore

/// What a slice of changes comes to, by the loads that bring it about.
///
/// Of every key the last operation counts. What it does not carry is taken from the operation before it in the slice; if there
/// is none, the column stays as it is (a partial update), or, where the row moves to another key, is read from the target.
///
/// After a failure the first of several loads may be in and the last not. Then the rows tell: one that an operation of the
/// slice was to leave has the operation's version or a later one, or is gone, if the first load is in; and all that delete
/// belong to the first.
struct StarRocksSlice {
    /// A load: rows that all have the same columns.
    struct Part {
        /// Columns, by index, that are left as they are.
        var absent: [Int]
        var rows: [Row] = []
        var hasDeletes = false
        var lsn: LSN?
    }

    /// A row of a load.
    struct Row {
        enum Kind {
            /// As the item has it.
            case row
            /// The row of the item's key goes.
            case delete
            /// The row stays and is marked.
            case mark
            /// The row of the item's old key goes.
            case oldKey
        }

        var kind: Kind
        /// Index into the fold's items.
        var item: Int
    }

    private(set) var parts: [Part] = []
    /// The item before, of the same row; -1 for the target's row, -2 for none.
    private var before: [Int] = []
    /// Whose row an item at the beginning of a chain needs.
    private var rootKeys: [Int: StarRocksKey] = [:]
    private var stored = StarRocksStoredRows()
    private let layout: StarRocksLayout

    init(
        _ writer: StarRocksTableWriter,
        _ context: StarRocksTableWriter.Context,
        _ fold: FoldIndex
    ) throws(SinkError) {
        layout = writer.layout
        let batch = context.batch
        let isSoft = writer.deleteMode == .soft
        let has = try applied(writer, context, fold)
        var rows: [Row] = []
        let isSimple =
            fold.runEnds.isEmpty
            && !fold.items.contains { $0.outcome == .changeKey || $0.outcome == .truncate }
        let isComplete = isSimple && !fold.items.contains { Self.isIncomplete($0, isSoft, batch) }
        if isSimple {
            rows = fold.items.indices.map { Row(kind: Self.kind(of: fold.items[$0], isSoft), item: $0) }
            if let has { rows = rows.filter { !has(newKey(fold.items[$0.item], batch, fold), fold.items[$0.item]) } }
            if !isComplete { before = Array(repeating: -1, count: fold.items.count) }
        } else {
            rows = chain(batch, fold, isSoft, has)
        }
        guard !(isComplete || rows.isEmpty) else {
            if !rows.isEmpty { addWhole(rows, batch, fold) }
            return
        }
        try divide(rows, writer, context, fold, isSoft)
    }

    private static func kind(of item: FoldIndex.Item, _ isSoft: Bool) -> Row.Kind {
        item.outcome == .delete ? (isSoft ? .mark : .delete) : .row
    }

    /// Whether an item lacks columns that its row is to keep.
    private static func isIncomplete(_ item: FoldIndex.Item, _ isSoft: Bool, _ batch: CdcBatch) -> Bool {
        guard item.outcome == .delete else { return item.isPartial }
        return isSoft && batch.change(Int(item.change)).oldTuple != .full
    }

    // MARK: Chains

    private func newKey(_ item: FoldIndex.Item, _ batch: CdcBatch, _ fold: FoldIndex) -> StarRocksKey {
        key(batch) { fold.cell(item, $0, in: batch) }
    }

    private func oldKey(_ item: FoldIndex.Item, _ batch: CdcBatch) -> StarRocksKey {
        let change = batch.change(Int(item.change))
        return key(batch) { batch.oldCell(change, $0) }
    }

    private func key(_ batch: CdcBatch, _ cell: (Int) -> Cell) -> StarRocksKey {
        StarRocksKey(
            layout.schema.key.map { column in
                let cell = cell(column)
                guard cell.hasBytes else { return [] }
                return StarRocksKey.shown(batch.bytes(of: cell), as: layout.columns[column].encoding.kind)
            }
        )
    }

    /// Finds what each item follows, and which row each key has in the end.
    private mutating func chain(
        _ batch: CdcBatch,
        _ fold: FoldIndex,
        _ isSoft: Bool,
        _ has: ((StarRocksKey, FoldIndex.Item) -> Bool)?
    ) -> [Row] {
        var last: [StarRocksKey: Row] = [:]
        before = Array(repeating: -2, count: fold.items.count)
        // A slice has a truncate in it only where it is rehearsed.
        for (index, item) in fold.items.enumerated() where item.outcome != .truncate {
            let new = newKey(item, batch, fold)
            let isMove = item.outcome == .changeKey
            let old = isMove ? oldKey(item, batch) : new
            if Self.isIncomplete(item, isSoft, batch) {
                switch last[old] {
                case nil: before[index] = -1
                case let row? where row.kind == .row || row.kind == .mark: before[index] = row.item
                default: before[index] = -2
                }
                if before[index] == -1 { rootKeys[index] = old }
            }
            // What the target has already is in its rows, and what follows is looked up there.
            if isMove, has?(old, item) != true { last[old] = Row(kind: .oldKey, item: index) }
            if has?(new, item) != true { last[new] = Row(kind: Self.kind(of: item, isSoft), item: index) }
        }
        return last.values.sorted { ($0.item, $0.kind == .oldKey ? 0 : 1) < ($1.item, $1.kind == .oldKey ? 0 : 1) }
    }

    /// Where a column's value of an item is.
    enum Source {
        case cell(Cell)
        /// The item at whose beginning the target's row stands.
        case target(root: Int)
        case nowhere
    }

    /// Follows a chain to the value of a column.
    func source(_ column: Int, of index: Int, _ batch: CdcBatch, _ fold: FoldIndex, _ isSoft: Bool) -> Source {
        var place = index
        while true {
            let item = fold.items[place]
            let isKey = layout.schema.key.contains(column)
            let cell = fold.cell(item, column, in: batch)
            let keeps = item.outcome == .delete && batch.change(Int(item.change)).oldTuple != .full
            if isKey || !(cell.isUnchanged || keeps) { return .cell(cell) }
            switch before[place] {
            case -1: return .target(root: place)
            case -2: return .nowhere
            case let next: place = next
            }
        }
    }

    // MARK: Versions

    /// Whether the target has what an operation leaves under a key; nil where it has none of them.
    private func applied(
        _ writer: StarRocksTableWriter,
        _ context: StarRocksTableWriter.Context,
        _ fold: FoldIndex
    ) throws(SinkError) -> ((StarRocksKey, FoldIndex.Item) -> Bool)? {
        let batch = context.batch
        func version(_ item: FoldIndex.Item) -> UInt128 { batch.version(of: batch.change(Int(item.change))).number }
        let (applied, uncertain) = (writer.applied, writer.uncertain)
        switch context.mode {
        case .copy: return nil
        case .stream:
            // A slice begins behind what is applied, unless it is rehearsed.
            guard uncertain > applied || context.isRehearsal else { return nil }
        case .replay: break
        }
        let isReplay = context.mode == .replay
        var keys: Set<StarRocksKey> = []
        for item in fold.items where item.outcome != .truncate {
            guard isReplay || version(item) > applied && version(item) <= uncertain else { continue }
            keys.insert(newKey(item, batch, fold))
            if item.outcome == .changeKey { keys.insert(oldKey(item, batch)) }
        }
        let found = try StarRocksStoredRows(Array(keys), columns: [], of: layout, from: writer.database)
        return { key, item in
            let version = version(item)
            if !isReplay {
                if version <= applied { return true }
                if version > uncertain { return false }
            }
            guard let there = found.row(key) else { return !isReplay }
            return there.version >= version
        }
    }

    // MARK: Parts

    private mutating func addWhole(_ rows: [Row], _ batch: CdcBatch, _ fold: FoldIndex) {
        guard let last = rows.last else { return }
        parts.insert(
            Part(
                absent: [],
                rows: rows,
                hasDeletes: rows.contains { $0.kind == .delete || $0.kind == .oldKey },
                lsn: batch.version(of: batch.change(Int(fold.items[last.item].change))).commitLSN
            ),
            at: 0
        )
    }

    private mutating func divide(
        _ rows: [Row],
        _ writer: StarRocksTableWriter,
        _ context: StarRocksTableWriter.Context,
        _ fold: FoldIndex,
        _ isSoft: Bool
    ) throws(SinkError) {
        let batch = context.batch
        var whole: [Row] = []
        var open: [(row: Row, root: Int, absent: [Int])] = []
        var missing: [Int] = []
        for row in rows {
            let item = fold.items[row.item]
            guard row.kind == .row || row.kind == .mark, Self.isIncomplete(item, isSoft, batch) else {
                whole.append(row)
                continue
            }
            var absent: [Int] = []
            var root = -1
            var isNowhere = false
            for column in layout.columns.indices {
                switch source(column, of: row.item, batch, fold, isSoft) {
                case .cell: break
                case .target(let place):
                    absent.append(column)
                    root = place
                case .nowhere: isNowhere = true
                }
            }
            if isNowhere {
                missing.append(row.item)
            } else if absent.isEmpty {
                whole.append(row)
            } else {
                open.append((row, root, absent))
            }
        }
        // Whoever asks for a row under another key than its own needs its values, the others only that it is there.
        var keys: [StarRocksKey] = []
        var needed: Set<Int> = []
        for (row, root, absent) in open {
            let own = newKey(fold.items[row.item], batch, fold)
            let key = rootKeys[root] ?? own
            rootKeys[root] = key
            keys.append(key)
            if key != own { needed.formUnion(absent) }
        }
        stored = try StarRocksStoredRows(
            Array(Set(keys)),
            columns: needed.sorted(),
            of: layout,
            from: writer.database
        )
        var groups: [[Int]: Int] = [:]
        for (place, (row, _, absent)) in open.enumerated() {
            guard stored.row(keys[place]) != nil else {
                missing.append(row.item)
                continue
            }
            guard keys[place] == newKey(fold.items[row.item], batch, fold) else {
                whole.append(row)
                continue
            }
            let group = groups[absent] ?? parts.count
            if group == parts.count {
                groups[absent] = group
                parts.append(Part(absent: absent))
            }
            parts[group].rows.append(row)
            parts[group].lsn = batch.version(of: batch.change(Int(fold.items[row.item].change))).commitLSN
        }
        for item in missing {
            let change = Int(fold.items[item].change)
            writer.refused.append((change, .missingRow(of: layout.schema, batch.version(of: batch.change(change)))))
        }
        addWhole(whole, batch, fold)
    }

    // MARK: Rows

    /// Encodes a row of a part.
    @inline(__always)
    func append(
        _ row: Row,
        _ present: [Int],
        to rows: inout StarRocksRowEncoder,
        _ batch: CdcBatch,
        _ fold: FoldIndex,
        _ isSoft: Bool
    ) {
        let item = fold.items[row.item]
        guard row.kind == .row, !item.isPartial else {
            return appendSeldom(row, item, present, to: &rows, batch, fold, isSoft)
        }
        let change = batch.change(Int(item.change))
        for place in 0..<present.count {
            if place > 0 { rows.separate() }
            let cell = fold.cell(item, present[place], in: batch)
            rows.append(cell.hasBytes ? batch.bytes(of: cell) : nil, present[place], Int(item.change))
        }
        rows.finishRow(kind(item, change), isDeleted: false, batch.version(of: change), isGone: false)
    }

    /// What `dbmazz_op_type` says of a row that stays.
    @inline(__always)
    private func kind(_ item: FoldIndex.Item, _ change: Change) -> UInt8 {
        item.outcome == .upsert && change.kind == .insert ? 0 : 1
    }

    /// Encodes a row that does not carry all of itself, or one that goes.
    @inline(never)
    private func appendSeldom(
        _ row: Row,
        _ item: FoldIndex.Item,
        _ present: [Int],
        to rows: inout StarRocksRowEncoder,
        _ batch: CdcBatch,
        _ fold: FoldIndex,
        _ isSoft: Bool
    ) {
        let place = Int(item.change)
        let change = batch.change(place)
        let isGone = row.kind == .delete || row.kind == .oldKey
        for (index, column) in present.enumerated() {
            if index > 0 { rows.separate() }
            guard isGone else {
                appendKept(column, of: row.item, place, to: &rows, batch, fold, isSoft)
                continue
            }
            guard layout.schema.key.contains(column) else {
                rows.appendNull()
                continue
            }
            let cell = row.kind == .oldKey ? batch.oldCell(change, column) : fold.cell(item, column, in: batch)
            rows.appendSeldom(cell.hasBytes ? batch.bytes(of: cell) : nil, column, place)
        }
        rows.finishRow(
            row.kind == .row ? kind(item, change) : 2,
            isDeleted: row.kind != .row,
            batch.version(of: change),
            isGone: isGone
        )
    }

    /// Appends a value that an item may not carry itself.
    private func appendKept(
        _ column: Int,
        of index: Int,
        _ change: Int,
        to rows: inout StarRocksRowEncoder,
        _ batch: CdcBatch,
        _ fold: FoldIndex,
        _ isSoft: Bool
    ) {
        let cell = fold.cell(fold.items[index], column, in: batch)
        // A whole soft delete carries everything itself, and has no chain.
        let isOwn = before.isEmpty || fold.items[index].outcome != .delete && !cell.isUnchanged
        switch isOwn ? Source.cell(cell) : source(column, of: index, batch, fold, isSoft) {
        case .cell(let cell):
            rows.appendSeldom(cell.hasBytes ? batch.bytes(of: cell) : nil, column, change)
        case .target(let root):
            guard let key = rootKeys[root], let value = stored.row(key)?.values[column] else {
                return rows.refuse(change, .missingRow)
            }
            rows.appendStored(value, column)
        case .nowhere: rows.refuse(change, .missingRow)
        }
    }
}
