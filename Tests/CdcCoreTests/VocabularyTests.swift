import Testing

@testable import CdcCore

@Suite("LSN")
struct LSNTests {
    @Test(
        "PostgreSQL's text form, there and back",
        arguments: [
            ("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("0/1", 1), ("FFFFFFFF/FFFFFFFF", UInt64.max),
            ("1/0", 1 << 32),
        ] as [(String, UInt64)]
    )
    func text(text: String, value: UInt64) {
        #expect(LSN(text) == LSN(rawValue: value))
        #expect(LSN(rawValue: value).description == text)
    }

    @Test("small letters and leading zeros are read")
    func lenient() {
        #expect(LSN("0016/b374d848") == LSN(rawValue: 0x16_B374_D848))
    }

    @Test(
        "anything else is no LSN",
        arguments: [
            "", "/", "0/", "/0", "0", "0/0/0", "0/100000000", "G/0", " 0/0", "0/0 ", "+1/0", "0/-0", "-0/0", "0x1/0",
        ]
    )
    func wrong(text: String) {
        #expect(LSN(text) == nil)
    }

    @Test("LSNs order by place in the log")
    func order() {
        #expect(LSN(rawValue: 0xFFFF_FFFF) < LSN(rawValue: 1 << 32))
        #expect(LSN.zero < LSN(rawValue: 1))
    }
}

@Suite("RowVersion")
struct RowVersionTests {
    private let versions = [
        RowVersion(commitLSN: LSN(rawValue: 0), ordinal: 0), RowVersion(commitLSN: LSN(rawValue: 0), ordinal: .max),
        RowVersion(commitLSN: LSN(rawValue: 1), ordinal: 0), RowVersion(commitLSN: LSN(rawValue: 1), ordinal: 1),
        RowVersion(commitLSN: LSN(rawValue: 0xFF), ordinal: 9), RowVersion(commitLSN: LSN(rawValue: 0x100), ordinal: 0),
        RowVersion(commitLSN: LSN(rawValue: .max), ordinal: .max),
    ]

    @Test("versions, their numbers and their digits sort alike")
    func order() {
        #expect(versions.shuffled().sorted() == versions)
        #expect(versions.map(\.number).sorted() == versions.map(\.number))
        #expect(versions.map(\.hexadecimal).sorted() == versions.map(\.hexadecimal))
        #expect(Set(versions.map(\.number)).count == versions.count)
    }

    @Test("the digits are 32, commit LSN first")
    func digits() {
        #expect(
            RowVersion(commitLSN: LSN(rawValue: 0x16_B374_D848), ordinal: 0xAB).hexadecimal
                == "00000016b374d84800000000000000ab"
        )
        #expect(versions.allSatisfy { $0.hexadecimal.utf8.count == 32 })
        #expect(versions[3].number == UInt128(1) << 64 | 1)
    }

    @Test("a copied row loses to every change of a transaction that commits at or after the consistent point")
    func copiedRow() {
        let copied = RowVersion(commitLSN: LSN(rawValue: 0x500), ordinal: 0)
        // Written before the consistent point, committed after it: the change's own LSN would lose.
        #expect(copied < RowVersion(commitLSN: LSN(rawValue: 0x501), ordinal: 1))
        #expect(copied < RowVersion(commitLSN: LSN(rawValue: 0x500), ordinal: 1))
    }
}

@Suite("RetryPolicy")
struct RetryPolicyTests {
    private let policy = RetryPolicy(maxRetries: nil, initial: .milliseconds(100), maximum: .seconds(30))

    @Test("the bound doubles up to the maximum, and never overflows")
    func bounds() {
        #expect((1...4).map { policy.upperBound(before: $0) } == [100, 200, 400, 800].map { .milliseconds($0) })
        #expect(policy.upperBound(before: 10) == .seconds(30))
        #expect(policy.upperBound(before: .max) == .seconds(30))
        #expect(policy.upperBound(before: 0) == .milliseconds(100))
    }

    @Test("the delay is a random share of the bound, at least a tenth")
    func jitter() {
        var random = SeededRandom(seed: 1)
        var delays: [Duration] = []
        for _ in 0..<2000 { delays.append(policy.delay(before: 4, using: &random) ?? .zero) }
        #expect(delays.allSatisfy { $0 >= .milliseconds(80) && $0 <= .milliseconds(800) })
        #expect(delays.contains { $0 < .milliseconds(120) } && delays.contains { $0 > .milliseconds(750) })
    }

    @Test("after the last retry there is none; without a limit there always is one")
    func limit() {
        var random = SeededRandom(seed: 1)
        let limited = RetryPolicy(maxRetries: 2)
        #expect(limited.delay(before: 2, using: &random) != nil)
        #expect(limited.delay(before: 3, using: &random) == nil)
        #expect(RetryPolicy(maxRetries: 0).delay(before: 1, using: &random) == nil)
        #expect(policy.delay(before: 1_000_000, using: &random) != nil)
    }
}

@Suite("TablePattern")
struct TablePatternTests {
    @Test(
        "a star stands for any characters, everything else for itself",
        arguments: [
            ("public", "orders", true), ("*", "*", true), ("pub*", "ord*s", true), ("public", "*ers", true),
            ("public", "o*d*s", true), ("public", "orders*", true), ("public", "*orders*", true), ("public", "", false),
            ("public", "order", false), ("public", "ordersx", false), ("Public", "orders", false),
            ("public", "o*x*s", false),
            ("public", "ord.rs", false), ("sales", "*", false), ("public", "**rs", true), ("public", "*r*r*", true),
            ("public", "*r*r*r*", false),
        ]
    )
    func matches(schema: String, name: String, expected: Bool) {
        #expect(
            TablePattern(schema: schema, name: name).matches(TableRef(schema: "public", name: "orders")) == expected
        )
    }

    @Test("a table named with a star is matched by one")
    func starInName() {
        #expect(TablePattern(schema: "public", name: "a*").matches(TableRef(schema: "public", name: "a*b")))
        #expect(TablePattern(schema: "public", name: "a*").description == "public.a*")
    }
}

@Suite("DataType")
struct DataTypeTests {
    @Test("built-in types by OID")
    func builtIn() {
        let expected: [(UInt32, DataType)] = [
            (16, .boolean), (17, .bytes), (18, .string), (19, .string), (20, .int64), (21, .int16), (23, .int32),
            (25, .text),
            (26, .uint32), (28, .uint32), (29, .uint32), (114, .json), (700, .float32), (701, .float64),
            (1042, .string),
            (1043, .string), (1082, .date), (1083, .time), (1114, .timestamp), (1184, .timestampTz), (2950, .uuid),
            (3802, .jsonb), (5069, .uint64), (1186, .other), (869, .other), (1009, .other), (790, .other),
            (99_999, .other),
        ]
        for (oid, type) in expected { #expect(DataType(builtInType: oid, modifier: -1) == type, "OID \(oid)") }
    }

    @Test(
        "numeric's precision and scale, negative scales and scales beyond the precision included",
        arguments: [
            (-1, nil, nil), (4 + (10 << 16) + 2, 10, 2), (4 + (1000 << 16), 1000, 0),
            (4 + (2 << 16) + (2048 - 3), 2, -3),
            (4 + (3 << 16) + 5, 3, 5),
        ] as [(Int32, Int?, Int?)]
    )
    func numeric(modifier: Int32, precision: Int?, scale: Int?) {
        #expect(DataType(builtInType: 1700, modifier: modifier) == .decimal(precision: precision, scale: scale))
    }
}

@Suite("Hex")
struct HexTests {
    private func decode(_ text: String) -> [UInt8]? {
        Array(text.utf8).withUnsafeBytes { Hex.decode($0) }
    }

    @Test("bytea's text form becomes its bytes")
    func decodes() {
        #expect(decode("\\x") == [])
        #expect(decode("\\x00ffAbaB") == [0, 255, 0xAB, 0xAB])
        let all = "\\x" + (0...255).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(decode(all) == Array(0...255))
    }

    @Test("anything else is refused", arguments: ["", "\\", "x00", "\\X00", "\\x0", "\\x0g", "\\x 0", "00", "\\x00\\"])
    func refuses(text: String) {
        #expect(decode(text) == nil)
    }

    @Test("a target of another size is not written beyond")
    func size() {
        var target: [UInt8] = [7, 7, 7]
        let fits = Array("\\x0102".utf8).withUnsafeBytes { text in
            target.withUnsafeMutableBytes { Hex.decode(text, into: $0) }
        }
        #expect(!fits)
        #expect(target == [7, 7, 7])
    }
}

@Suite("Secrets and errors")
struct DescriptionTests {
    @Test("a secret prints as stars however it is printed")
    func secret() {
        let secret = Secret("hunter2")
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        #expect("\([secret])" == "[***]")
        #expect(secret.value == "hunter2")
    }

    @Test("an error is one sentence with operation, table, LSN, cause and remedy")
    func error() {
        let table = TableRef(schema: "shop", name: "orders")
        let whole = SinkError(
            .permanent,
            operation: "upsert",
            table: table,
            lsn: LSN(rawValue: 0x10),
            cause: "it broke",
            remedy: "mend it"
        )
        #expect(whole.description == "upsert failed for shop.orders at 0/10: it broke; mend it")
        let short = SinkError(.retriable, operation: "open database", cause: "locked", remedy: "wait")
        #expect(short.description == "open database failed: locked; wait")
    }
}
