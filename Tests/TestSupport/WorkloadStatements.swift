/// The statements of the workload. Each notes its effects as the server returned them.
extension WorkloadClient {
    /// Runs a statement with RETURNING * and hands its rows over.
    private func returning(
        _ client: PgClient,
        _ sql: String,
        _ parameters: [String?],
        _ body: (PgResult, Int) -> Void
    ) throws {
        let result = try client.run(sql, parameters)
        defer { result.close() }
        for index in 0..<result.rowCount { body(result, index) }
    }

    private func puts(_ client: PgClient, _ table: Int, _ sql: String, _ parameters: [String?]) throws {
        let shape = shared.shapes[table]
        try returning(client, sql + " RETURNING *", parameters) { result, index in
            effects.append(.put(table: table, key: shape.key(result, index), row: shape.row(result, index)))
        }
    }

    private func drops(_ client: PgClient, _ table: Int, _ sql: String, _ parameters: [String?]) throws {
        let shape = shared.shapes[table]
        try returning(client, sql + " RETURNING *", parameters) { result, index in
            effects.append(.drop(table: table, key: shape.key(result, index)))
        }
    }

    /// `(a, b) = ($1, $2)`, or the same by the texts of the columns.
    private func addressed(_ table: WorkloadTable, from first: Int) -> String {
        table.keyNames.enumerated().map { offset, name in
            table.addressesByText ? "\(name)::text = $\(first + offset)" : "\(name) = $\(first + offset)"
        }.joined(separator: " AND ")
    }

    private func slot(_ table: WorkloadTable) -> [String] { table.key(random.below(table.slots)) }

    private func values(_ table: WorkloadTable) -> [String?] {
        table.valueColumns.map { shared.values.value(table.columns[$0].kind, &random) }
    }

    // MARK: Rows with a key

    func keyedOperation(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        switch random.below(100) {
        case 0..<16: try insert(client, table, rows: 1)
        case 16..<20: try insert(client, table, rows: 1, conflict: "")
        case 20..<28: try insert(client, table, rows: 2 + random.below(5))
        case 28..<36: try upsert(client, table)
        case 36..<60: try update(client, table, slot(spec))
        case 60..<66: try updateMany(client, table)
        case 66..<76: try delete(client, table, slot(spec))
        case 76..<80: try deleteMany(client, table)
        case 80..<86: try changeKey(client, table, from: slot(spec), to: slot(spec))
        case 86..<90: try swapKeys(client, table)
        case 90..<93:
            let key = slot(spec)
            try insert(client, table, keys: [key])
            try update(client, table, key)
        case 93..<96:
            let key = slot(spec)
            try insert(client, table, keys: [key])
            try delete(client, table, key)
        default:
            let key = slot(spec)
            try delete(client, table, key)
            try insert(client, table, keys: [key])
        }
    }

    func insert(
        _ client: PgClient,
        _ table: Int,
        rows: Int,
        conflict: String = "ON CONFLICT DO NOTHING"
    ) throws {
        let spec = shared.tables[table]
        let first = random.below(spec.slots)
        let keys = (0..<rows).map { spec.key((first + $0 * 7) % spec.slots) }
        try insert(client, table, keys: keys, conflict: conflict)
    }

    private func insert(
        _ client: PgClient,
        _ table: Int,
        keys: [[String]],
        conflict: String = "ON CONFLICT DO NOTHING"
    ) throws {
        let spec = shared.tables[table]
        let names = spec.columns.map { quoteIdentifier($0.name) }.joined(separator: ", ")
        var parameters: [String?] = []
        let rows = keys.map { key in
            let first = parameters.count + 1
            parameters += key.map { $0 } + values(spec)
            return "(" + (first...parameters.count).map { "$\($0)" }.joined(separator: ", ") + ")"
        }
        let sql = "INSERT INTO \(spec.qualifiedName) (\(names)) VALUES \(rows.joined(separator: ", ")) \(conflict)"
        try puts(client, table, sql, parameters)
    }

    private func upsert(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let column = quoteIdentifier(spec.columns[random.pick(Array(spec.valueColumns))].name)
        let keys = spec.keyNames.joined(separator: ", ")
        try insert(
            client,
            table,
            rows: 1,
            conflict: "ON CONFLICT (\(keys)) DO UPDATE SET \(column) = EXCLUDED.\(column)"
        )
    }

    private func update(_ client: PgClient, _ table: Int, _ key: [String]) throws {
        let spec = shared.tables[table]
        let (assignments, parameters) = assignments(spec)
        let sql = "UPDATE \(spec.qualifiedName) SET \(assignments) WHERE \(addressed(spec, from: parameters.count + 1))"
        try puts(client, table, sql, parameters + key.map { $0 })
    }

    /// One to three columns, large ones seldom: an update that leaves them alone is the interesting one.
    private func assignments(_ spec: WorkloadTable) -> (sql: String, parameters: [String?]) {
        var columns: [Int] = []
        for _ in 0...random.below(3) {
            let column = random.pick(Array(spec.valueColumns))
            let isBig = spec.columns[column].kind == .bigText || spec.columns[column].kind == .bigBytea
            if !columns.contains(column), !isBig || random.chance(40) || columns.isEmpty { columns.append(column) }
        }
        let parameters = columns.map { shared.values.value(spec.columns[$0].kind, &random) }
        let parts = columns.enumerated().map { "\(quoteIdentifier(spec.columns[$1].name)) = $\($0 + 1)" }
        return (parts.joined(separator: ", "), parameters)
    }

    private func updateMany(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let (assignments, parameters) = assignments(spec)
        let (condition, keys) = anyOf(spec, count: 2 + random.below(4), from: parameters.count + 1)
        try puts(client, table, "UPDATE \(spec.qualifiedName) SET \(assignments) WHERE \(condition)", parameters + keys)
    }

    private func anyOf(_ spec: WorkloadTable, count: Int, from first: Int) -> (sql: String, parameters: [String?]) {
        var parameters: [String?] = []
        let parts = (0..<count).map { _ in
            let part = "(" + addressed(spec, from: first + parameters.count) + ")"
            parameters += slot(spec).map { $0 }
            return part
        }
        return (parts.joined(separator: " OR "), parameters)
    }

    private func delete(_ client: PgClient, _ table: Int, _ key: [String]) throws {
        let spec = shared.tables[table]
        try drops(client, table, "DELETE FROM \(spec.qualifiedName) WHERE \(addressed(spec, from: 1))", key.map { $0 })
    }

    private func deleteMany(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let (condition, keys) = anyOf(spec, count: 2 + random.below(5), from: 1)
        try drops(client, table, "DELETE FROM \(spec.qualifiedName) WHERE \(condition)", keys)
    }

    /// Gives a row another key, sometimes with another value too; true when there was such a row.
    @discardableResult
    private func changeKey(_ client: PgClient, _ table: Int, from old: [String], to new: [String]) throws -> Bool {
        let spec = shared.tables[table]
        let shape = shared.shapes[table]
        guard old != new || spec.addressesByText else { return false }
        var parameters: [String?] = new.map { $0 }
        var parts = spec.keyNames.enumerated().map { "\($1) = $\($0 + 1)" }
        if random.chance(40) {
            let column = random.pick(Array(spec.valueColumns))
            parameters.append(shared.values.value(spec.columns[column].kind, &random))
            parts.append("\(quoteIdentifier(spec.columns[column].name)) = $\(parameters.count)")
        }
        let condition = addressed(spec, from: parameters.count + 1)
        let sql = "UPDATE \(spec.qualifiedName) SET \(parts.joined(separator: ", ")) WHERE \(condition)"
        var changed = false
        try returning(client, sql + " RETURNING *", parameters + old.map { $0 }) { result, index in
            changed = true
            effects.append(.drop(table: table, key: shape.key(old)))
            effects.append(.put(table: table, key: shape.key(result, index), row: shape.row(result, index)))
        }
        return changed
    }

    /// Two rows take each other's key by way of a third that is this client's own.
    private func swapKeys(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        guard !spec.addressesByText else { return }
        let (a, b, third) = (slot(spec), slot(spec), spec.key(spec.slots + number))
        guard a != b, try changeKey(client, table, from: a, to: third) else { return }
        try changeKey(client, table, from: b, to: a)
        try changeKey(client, table, from: third, to: b)
    }

    // MARK: Rows without a key

    func bagOperation(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let count = Int(try client.value("SELECT count(*) FROM \(spec.qualifiedName)") ?? "") ?? 0
        let choice = random.below(100)
        if count < 20 || (choice < 30 && count < 200) { return try insertCopies(client, table) }
        if choice < 65 { return try updateCopies(client, table) }
        try deleteCopies(client, table)
    }

    func insertCopies(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let shape = shared.shapes[table]
        let repeatsExisting = random.chance(30)
        let row = values(spec)
        let rows = (0...random.below(3)).map { _ in
            "(" + row.indices.map { "$\($0 + 1)" }.joined(separator: ", ") + ")"
        }
        let sql =
            repeatsExisting
            ? "INSERT INTO \(spec.qualifiedName) SELECT * FROM (SELECT * FROM \(spec.qualifiedName) LIMIT 3) old"
            : "INSERT INTO \(spec.qualifiedName) VALUES " + rows.joined(separator: ", ")
        try returning(client, sql + " RETURNING *", repeatsExisting ? [] : row) { result, index in
            effects.append(.add(table: table, row: shape.row(result, index)))
        }
    }

    /// Locks rows and remembers them, then updates exactly these by their place.
    private func updateCopies(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let shape = shared.shapes[table]
        var places: [String] = []
        var removed: [Effect] = []
        let limit = 1 + random.below(3)
        let select = "SELECT ctid, * FROM \(spec.qualifiedName) ORDER BY random() LIMIT \(limit) FOR UPDATE"
        try returning(client, select, []) { result, index in
            places.append(result.bytes(index, 0).map { String(decoding: $0, as: UTF8.self) } ?? "")
            removed.append(.remove(table: table, row: shape.row(result, index, first: 1)))
        }
        let (assignments, parameters) = assignments(spec)
        let list = "{" + places.map { "\"\($0)\"" }.joined(separator: ",") + "}"
        let sql = "UPDATE \(spec.qualifiedName) SET \(assignments) WHERE ctid = ANY ($\(parameters.count + 1)::tid[])"
        var added: [Effect] = []
        try returning(client, sql + " RETURNING *", parameters + [list]) { result, index in
            added.append(.add(table: table, row: shape.row(result, index)))
        }
        guard added.count == removed.count else { throw conflict("locked rows are not where they were") }
        effects += removed + added
    }

    private func deleteCopies(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let shape = shared.shapes[table]
        let some = "SELECT ctid FROM \(spec.qualifiedName) ORDER BY random() LIMIT \(1 + random.below(3))"
        let sql = "DELETE FROM \(spec.qualifiedName) WHERE ctid IN (\(some)) RETURNING *"
        try returning(client, sql, []) { result, index in
            effects.append(.remove(table: table, row: shape.row(result, index)))
        }
    }

    /// Ends the transaction as a conflict between clients would.
    private func conflict(_ message: String) -> PgError {
        PgError(sqlState: "40001", message: message, isConnectionLost: false)
    }

    // MARK: A unique column beside the key

    func uniqueOperation(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let name = spec.qualifiedName
        let (a, b) = (slot(spec)[0], slot(spec)[0])
        switch random.below(10) {
        case 0..<3: try insertUnique(client, table)
        case 3: try delete(client, table, [a])
        case 4:
            let big = shared.values.value(.bigText, &random)
            try puts(client, table, "UPDATE \(name) SET big = $1 WHERE id = $2", [big, a])
        case 5:
            // The value goes over to another row, and its own row goes away or loses it.
            let rows = try client.query("SELECT u FROM \(name) WHERE id = $1 FOR UPDATE", [a])
            guard a != b, let value = rows.first?[0] else { return }
            if random.chance(50) {
                try delete(client, table, [a])
            } else {
                try puts(client, table, "UPDATE \(name) SET u = NULL WHERE id = $1", [a])
            }
            try puts(client, table, "UPDATE \(name) SET u = $1 WHERE id = $2", [value, b])
        default: try swapUnique(client, table, a, b)
        }
    }

    func insertUnique(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        let sql = "INSERT INTO \(spec.qualifiedName) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        let value = "u\(random.below(2 * spec.slots))"
        try puts(client, table, sql, [slot(spec)[0], value, shared.values.value(.bigText, &random)])
    }

    /// Two rows take each other's value by way of NULL.
    private func swapUnique(_ client: PgClient, _ table: Int, _ a: String, _ b: String) throws {
        let name = shared.tables[table].qualifiedName
        let rows = try client.query("SELECT id, u FROM \(name) WHERE id IN ($1, $2) ORDER BY id FOR UPDATE", [a, b])
        guard rows.count == 2 else { return }
        let steps = [(nil, rows[0][0]), (rows[0][1], rows[1][0]), (rows[1][1], rows[0][0])]
        for (value, id) in steps {
            try puts(client, table, "UPDATE \(name) SET u = $1 WHERE id = $2", [value, id])
        }
    }

    // MARK: Foreign key

    func parentOperation(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        guard random.chance(25) else {
            return try random.chance(50) ? insert(client, table, rows: 2) : update(client, table, slot(spec))
        }
        // The children that ON DELETE CASCADE will delete are locked and read first: nothing returns them later.
        let key = slot(spec)
        guard let child = shared.tables.firstIndex(where: { $0.role == .child }) else { return }
        let locked = try client.query("SELECT id FROM \(spec.qualifiedName) WHERE id = $1 FOR UPDATE", [key[0]])
        guard !locked.isEmpty else { return }
        let shape = shared.shapes[child]
        let select = "SELECT * FROM \(shared.tables[child].qualifiedName) WHERE parent = $1 FOR UPDATE"
        var children: [Effect] = []
        try returning(client, select, [key[0]]) { result, index in
            children.append(.drop(table: child, key: shape.key(result, index)))
        }
        try delete(client, table, key)
        effects += children
    }

    func childOperation(_ client: PgClient, _ table: Int) throws {
        let spec = shared.tables[table]
        guard let parent = shared.tables.first(where: { $0.role == .parent }) else { return }
        let some = parent.key(random.below(parent.slots))[0]
        switch random.below(10) {
        case 0..<5:
            let sql =
                "INSERT INTO \(spec.qualifiedName) (id, parent, note) SELECT $1, p.id, $2 "
                + "FROM \(parent.qualifiedName) p WHERE p.id = $3 ON CONFLICT DO NOTHING"
            try puts(client, table, sql, [slot(spec)[0], shared.values.value(.text, &random), some])
        case 5..<7:
            // No such parent is a conflict like any other.
            let sql = "UPDATE \(spec.qualifiedName) SET parent = $1 WHERE id = $2"
            try puts(client, table, sql, [random.chance(20) ? nil : some, slot(spec)[0]])
        default:
            try delete(client, table, slot(spec))
        }
    }

    // MARK: Whole tables

    func truncate(_ client: PgClient) throws {
        func tables(_ role: WorkloadTable.Role) -> [Int] {
            shared.tables.indices.filter { shared.tables[$0].role == role }
        }
        let family = tables(.parent) + tables(.child)
        let single = tables(.keyed) + tables(.bag) + tables(.unique) + tables(.bulk)
        let (named, cleared, cascade): ([Int], [Int], String) =
            switch random.below(6) {
            case 0, 1: (tables(.parent), family, " CASCADE")
            case 2: (family, family, "")
            case 3: several(single)
            default: one(single)
            }
        let names = named.map { shared.tables[$0].qualifiedName }.joined(separator: ", ")
        try client.execute("TRUNCATE \(names)\(random.chance(20) ? " RESTART IDENTITY" : "")\(cascade)")
        effects += cleared.map { .clear(table: $0) }
        shared.count { $0.truncates += 1 }
    }

    private func one(_ tables: [Int]) -> ([Int], [Int], String) {
        let table = random.pick(tables)
        return ([table], [table], "")
    }

    private func several(_ tables: [Int]) -> ([Int], [Int], String) {
        let some = Array(tables.shuffled(using: &random).prefix(2 + random.below(2)))
        return (some, some, "")
    }

    // MARK: Large transactions

    /// Fills this client's batch, or changes all of it, or empties it.
    func largeStep(_ client: PgClient) throws {
        guard let table = shared.tables.firstIndex(where: { $0.role == .bulk }) else { return }
        let name = shared.tables[table].qualifiedName
        let row = try client.query("SELECT min(id), max(id) FROM \(name) WHERE batch = $1", ["\(number)"]).first
        guard let lowest = row?[0].flatMap({ Int($0) }), let highest = row?[1].flatMap({ Int($0) }) else {
            return try fill(client, table)
        }
        switch random.below(4) {
        case 0: try puts(client, table, "UPDATE \(name) SET v = v + 1 WHERE batch = $1", ["\(number)"])
        case 1: try move(client, table, by: highest - lowest + 1)
        default:
            try drops(client, table, "DELETE FROM \(name) WHERE batch = $1", ["\(number)"])
            // The deletes of a large part are sometimes taken back, and a new part follows.
            if random.chance(30) { try fill(client, table) }
        }
    }

    private func fill(_ client: PgClient, _ table: Int) throws {
        let options = shared.options
        let count = options.largeRows.lowerBound + random.below(options.largeRows.count)
        let start = (number + 1) * 1_000_000_000 + random.below(1_000_000)
        let sql = """
            INSERT INTO \(shared.tables[table].qualifiedName) (id, batch, v, payload)
            SELECT g, $1, g % 7, md5(g::text) FROM generate_series($2::int8, $3::int8) g
            """
        let takesBack = random.chance(20)
        let mark = effects.count
        if takesBack { try client.execute("SAVEPOINT large") }
        try puts(client, table, sql, ["\(number)", "\(start)", "\(start + count - 1)"])
        guard takesBack else { return }
        try client.execute("ROLLBACK TO SAVEPOINT large")
        effects.removeSubrange(mark...)
        shared.count { $0.savepointsRolledBack += 1 }
        try puts(client, table, sql, ["\(number)", "\(start)", "\(start + count / 2)"])
    }

    private func move(_ client: PgClient, _ table: Int, by distance: Int) throws {
        let shape = shared.shapes[table]
        let sql = "UPDATE \(shape.qualifiedName) SET id = id + $2::int8 WHERE batch = $1 RETURNING *, id - $2::int8"
        let last = shape.columns.count
        try returning(client, sql, ["\(number)", "\(distance)"]) { result, index in
            let old = result.bytes(index, last).map { String(decoding: $0, as: UTF8.self) } ?? ""
            effects.append(.drop(table: table, key: shape.key([old])))
            effects.append(.put(table: table, key: shape.key(result, index), row: shape.row(result, index)))
        }
    }
}
