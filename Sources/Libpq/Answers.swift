internal import CLibpq

/// What is read from libpq's answers alike, whoever asked.
public enum Answers {
    /// Rows of a result, as text.
    public typealias Rows = [[String?]]

    /// The rows of a result.
    public static func rows(_ result: OpaquePointer) -> Rows {
        let columns = PQnfields(result)
        return (0..<PQntuples(result)).map { row in
            (0..<columns).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : PQgetvalue(result, row, column).map { String(cString: $0) }
            }
        }
    }

    /// A field of an error, by its code (`PG_DIAG_…` in libpq's `postgres_ext.h`).
    public static func field(_ code: Character, _ result: OpaquePointer) -> String? {
        PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
    }

    /// libpq's last message about a connection, on one line.
    public static func message(of connection: OpaquePointer) -> String {
        oneLine(PQerrorMessage(connection).map { String(cString: $0) } ?? "")
    }

    /// A message on one line, without the place in the server's source.
    public static func oneLine(_ text: String) -> String {
        text.split { $0 == "\n" || $0 == "\t" }.filter { !$0.hasPrefix("LOCATION:") }.joined(separator: " ")
    }

    /// The SQLSTATE of a refused connection, which only a verbose message has: `FATAL:  57P03: the database system …`.
    public static func sqlState(ofRefusal message: String) -> String? {
        guard let mark = message.firstRange(of: "FATAL:  ") else { return nil }
        let code = message[mark.upperBound...].prefix { $0 != ":" }
        return code.utf8.count == 5 ? String(code) : nil
    }

    /// Host, port and database of a connection, for messages.
    public static func server(_ connection: OpaquePointer) -> String {
        func text(_ value: UnsafeMutablePointer<CChar>?) -> String { value.map { String(cString: $0) } ?? "?" }
        return "\(text(PQhost(connection))):\(text(PQport(connection)))/\(text(PQdb(connection)))"
    }
}
