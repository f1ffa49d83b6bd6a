import CdcCore
import PgOutput
import Testing

@Suite("Damaged messages")
struct DamagedMessageTests {
    /// A feed whose batch holds something that could be lost.
    private func filledFeed() throws -> MessageFeed {
        var feed = MessageFeed()
        try feed.take(Wire.insert(Samples.oid(Samples.orders), [.text("1"), .text("kept"), .null]))
        return feed
    }

    @Test("the samples are sound, and there is one of every message and form of row")
    func samplesAreSound() throws {
        var feed = MessageFeed()
        var seen: Set<MessageFeed.Outcome> = []
        // Rows first: one of the descriptions places columns anew.
        for message in Samples.rows + Samples.control { seen.insert(try feed.take(message)) }
        for line in Samples.copyLines { seen.insert(try feed.takeLine(line, table: Samples.orders)) }
        for message in Samples.binaryCopy { seen.insert(try feed.takeBinary(message, table: Samples.orders)) }
        for frame in Samples.frames.suffix(2) { seen.insert(try feed.takeFrame(frame)) }
        #expect(seen == Set(MessageFeed.Outcome.allCases).subtracting([.unknownRelation]))
        #expect(feed.complaint() == nil)
    }

    @Test("a message cut anywhere is an error and leaves the batch as it was", arguments: Samples.payloads)
    func truncated(message: [UInt8]) throws {
        var feed = try filledFeed()
        let before = feed.fill
        let kept = "\(feed.batch.record(0))"
        for length in 0..<message.count {
            let error = try? feed.refusal(Array(message.prefix(length)))
            #expect(error != nil, "the first \(length) bytes were taken")
            #expect((error?.offset).map { $0 <= length } == true)
            #expect(feed.fill == before, "the first \(length) bytes changed the batch")
        }
        #expect("\(feed.batch.record(0))" == kept)
        try feed.take(message)
    }

    @Test("a message cut anywhere is an error in its frame, too", arguments: Samples.frames)
    func truncatedFrame(frame: [UInt8]) throws {
        var feed = try filledFeed()
        let before = feed.fill
        for length in 0..<frame.count {
            #expect(throws: WireError.self, "\(length) bytes") { try feed.takeFrame(Array(frame.prefix(length))) }
            #expect(feed.fill == before, "the first \(length) bytes changed the batch")
        }
        try feed.takeFrame(frame)
    }

    @Test("bytes behind a message's end are an error and leave the batch as it was", arguments: Samples.payloads)
    func trailing(message: [UInt8]) throws {
        var feed = try filledFeed()
        let before = feed.fill
        for extra: [UInt8] in [[0], [UInt8(ascii: "n")], Array(repeating: 0xFF, count: 9)] {
            #expect(throws: WireError.self) { try feed.take(message + extra) }
            #expect(feed.fill == before)
        }
    }

    @Test(
        "a wrong number of columns is an error in every tuple",
        arguments: [UInt16(0), 1, 2, 4, 0x7FFF, 0x8000, 0xFFFF]
    )
    func columnCount(count: UInt16) throws {
        var feed = try filledFeed()
        let before = feed.fill
        let orders = Samples.oid(Samples.orders)
        let row: [Wire.Column] = [.text("1"), .null, .null]
        let messages = [
            (Wire.insert(orders, row), 6), (Wire.update(orders, new: row), 6),
            (Wire.update(orders, key: row, new: row), 6),
            (Wire.update(orders, key: row, new: row), 6 + Wire.tuple(row).count + 1),
            (Wire.delete(orders, key: row), 6),
        ]
        for (message, offset) in messages {
            var damaged = message
            damaged.replaceSubrange(offset..<offset + 2, with: Wire.bytes(count))
            #expect(throws: WireError.self) { try feed.take(damaged) }
            #expect(feed.fill == before)
        }
    }

    @Test("rows of another width than their relation are an error", arguments: [0, 1, 2, 4, 5])
    func rowWidth(width: Int) throws {
        var feed = try filledFeed()
        let before = feed.fill
        let row = Array(repeating: Wire.Column.text("1"), count: width)
        let orders = Samples.oid(Samples.orders)
        #expect(throws: WireError("wrong number of columns", at: 6)) { try feed.take(Wire.insert(orders, row)) }
        #expect(throws: WireError("wrong number of columns", at: 6)) { try feed.take(Wire.update(orders, new: row)) }
        #expect(throws: WireError("wrong number of columns", at: 6)) { try feed.take(Wire.delete(orders, key: row)) }
        #expect(feed.fill == before)
    }

    @Test(
        "an absurd length of a value is an error, never an allocation",
        arguments: [UInt32.max, 0x8000_0000, 0x7FFF_FFFF, 0x4000_0000, 0x3FFF_FFFF, 3]
    )
    func absurdLength(length: UInt32) throws {
        var feed = try filledFeed()
        let before = feed.fill
        let orders = Samples.oid(Samples.orders)
        let row: [Wire.Column] = [.text("ab"), .null, .null]
        for message in [
            Wire.insert(orders, row), Wire.update(orders, key: row, new: row), Wire.delete(orders, key: row),
        ] {
            var damaged = message
            damaged.replaceSubrange(9..<13, with: Wire.bytes(length))
            #expect(throws: WireError.self) { try feed.take(damaged) }
            #expect(feed.fill == before)
        }
    }

    @Test("an absurd length of a logical message is an error", arguments: [UInt32.max, 0x8000_0000, 4, 2])
    func absurdContent(length: UInt32) throws {
        var feed = try filledFeed()
        let message = Wire.message(isTransactional: true, lsn: 1, prefix: "p", content: [1, 2, 3])
        let damaged = Array(message.dropLast(7)) + Wire.bytes(length) + [1, 2, 3]
        #expect(throws: WireError.self) { try feed.take(damaged) }
    }

    @Test("an absurd number of columns in a relation is an error", arguments: [UInt16.max, 0x8000, 4, 2])
    func absurdRelation(count: UInt16) throws {
        var feed = try filledFeed()
        var message = Wire.relation(
            1,
            schema: "s",
            name: "t",
            columns: [.init(name: "a"), .init(name: "b"), .init(name: "c")]
        )
        message.replaceSubrange(10..<12, with: Wire.bytes(count))
        #expect(throws: WireError.self) { try feed.take(message) }
    }

    @Test("a tag that no column has is an error and leaves the batch as it was")
    func columnTag() throws {
        var feed = try filledFeed()
        let before = feed.fill
        let orders = Samples.oid(Samples.orders)
        let row: [Wire.Column] = [.text("1"), .null, .null]
        for tag in UInt8.min...UInt8.max where !"nutb".utf8.contains(tag) {
            for message in [Wire.insert(orders, row), Wire.update(orders, new: row), Wire.delete(orders, key: row)] {
                var damaged = message
                damaged[damaged.count - 1] = tag
                #expect(throws: WireError("unknown column tag", at: message.count - 1)) { try feed.take(damaged) }
                #expect(feed.fill == before)
            }
        }
    }

    @Test("an unchanged column is an error in an insert, a delete, and an old row")
    func unchangedOutsideUpdate() throws {
        var feed = try filledFeed()
        let before = feed.fill
        let documents = Samples.oid(Samples.documents)
        let row: [Wire.Column] = [.text("1"), .unchanged, .null, .null]
        let whole: [Wire.Column] = [.text("1"), .null, .null, .null]
        for message in [
            Wire.insert(documents, row), Wire.delete(documents, full: row),
            Wire.update(documents, full: row, new: whole),
        ] {
            #expect(throws: WireError.self) { try feed.take(message) }
            #expect(feed.fill == before)
        }
        try feed.take(Wire.update(documents, full: whole, new: row))
    }
}

extension MessageFeed {
    /// The error with which a message is refused; nil if it is taken.
    fileprivate mutating func refusal(_ message: [UInt8]) throws -> WireError? {
        do throws(WireError) {
            try take(message)
            return nil
        } catch {
            return error
        }
    }
}
