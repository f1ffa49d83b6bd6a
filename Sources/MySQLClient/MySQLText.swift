/// Values and names as SQL has them.
public enum MySQLText {
    /// Appends a string literal, `'…'`.
    ///
    /// - Parameters:
    ///   - bytes: The value. Bytes that are not UTF-8 are taken by MariaDB and MySQL behind the introducer `_binary` only.
    ///   - sql: What it is appended to.
    ///   - backslashEscapes: False where the session's `sql_mode` has NO_BACKSLASH_ESCAPES, see
    ///     ``MySQLConnection/usesBackslashEscapes``. A wrong value lets a literal end early.
    public static func appendLiteral(
        _ bytes: UnsafeRawBufferPointer,
        to sql: inout [UInt8],
        backslashEscapes: Bool
    ) {
        sql.append(quote)
        for byte in bytes {
            if byte == quote {
                // The doubled quote holds in both modes.
                sql.append(quote)
                sql.append(quote)
            } else if backslashEscapes, let letter = letter(byte) {
                sql.append(backslash)
                sql.append(letter)
            } else {
                sql.append(byte)
            }
        }
        sql.append(quote)
    }

    /// A string literal, `'…'`.
    public static func literal(_ text: String, backslashEscapes: Bool) -> String {
        var sql: [UInt8] = []
        var text = text
        text.withUTF8 { appendLiteral(UnsafeRawBufferPointer($0), to: &sql, backslashEscapes: backslashEscapes) }
        return String(decoding: sql, as: UTF8.self)
    }

    /// A name in back-ticks: `` `a``b` `` for ``a`b``.
    public static func identifier(_ name: String) -> String {
        "`" + name.split(separator: "`", omittingEmptySubsequences: false).joined(separator: "``") + "`"
    }

    /// A hexadecimal literal, `x'…'`: a binary string, whatever the session's modes are.
    public static func hexLiteral(_ bytes: some Sequence<UInt8>) -> String {
        var text = "x'"
        for byte in bytes {
            text.unicodeScalars.append(Unicode.Scalar(digit(byte >> 4)))
            text.unicodeScalars.append(Unicode.Scalar(digit(byte & 15)))
        }
        return text + "'"
    }

    /// What stands behind the backslash for a byte that the server or a log could misread.
    private static func letter(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x00: UInt8(ascii: "0")
        case 0x0A: UInt8(ascii: "n")
        case 0x0D: UInt8(ascii: "r")
        // Ctrl-Z ends a file on Windows.
        case 0x1A: UInt8(ascii: "Z")
        case backslash: backslash
        default: nil
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}

private let quote = UInt8(ascii: "'")
private let backslash = UInt8(ascii: "\\")
