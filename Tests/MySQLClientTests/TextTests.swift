import MySQLClient
import Testing

@Suite("SQL text") struct TextTests {
    @Test("names in back-ticks")
    func identifiers() {
        #expect(MySQLText.identifier("a`b") == "`a``b`")
        #expect(MySQLText.identifier("") == "``")
        #expect(MySQLText.identifier("`") == "````")
    }
}
