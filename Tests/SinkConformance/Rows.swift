internal import CdcCore
internal import Glibc

/// Rows in a form in which two that PostgreSQL tells apart are different, and two that it does not are equal.
enum Rows {
    /// What a row is compared by: `==` of strings would take composed and decomposed letters for the same.
    typealias Key = [Bytes?]

    /// Bytes that hash and compare fast in debug builds too.
    struct Bytes: Hashable {
        let array: [UInt8]

        static func == (left: Bytes, right: Bytes) -> Bool {
            left.array.withUnsafeBytes { one in
                right.array.withUnsafeBytes { other in
                    guard one.count == other.count, let first = one.baseAddress, let second = other.baseAddress else {
                        return one.count == other.count
                    }
                    return memcmp(first, second, one.count) == 0
                }
            }
        }

        func hash(into hasher: inout Hasher) {
            array.withUnsafeBytes { hasher.combine(bytes: $0) }
        }
    }

    static func keys(_ rows: [[String?]], of table: TableSchema) -> [Key] {
        rows.map { row in
            row.indices.map { column in
                row[column].map { Bytes(array: comparable(Array($0.utf8), table.columns[column].type)) }
            }
        }
    }

    static func keys(_ rows: [[TestCell]], of table: TableSchema) -> [Key] {
        rows.map { row in
            row.indices.map { column in
                guard case .bytes(let bytes) = row[column] else { return nil }
                return Bytes(array: comparable(bytes, table.columns[column].type))
            }
        }
    }

    /// Floating point by its bits, whatever the notation; everything else byte for byte.
    private static func comparable(_ bytes: [UInt8], _ type: DataType) -> [UInt8] {
        let text = { String(decoding: bytes, as: UTF8.self) }
        switch type {
        case .float32: return bits(Float(text())?.description, bytes)
        case .float64: return bits(Double(text())?.description, bytes)
        default: return bytes
        }
    }

    private static func bits(_ text: String?, _ bytes: [UInt8]) -> [UInt8] { text.map { Array($0.utf8) } ?? bytes }

    /// The first differences of two sets of rows; nil where there are none.
    static func difference(found: [Key], expected: [Key]) -> String? {
        var counts: [Key: Int] = [:]
        for row in found { counts[row, default: 0] += 1 }
        for row in expected { counts[row, default: 0] -= 1 }
        let surplus = counts.filter { $0.value > 0 }.map { "\($0.value) × \(shown($0.key))" }.sorted()
        let missing = counts.filter { $0.value < 0 }.map { "\(-$0.value) × \(shown($0.key))" }.sorted()
        guard !surplus.isEmpty || !missing.isEmpty else { return nil }
        return "\(found.count) rows instead of \(expected.count); "
            + "not expected: \(surplus.prefix(3).joined(separator: ", ")); "
            + "missing: \(missing.prefix(3).joined(separator: ", "))"
    }

    private static func shown(_ row: Key) -> String {
        let values = row.map { value in
            guard let value else { return "NULL" }
            let text = String(decoding: value.array.prefix(40), as: UTF8.self)
            return
                "\"\(text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined())\"\(value.array.count > 40 ? "…" : "")"
        }
        return "(\(values.joined(separator: ", ")))"
    }
}
