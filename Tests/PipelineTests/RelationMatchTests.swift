import CdcCore
import Logging
import PgOutput
import Testing

@testable import Pipeline

@Suite("RelationMatch")
struct RelationMatchTests {
    private typealias Column = Relations.Column

    /// The places of a match that can be taken as it is.
    private func bound(_ match: RelationMatch) throws -> ColumnMap {
        guard case .bound(let map) = match else { throw Unexpected(match) }
        return map
    }

    private func older(_ match: RelationMatch) throws -> (map: ColumnMap, dropped: [String]) {
        guard case .older(let map, let dropped) = match else { throw Unexpected(match) }
        return (map, dropped)
    }

    private func cause(_ match: RelationMatch) throws -> String {
        guard case .differs(let cause) = match else { throw Unexpected(match) }
        return cause
    }

    private func match(
        _ relation: [Column],
        _ table: [Column],
        identity: ReplicaIdentity = .default,
        isFresh: Bool
    ) -> RelationMatch {
        RelationMatch(
            Relations.message(relation, identity: identity),
            Relations.carried(table, identity: identity),
            isFresh: isFresh
        )
    }

    @Test("the same columns are bound", arguments: [true, false])
    func same(isFresh: Bool) throws {
        let map = try bound(match([Relations.id, Relations.name], [Relations.id, Relations.name], isFresh: isFresh))
        #expect(map.places == nil)
        #expect(map.count == 2)
    }

    @Test("the same columns in another order are bound to their places")
    func reordered() throws {
        let map = try bound(
            match(
                [Relations.note, Relations.id, Relations.name],
                [Relations.id, Relations.name, Relations.note],
                isFresh: false
            )
        )
        #expect(map.places == [2, 0, 1])
    }

    @Test("a column that was added since: the catalog is asked, then WAL without it can be read")
    func added() throws {
        let relation = [Relations.id, Relations.name]
        let table = [Relations.id, Relations.name, Relations.note]
        #expect(try cause(match(relation, table, isFresh: false)).contains("columns have changed"))
        let (map, dropped) = try older(match(relation, table, isFresh: true))
        #expect(map == ColumnMap(places: [0, 1], tableColumns: 3))
        #expect(dropped.isEmpty)
    }

    @Test("a column that was dropped since: the catalog is asked, then its values are left out")
    func dropped() throws {
        let relation = [Relations.id, Relations.name, Relations.note]
        let table = [Relations.id, Relations.note]
        #expect(try cause(match(relation, table, isFresh: false)).contains("columns have changed"))
        let (map, dropped) = try older(match(relation, table, isFresh: true))
        #expect(map.places == [0, ColumnMap.leftOut, 1])
        #expect(dropped == ["name"])
    }

    @Test("one column gone and another there may be a renamed one: its values must not vanish")
    func renamed() throws {
        let relation = [Relations.id, Relations.name]
        let table = [Relations.id, Column(name: "title")]
        #expect(try cause(match(relation, table, isFresh: false)).contains("columns have changed"))
        let cause = try cause(match(relation, table, isFresh: true))
        #expect(cause.contains("renamed"))
        #expect(cause.contains("name"))
    }

    @Test("a type that has changed: the catalog is asked, then WAL of the old type can be read")
    func typeChange() throws {
        let relation = [Relations.id, Column(name: "name", type: 23)]
        let table = [Relations.id, Relations.name]
        #expect(try cause(match(relation, table, isFresh: false)).contains("columns have changed"))
        let (map, dropped) = try older(match(relation, table, isFresh: true))
        #expect(map.places == nil)
        #expect(dropped.isEmpty)
    }

    @Test("another key is refused, even after the catalog was asked", arguments: [ReplicaIdentity.default, .index])
    func keyChange(identity: ReplicaIdentity) throws {
        let relation = [Relations.id, Relations.name]
        let table = [Column(name: "id", type: 23), Column(name: "name", isKey: true)]
        #expect(try cause(match(relation, table, identity: identity, isFresh: false)).contains("have changed"))
        #expect(try cause(match(relation, table, identity: identity, isFresh: true)).contains("key has changed"))
    }

    @Test("a key with a column more or less is another key")
    func widerKey() throws {
        let wide = [Relations.id, Column(name: "name", isKey: true)]
        let narrow = [Relations.id, Relations.name]
        #expect(try cause(match(wide, narrow, isFresh: true)).contains("key has changed"))
        #expect(try cause(match(narrow, wide, isFresh: true)).contains("key has changed"))
    }

    @Test("under REPLICA IDENTITY FULL every column is flagged, and the catalog's key counts")
    func fullIdentity() throws {
        let columns = [Relations.id, Relations.name]
        _ = try bound(match(columns, columns, identity: .full, isFresh: false))
        _ = try bound(match(columns, [Column(name: "id", type: 23), Relations.name], identity: .full, isFresh: false))
    }

    @Test("under REPLICA IDENTITY FULL, WAL without a column of the key is of another key")
    func fullIdentityWithoutKey() throws {
        let match = match([Relations.name], [Relations.id, Relations.name], identity: .full, isFresh: true)
        let cause = try cause(match)
        #expect(cause.contains("key has changed"))
    }

    @Test("names are equal as bytes, not as Unicode: two columns may differ in their composition only")
    func namesAreBytes() throws {
        let columns = [Relations.id, Column(name: "\u{E9}"), Column(name: "e\u{301}")]
        let map = try bound(match(columns, columns, isFresh: true))
        #expect(map.places == nil)
    }

    @Test("a table that was dropped and made anew is refused", arguments: [true, false])
    func recreated(isFresh: Bool) throws {
        let match = RelationMatch(Relations.message(oid: 16401), Relations.carried(oid: 16400), isFresh: isFresh)
        #expect(try cause(match).contains("made anew"))
    }
}

@Suite("RelationTable")
struct RelationTableTests {
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    private func table(
        _ carried: [CarriedTable],
        known: RelationTable.KnownRelations = .init(),
        wanted: Bool = true
    ) -> RelationTable {
        RelationTable(carried, known: known, logger: logger, isWanted: { _ in wanted })
    }

    @Test("rows of a described relation go to its table")
    func described() throws {
        let items = TableRef(schema: "public", name: "items")
        let relations = table([
            Relations.carried(), Relations.carried(ref: items, oid: 16500, copiedUpTo: LSN(rawValue: 77)),
        ])
        relations.relation(Relations.message(ref: items, oid: 16500))
        relations.relation(Relations.message())
        try relations.select(16500)
        #expect(relations.current.table == 1)
        #expect(relations.current.copiedUpTo == LSN(rawValue: 77))
        try relations.select(16400)
        #expect(relations.current.table == 0)
        #expect(relations.sessionEnd == nil)
    }

    @Test("a row of a relation that was not described violates the protocol")
    func undescribed() {
        let relations = table([Relations.carried()])
        #expect(throws: WireError.self) { try relations.select(16400) }
    }

    @Test("a new description counts from its arrival, also for the relation selected last")
    func describedAgain() throws {
        let known = RelationTable.KnownRelations()
        let relations = table([Relations.carried()], known: known)
        relations.relation(Relations.message())
        try relations.select(16400)
        relations.relation(Relations.message([Relations.note, Relations.id, Relations.name]))
        try relations.select(16400)
        #expect(relations.current.map.places == [2, 0, 1])
    }

    @Test("rows of a table that is not wanted are left out without a word")
    func unwanted() throws {
        let relations = table([Relations.carried()], wanted: false)
        relations.relation(Relations.message(ref: TableRef(schema: "public", name: "other"), oid: 1))
        try relations.select(1)
        #expect(relations.current.table == nil)
        #expect(relations.sessionEnd == nil)
    }

    @Test("a table that is new begins the session again once, and is left out if the catalog lacks it")
    func newTable() throws {
        let known = RelationTable.KnownRelations()
        let message = Relations.message(ref: TableRef(schema: "public", name: "other"), oid: 1)
        let first = table([Relations.carried()], known: known)
        first.relation(message)
        guard case .restart = first.sessionEnd else { throw Unexpected(first.sessionEnd as Any) }
        let second = table([Relations.carried()], known: known)
        second.relation(message)
        try second.select(1)
        #expect(second.sessionEnd == nil)
        #expect(second.current.table == nil)
    }

    @Test("a difference begins the session again once, then ends the daemon with the table's name")
    func difference() throws {
        let known = RelationTable.KnownRelations()
        let renamed = Relations.message([Relations.id, Relations.name, .init(name: "remark")])
        let first = table([Relations.carried()], known: known)
        first.relation(renamed)
        guard case .restart(let reason) = first.sessionEnd else { throw Unexpected(first.sessionEnd as Any) }
        #expect(reason.contains("public.orders"))
        let second = table([Relations.carried()], known: known)
        second.relation(renamed)
        guard case .failed(let failure) = second.sessionEnd else { throw Unexpected(second.sessionEnd as Any) }
        #expect(failure.code == .schemaMismatch)
        #expect(failure.description.contains("public.orders"))
        #expect(failure.description.contains("remark"))
    }

    @Test("after the catalog was asked, older WAL is read with the columns it has")
    func older() throws {
        let known = RelationTable.KnownRelations()
        let message = Relations.message([Relations.id, Relations.name])
        table([Relations.carried()], known: known).relation(message)
        let second = table([Relations.carried()], known: known)
        second.relation(message)
        try second.select(16400)
        #expect(second.sessionEnd == nil)
        #expect(second.current.table == 0)
        #expect(second.current.map == ColumnMap(places: [0, 1], tableColumns: 3))
    }
}

/// Something else than what a test expects to get.
struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init(_ value: some Any) {
        description = "unexpected: \(value)"
    }
}
