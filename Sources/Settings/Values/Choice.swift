/// Words of a fixed list, or other words for the same; capitals do not matter.
enum Choice {
    static func parse(_ text: String, words: [String], aliases: [String: String]) throws(ValueMistake) -> String {
        let word = text.lowercased()
        if words.contains(word) { return word }
        if let other = aliases[word] { return other }
        let meant = EditDistance.nearest(to: word, in: words)
        throw ValueMistake(message: "is none of the choices", suggestion: meant.map { .meant($0) })
    }
}
