import Logging
import Settings
import Testing

@testable import Operations

@Suite("The journal's fields") struct JournalTests {
    @Test("an event becomes MESSAGE for people and a field for each fact")
    func fields() {
        let fields = JournalLogHandler.fields(
            "sink waits",
            .warning,
            ["table": "public.t", "retry_in_ms": "12", "cause": "database is locked"]
        )
        #expect(fields[0] == "MESSAGE=sink waits cause=\"database is locked\" retry_in_ms=12 table=public.t")
        #expect(fields.contains("PRIORITY=4"))
        #expect(fields.contains("SYSLOG_IDENTIFIER=dbmazz-sink"))
        #expect(fields.contains("DBMAZZ_EVENT=sink waits"))
        #expect(fields.contains("DBMAZZ_TABLE=public.t"))
        #expect(fields.contains("DBMAZZ_RETRY_IN_MS=12"))
        #expect(fields.contains { $0.hasPrefix("MESSAGE_ID=") })
    }

    @Test("an event that nobody alerts on has no MESSAGE_ID, and an odd key is made one that journald takes")
    func plain() {
        let fields = JournalLogHandler.fields("table copied", .info, ["rows-é": "1"])
        #expect(!fields.contains { $0.hasPrefix("MESSAGE_ID=") })
        #expect(fields.contains("DBMAZZ_ROWS__=1"))
        #expect(fields.contains("PRIORITY=6"))
    }

    @Test("every MESSAGE_ID is a different UUID of 32 hexadecimal digits")
    func identities() {
        let ids = JournalLogHandler.messageIDs.values
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { $0.count == 32 && $0.allSatisfy { "0123456789abcdef".contains($0) } })
    }

    @Test("a process whose standard error is no journal does not take it for one")
    func detection() {
        #expect(!JournalLogHandler.isStandardError)
    }
}
