import Glibc

/// How a column of ClickHouse is read so that PostgreSQL's text of its values can be told exactly.
///
/// Numbers and moments are fetched as integers, since ClickHouse's own texts clamp, round or drop zeros.
struct ClickHouseColumn {
    /// What is fetched.
    indirect enum Form {
        case text
        case bytes
        case bool
        case float32
        case float64
        case decimal(scale: Int)
        case money
        case days
        case microseconds(hasZone: Bool)
        case array(Form)
    }

    /// What SELECT has to ask for.
    let expression: String
    private let form: Form

    /// A column of a type as `system.columns` names it, for a source column of a type.
    init?(name: String, type: String, sourceType: UInt32) {
        var type = type
        for wrapper in ["LowCardinality(", "Nullable("] { type = Self.content(type, of: wrapper) ?? type }
        let column = ClickHouseClient.quote(name)
        if let element = Self.content(type, of: "Array(") {
            let inner = Self.content(element, of: "Nullable(") ?? element
            // The element's own type is not asked for: only bytea and money are read in another way than their like.
            guard let form = Self.form(inner, Self.elementType(sourceType)) else { return nil }
            self.form = .array(form)
            let value = Self.fetch("assumeNotNull(x)", form)
            expression = "arrayMap(x -> if(isNull(x), NULL, hex(toString(\(value)))), \(column))"
        } else {
            guard let form = Self.form(type, sourceType) else { return nil }
            self.form = form
            expression = "if(isNull(\(column)), NULL, \(Self.fetch("assumeNotNull(\(column))", form)))"
        }
    }

    /// PostgreSQL's text of a fetched value; nil when it is none of the column's type.
    func text(_ fetched: [UInt8]) -> [UInt8]? { Self.text(fetched, form) }

    private static func content(_ type: String, of wrapper: String) -> String? {
        type.hasPrefix(wrapper) && type.hasSuffix(")") ? String(type.dropFirst(wrapper.count).dropLast()) : nil
    }

    private static func form(_ type: String, _ sourceType: UInt32) -> Form? {
        if type == "Bool" { return .bool }
        if type == "Float32" { return .float32 }
        if type == "Float64" { return .float64 }
        if type == "Date32" || type == "Date" { return .days }
        if type.hasPrefix("DateTime64(6") { return .microseconds(hasZone: sourceType == 1184) }
        if let parts = content(type, of: "Decimal(")?.split(separator: ","), parts.count == 2 {
            if sourceType == 790 { return .money }
            return Int(parts[1].drop { $0 == " " }).map { .decimal(scale: $0) }
        }
        if type == "String" { return sourceType == 17 ? .bytes : .text }
        let isPlain = type.hasPrefix("Int") || type.hasPrefix("UInt") || type == "UUID"
        return isPlain ? .text : nil
    }

    private static func elementType(_ array: UInt32) -> UInt32 {
        switch array {
        case 1001: 17
        case 791: 790
        case 1185: 1184
        default: 0
        }
    }

    private static func fetch(_ column: String, _ form: Form) -> String {
        switch form {
        case .text, .decimal, .money, .array: "toString(\(column))"
        case .bytes: "lower(hex(\(column)))"
        case .bool: "toUInt8(\(column))"
        case .float32: "reinterpretAsUInt32(\(column))"
        case .float64: "reinterpretAsUInt64(\(column))"
        case .days: "toInt32(\(column))"
        case .microseconds: "toUnixTimestamp64Micro(\(column))"
        }
    }

    private static func text(_ fetched: [UInt8], _ form: Form) -> [UInt8]? {
        // Most columns, and all large values.
        if case .text = form { return fetched }
        if case .bytes = form { return Array("\\x".utf8) + fetched }
        let string = String(decoding: fetched, as: UTF8.self)
        let result: String? =
            switch form {
            case .text, .bytes: string
            case .bool: string == "1" ? "t" : string == "0" ? "f" : nil
            case .float32: UInt32(string).map { PostgresText.float(Float(bitPattern: $0)) }
            case .float64: UInt64(string).map { PostgresText.double(Double(bitPattern: $0)) }
            case .decimal(let scale): PostgresText.decimal(string, scale: scale)
            case .money: PostgresText.money(PostgresText.decimal(string, scale: 2))
            case .days: Int64(string).map { PostgresText.date($0) }
            case .microseconds(let hasZone): Int64(string).map { PostgresText.timestamp($0, hasZone: hasZone) }
            case .array(let element): array(string, element)
            }
        return result.map { Array($0.utf8) }
    }

    /// `['61',NULL]`, the elements' fetched texts in hexadecimal.
    private static func array(_ fetched: String, _ form: Form) -> String? {
        guard fetched.hasPrefix("["), fetched.hasSuffix("]") else { return nil }
        var elements: [String] = []
        for part in fetched.dropFirst().dropLast().split(separator: ",") {
            guard part != "NULL" else {
                elements.append("NULL")
                continue
            }
            guard let bytes = hexadecimal(part.dropFirst().dropLast()), let value = text(bytes, form) else {
                return nil
            }
            elements.append(PostgresText.arrayElement(String(decoding: value, as: UTF8.self)))
        }
        return "{" + elements.joined(separator: ",") + "}"
    }

    private static func hexadecimal(_ digits: Substring) -> [UInt8]? {
        let array = Array(digits.utf8)
        guard array.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: array.count, by: 2) {
            guard let byte = UInt8(String(decoding: array[index...index + 1], as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        return bytes
    }
}
