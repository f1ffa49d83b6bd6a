/// Names of replication slots, by the rule of PostgreSQL's `ReplicationSlotValidateName`.
enum SlotName {
    static let maxBytes = 63

    static func check(_ text: String) throws(ValueMistake) {
        guard text.utf8.allSatisfy(isAllowed) else {
            let meant = text.lowercased().map { $0.utf8.allSatisfy(isAllowed) ? $0 : "_" }
            throw ValueMistake(
                message: "has characters that PostgreSQL does not allow in a slot's name",
                suggestion: .example(String(String(meant).prefix(maxBytes)))
            )
        }
        guard text.utf8.count <= maxBytes else {
            throw ValueMistake(
                message: "is longer than PostgreSQL allows for a slot's name",
                suggestion: .example(String(text.prefix(maxBytes)))
            )
        }
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
