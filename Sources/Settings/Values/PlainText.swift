/// Names and addresses: any text on one line.
enum PlainText {
    static func check(_ text: String, maxBytes: Int) throws(ValueMistake) {
        guard text.utf8.count <= maxBytes else {
            throw ValueMistake(message: "is longer than \(maxBytes) bytes")
        }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw ValueMistake(message: "has a control character or a line break")
        }
    }
}
