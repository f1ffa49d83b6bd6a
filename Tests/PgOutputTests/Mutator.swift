/// Damages messages: what a broken network, proxy or server could do, and worse.
struct Mutator: ~Copyable {
    private var random: SplitMix64
    private let corpus: [[UInt8]]
    private(set) var message: [UInt8] = []

    init(seed: UInt64, corpus: [[UInt8]]) {
        random = SplitMix64(seed: seed)
        self.corpus = corpus
    }

    /// Makes the next message: one of the corpus with one to three damages, rarely none.
    mutating func advance() {
        message.removeAll(keepingCapacity: true)
        message.append(contentsOf: corpus[below(corpus.count)])
        for _ in 0..<below(4) { damage() }
    }

    /// Numbers that lengths and counts break at.
    private static let absurd: [UInt32] = [
        0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x3FFF_FFFF, 0x4000_0000, 0x7FFF_FFFF, 0x8000_0000,
        0xFFFF_FFFF,
    ]

    private mutating func damage() {
        guard !message.isEmpty else { return message.append(byte()) }
        switch below(9) {
        case 0: message[below(message.count)] ^= 1 << UInt8(below(8))
        case 1: message[below(message.count)] = byte()
        case 2: message.removeLast(1 + below(message.count))
        case 3: for _ in 0...below(12) { message.append(byte()) }
        case 4: overwrite(Mutator.absurd[below(Mutator.absurd.count)], width: 4)
        case 5: overwrite(Mutator.absurd[below(9)], width: 2)
        case 6: splice()
        case 7: removePart()
        default: repeatPart()
        }
    }

    private mutating func overwrite(_ value: UInt32, width: Int) {
        guard message.count >= width else { return }
        let place = below(message.count - width + 1)
        for index in 0..<width {
            message[place + index] = UInt8(truncatingIfNeeded: value >> UInt32(8 * (width - 1 - index)))
        }
    }

    /// The beginning of one message, the end of another.
    private mutating func splice() {
        let other = corpus[below(corpus.count)]
        message.removeLast(below(message.count))
        message.append(contentsOf: other[below(other.count)...])
    }

    private mutating func removePart() {
        let start = below(message.count)
        message.removeSubrange(start..<start + 1 + below(min(message.count - start, 8)))
    }

    private mutating func repeatPart() {
        let start = below(message.count)
        let part = Array(message[start..<start + 1 + below(min(message.count - start, 16))])
        message.insert(contentsOf: part, at: start)
    }

    private mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: random.next()) }

    private mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
}
