import CdcCore
import PgOutput
import Testing

@Suite("PgOutputDecoder")
struct MessageTests {
    private func decode(_ message: [UInt8]) throws(WireError) -> PgOutputMessage {
        try PgOutputDecoder.decode(message.span.bytes, from: 0)
    }

    // MARK: Transactions

    @Test("begin tells commit LSN, time and xid")
    func begin() throws {
        let message = try decode(Wire.begin(commitLSN: 0x16_B374_D848, time: -5, xid: .max))
        guard case .begin(let info) = message else { throw Unexpected(message) }
        #expect(info.commitLSN == LSN("16/B374D848"))
        #expect(info.commitTime == -5)
        #expect(info.xid == .max)
        #expect(info.endLSN == nil)
    }

    @Test("commit tells where its record begins and ends")
    func commit() throws {
        let message = try decode(Wire.commit(commitLSN: 0x200, endLSN: 0x230, time: 99))
        guard case .commit(let commitLSN, let endLSN, let time) = message else { throw Unexpected(message) }
        #expect(commitLSN == LSN(rawValue: 0x200))
        #expect(endLSN == LSN(rawValue: 0x230))
        #expect(time == 99)
    }

    @Test("commit with flags is an error: none are defined")
    func commitFlags() {
        #expect(throws: WireError("unknown commit flags", at: 1)) {
            try decode(Wire.commit(flags: 1, commitLSN: 1, endLSN: 2))
        }
    }

    @Test("origin tells the other server's name")
    func origin() throws {
        let message = try decode(Wire.origin(commitLSN: 77, name: "pg_16395"))
        guard case .origin(let commitLSN, let name) = message else { throw Unexpected(message) }
        #expect(commitLSN == LSN(rawValue: 77))
        #expect(name == "pg_16395")
    }

    // MARK: Descriptions

    @Test("relation tells name, identity and columns")
    func relation() throws {
        let message = try decode(
            Wire.relation(
                16400,
                schema: "sales",
                name: "Größe",
                identity: UInt8(ascii: "i"),
                columns: [
                    .init(name: "id", isKey: true, type: 23), .init(name: "price", type: 1700, modifier: 655_366),
                ]
            )
        )
        guard case .relation(let relation) = message else { throw Unexpected(message) }
        #expect(relation.oid == 16400)
        #expect(relation.ref == TableRef(schema: "sales", name: "Größe"))
        #expect(relation.identity == .index)
        #expect(relation.columns.map(\.name) == ["id", "price"])
        #expect(relation.columns.map(\.isKey) == [true, false])
        #expect(relation.columns.map(\.typeOID) == [23, 1700])
        #expect(relation.columns.map(\.typeModifier) == [-1, 655_366])
    }

    @Test(
        "every replica identity is told apart",
        arguments: zip("dfin".utf8, [.default, .full, .index, .nothing] as [ReplicaIdentity])
    )
    func identity(letter: UInt8, expected: ReplicaIdentity) throws {
        let message = try decode(Wire.relation(1, schema: "s", name: "t", identity: letter, columns: []))
        guard case .relation(let relation) = message else { throw Unexpected(message) }
        #expect(relation.identity == expected)
    }

    @Test("an empty namespace means pg_catalog")
    func emptyNamespace() throws {
        let message = try decode(Wire.relation(1, schema: "", name: "pg_class", columns: []))
        guard case .relation(let relation) = message else { throw Unexpected(message) }
        #expect(relation.ref == TableRef(schema: "pg_catalog", name: "pg_class"))
    }

    @Test("an unknown replica identity is an error")
    func unknownIdentity() {
        #expect(throws: WireError("unknown replica identity", at: 9)) {
            try decode(Wire.relation(1, schema: "s", name: "t", identity: UInt8(ascii: "x"), columns: []))
        }
    }

    @Test("a name that is not UTF-8 is an error")
    func damagedName() {
        var message = Wire.type(1, schema: "s", name: "mood")
        message[message.count - 3] = 0xFF
        #expect(throws: WireError("name that is not UTF-8", at: 7)) { try decode(message) }
    }

    @Test("type tells OID, schema and name")
    func type() throws {
        let message = try decode(Wire.type(90001, schema: "public", name: "mood"))
        guard case .type(let oid, let schema, let name) = message else { throw Unexpected(message) }
        #expect(oid == 90001)
        #expect(schema == "public")
        #expect(name == "mood")
    }

    // MARK: Rows

    @Test("insert tells the relation and where its row begins")
    func insert() throws {
        let message = try decode(Wire.insert(0xFFFF_FFFE, [.null]))
        guard case .insert(let relation, let newOffset) = message else { throw Unexpected(message) }
        #expect(relation == 0xFFFF_FFFE)
        #expect(newOffset == 6)
    }

    @Test("update without an old row has the new one only")
    func updateWithoutOld() throws {
        let message = try decode(Wire.update(5, new: [.text("a")]))
        guard case .update(let relation, let old, _, let newOffset) = message else { throw Unexpected(message) }
        #expect(relation == 5)
        #expect(old == .none)
        #expect(newOffset == 6)
    }

    @Test("update finds the new row behind an old one of any form")
    func updateWithOld() throws {
        let old: [Wire.Column] = [.null, .unchanged, .text("abc"), .binary([1, 2])]
        for (bytes, expected) in [
            (Wire.update(5, key: old, new: [.null]), OldTuple.key), (Wire.update(5, full: old, new: [.null]), .full),
        ] {
            let message = try decode(bytes)
            guard case .update(_, let old, let oldOffset, let newOffset) = message else { throw Unexpected(message) }
            #expect(old == expected)
            #expect(oldOffset == 6)
            #expect(newOffset == bytes.count - 3)
        }
    }

    @Test("delete tells whether it has a key or the whole row")
    func delete() throws {
        for (bytes, expected) in [(Wire.delete(5, key: [.null]), OldTuple.key), (Wire.delete(5, full: [.null]), .full)]
        {
            let message = try decode(bytes)
            guard case .delete(let relation, let old, let oldOffset) = message else { throw Unexpected(message) }
            #expect(relation == 5)
            #expect(old == expected)
            #expect(oldOffset == 6)
        }
    }

    // MARK: Others

    @Test("truncate names every table and both options", arguments: [UInt8(0), 1, 2, 3])
    func truncate(flags: UInt8) throws {
        let message = try decode(Wire.truncate([1, 2, .max], flags: flags))
        guard case .truncate(let relations, let cascade, let restart) = message else { throw Unexpected(message) }
        #expect(relations == [1, 2, .max])
        #expect(cascade == (flags & 1 != 0))
        #expect(restart == (flags & 2 != 0))
    }

    @Test(
        "a truncate whose count is not that of its tables is an error",
        arguments: [UInt32(0), 1, 3, 0x4000_0002, .max]
    )
    func truncateCount(count: UInt32) {
        var bytes = Wire.truncate([1, 2])
        bytes.replaceSubrange(1..<5, with: Wire.bytes(count))
        #expect(throws: WireError("wrong number of truncated tables", at: 6)) { try decode(bytes) }
    }

    @Test("logical message tells prefix, place and length", arguments: [true, false])
    func logicalMessage(isTransactional: Bool) throws {
        let bytes = Wire.message(isTransactional: isTransactional, lsn: 42, prefix: "p", content: [0, 1, 0])
        let message = try decode(bytes)
        guard case .message(let lsn, let transactional, let prefix, let length) = message else {
            throw Unexpected(message)
        }
        #expect(lsn == LSN(rawValue: 42))
        #expect(transactional == isTransactional)
        #expect(prefix == "p")
        #expect(length == 3)
    }

    @Test("messages of streamed transactions are errors: streaming is never asked for", arguments: "SEcA".utf8)
    func streaming(kind: UInt8) {
        #expect(throws: WireError("message of a streamed transaction, although streaming is off", at: 0)) {
            try decode([kind] + Wire.bytes(UInt32(7)) + [1])
        }
    }

    @Test("every other kind of message is an error")
    func unknownKinds() {
        let known = Set("BCORYIUDTMSEcA".utf8)
        for kind in UInt8.min...UInt8.max where !known.contains(kind) {
            #expect(throws: WireError("unknown pgoutput message", at: 0)) {
                try decode([kind] + Array(repeating: 0, count: 64))
            }
        }
    }

    @Test("unknown tuple tags are errors, in every place where one stands")
    func unknownTags() {
        for tag in UInt8.min...UInt8.max {
            let tuple = Wire.tuple([.null])
            if tag != UInt8(ascii: "N") {
                let insert = [UInt8(ascii: "I")] + Wire.bytes(UInt32(1)) + [tag] + tuple
                #expect(throws: WireError("unknown tuple tag", at: 5)) { try decode(insert) }
                let update = [UInt8(ascii: "U")] + Wire.bytes(UInt32(1)) + [UInt8(ascii: "K")] + tuple + [tag] + tuple
                #expect(throws: WireError("unknown tuple tag", at: 9)) { try decode(update) }
            }
            guard !"KO".utf8.contains(tag) else { continue }
            let delete = [UInt8(ascii: "D")] + Wire.bytes(UInt32(1)) + [tag] + tuple
            #expect(throws: WireError("unknown tuple tag", at: 5)) { try decode(delete) }
        }
    }
}

/// A message that decoded to something else.
struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init(_ value: some Any) {
        description = "unexpected: \(value)"
    }
}
