import CdcCore
import PgOutput
import Testing

@Suite("ReplicationMessage")
struct ReplicationMessageTests {
    private func read(_ frame: [UInt8]) throws(WireError) -> ReplicationMessage {
        try ReplicationMessage(frame.span.bytes)
    }

    @Test("XLogData tells start and WAL end, and its payload begins at byte 25")
    func data() throws {
        let payload = Wire.begin(commitLSN: 5)
        let frame = Wire.data(start: 0x1_0000_0001, walEnd: .max, payload: payload)
        guard case .data(let start, let walEnd) = try read(frame) else { throw Unexpected(frame) }
        #expect(start == LSN("1/1"))
        #expect(walEnd == LSN(rawValue: .max))
        #expect(Array(frame[ReplicationMessage.payloadOffset...]) == payload)
    }

    @Test("keepalive tells WAL end and whether a reply is wanted", arguments: [true, false])
    func keepalive(replyRequested: Bool) throws {
        let frame = Wire.keepalive(walEnd: 0x300, replyRequested: replyRequested)
        guard case .keepalive(let walEnd, let reply) = try read(frame) else { throw Unexpected(frame) }
        #expect(walEnd == LSN(rawValue: 0x300))
        #expect(reply == replyRequested)
    }

    @Test("a frame cut anywhere in its header is an error")
    func truncatedHeader() {
        let data = Wire.data(start: 1, walEnd: 2, payload: [])
        for length in 0..<data.count {
            #expect(throws: WireError.self, "\(length) bytes") { try read(Array(data.prefix(length))) }
        }
        let keepalive = Wire.keepalive(walEnd: 1, replyRequested: false)
        for length in 0..<keepalive.count {
            #expect(throws: WireError.self, "\(length) bytes") { try read(Array(keepalive.prefix(length))) }
        }
    }

    @Test("a keepalive with bytes behind it is an error")
    func trailingBytes() {
        #expect(throws: WireError("trailing bytes", at: 18)) {
            try read(Wire.keepalive(walEnd: 1, replyRequested: false) + [0])
        }
    }

    @Test("every other kind of frame is an error")
    func unknownKinds() {
        for kind in UInt8.min...UInt8.max where kind != UInt8(ascii: "w") && kind != UInt8(ascii: "k") {
            #expect(throws: WireError("unknown replication message", at: 0)) {
                try read([kind] + Array(repeating: 0, count: 30))
            }
        }
    }
}

@Suite("StandbyStatusUpdate")
struct StandbyStatusUpdateTests {
    @Test("the message has 34 bytes: received, durable, durable again as applied, time, no reply wanted")
    func encoded() {
        let update = StandbyStatusUpdate(written: LSN(rawValue: 0x0102_0304_0506_0708), flushed: LSN(rawValue: 0x1122))
        let bytes = update.encoded(time: -2)
        let expected: [UInt8] =
            [UInt8(ascii: "r"), 1, 2, 3, 4, 5, 6, 7, 8] + [0, 0, 0, 0, 0, 0, 0x11, 0x22] + [
                0, 0, 0, 0, 0, 0, 0x11, 0x22,
            ]
            + [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE] + [0]
        #expect(bytes == expected)
        #expect(bytes.count == 34)
    }
}
