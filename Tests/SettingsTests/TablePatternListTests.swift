import CdcCore
import Testing

@testable import Settings

@Suite("SOURCE_TABLES") struct TablePatternListTests {
    @Test(
        "a list is read",
        arguments: [
            ("a.b", [["a", "b"]]), (" a . b , c.d ", [["a", "b"], ["c", "d"]]), ("a.b,,a.b,", [["a", "b"]]),
            ("*.*", [["*", "*"]]), ("s*.t_*_x", [["s*", "t_*_x"]]), ("\"a\".\"b\"", [["a", "b"]]),
            ("\"a.b\".\"c,d\"", [["a.b", "c,d"]]), ("\"a\"\"b\".c", [["a\"b", "c"]]),
            ("Sales.\" x \"", [["Sales", " x "]]),
            ("a.\"\"\"\"", [["a", "\""]]), ("a.b\n,\nc.d", [["a", "b"], ["c", "d"]]),
            ("sch ema.tä", [["sch ema", "tä"]]),
        ] as [(String, [[String]])]
    )
    func list(text: String, expected: [[String]]) {
        let list = TablePatternList(text)
        #expect(list.mistakes.isEmpty)
        #expect(list.patterns == expected.map { TablePattern(schema: $0[0], name: $0[1]) })
    }

    @Test("what is right in a list stands beside what is wrong")
    func mixed() {
        let list = TablePatternList("orders,public.items,\"a\"b.c,x.\"y\" z,a.\"open")
        #expect(list.patterns == [TablePattern(schema: "public", name: "items")])
        #expect(list.mistakes.count == 4)
    }
}
