import CLz4
import CZlib
import CZstd
import CdcCore
import HTTPClient
import TestSupport
import Testing

@Suite("Body writer")
struct BodyWriterTests {
    @Test(
        "what was written comes back, whatever the pieces and the bodies before",
        arguments: CompressionMethod.allCases
    )
    func roundTrips(_ method: CompressionMethod) throws {
        var random = SeededRandom(seed: 11)
        let writer = BodyWriter(method, keptCapacity: 100_000)
        for _ in 0..<30 {
            let pieces = somePieces(&random)
            let body = write(pieces, with: writer)
            let plain = Array(pieces.joined())
            #expect(writer.plainCount == plain.count)
            #expect(try decompress(body, method, size: plain.count) == plain)
            // A writer that has never seen another body, as after a restart.
            #expect(write(pieces, with: BodyWriter(method)) == body)
            writer.reset()
            #expect(writer.bytes.isEmpty && writer.plainCount == 0)
        }
    }

    @Test("a body does not depend on those before it", arguments: CompressionMethod.allCases)
    func independence(_ method: CompressionMethod) {
        var random = SeededRandom(seed: 12)
        let writer = BodyWriter(method)
        // Where the body's first four bytes come again, a used LZ4 state finds other matches than a new one.
        for _ in 0..<200 {
            var piece = (0..<50 + random.below(500)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            for _ in 0..<5 {
                let place = 10 + random.below(piece.count - 20)
                piece.replaceSubrange(place..<place + 4, with: piece[..<4])
            }
            let body = write([piece], with: writer)
            #expect(write([piece], with: BodyWriter(method)) == body)
            writer.reset()
        }
    }

    @Test("a large body shrinks, an empty one is whole", arguments: CompressionMethod.allCases)
    func sizes(_ method: CompressionMethod) throws {
        let writer = BodyWriter(method)
        let row = Array("2026-11-25 10:00:00\t4711\tsome text that repeats\n".utf8)
        let large = [[UInt8]](repeating: row, count: 20_000)
        let body = write(large, with: writer)
        #expect(try decompress(body, method, size: writer.plainCount) == Array(large.joined()))
        if method != .none { #expect(body.count < writer.plainCount / 20) }
        writer.reset()
        let empty = write([], with: writer)
        #expect(try decompress(empty, method, size: 0) == [])
        #expect(empty.isEmpty == (method == .none))
    }

    @Test("names of the encodings")
    func names() {
        #expect(CompressionMethod.allCases.map { BodyWriter.contentEncoding($0) } == [nil, "lz4", "zstd", "gzip"])
    }

    private func write(_ pieces: [[UInt8]], with writer: BodyWriter) -> [UInt8] {
        for piece in pieces { piece.withUnsafeBytes { writer.append($0) } }
        writer.finish()
        writer.finish()
        return Array(writer.bytes)
    }

    /// Few or many pieces, small or large, repetitive or not.
    private func somePieces(_ random: inout SeededRandom) -> [[UInt8]] {
        let largest = [10, 300, 5000, 200_000].randomElement(using: &random) ?? 10
        let mask = random.next() | random.next()
        return (0..<random.below(10)).map { _ in
            let words = ContiguousArray((0...random.below(largest) / 8).map { _ in random.next() & mask })
            return words.withUnsafeBytes { Array($0.dropLast(random.below(8))) }
        }
    }

    /// By the libraries' own decompressors.
    private func decompress(_ body: [UInt8], _ method: CompressionMethod, size: Int) throws -> [UInt8] {
        var plain = [UInt8](repeating: 0, count: size + 1)
        let capacity = plain.count
        let written: Int
        switch method {
        case .none: return body
        case .zstd:
            written = ZSTD_decompress(&plain, capacity, body, body.count)
            guard ZSTD_isError(written) == 0 else { throw HarnessError("zstd: error") }
        case .lz4: written = try decompressLZ4(body, into: &plain)
        case .gzip: written = try decompressGzip(body, into: &plain)
        }
        return Array(plain[..<written])
    }

    private func decompressLZ4(_ body: [UInt8], into plain: inout [UInt8]) throws -> Int {
        var context: OpaquePointer?
        LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))
        defer { LZ4F_freeDecompressionContext(context) }
        var read = 0
        var written = 0
        while true {
            let (hint, taken, given) = plain.withUnsafeMutableBytes { target in
                body.withUnsafeBytes { source in
                    var taken = source.count - read
                    var given = target.count - written
                    let to = target.baseAddress.map { $0 + written }
                    let from = source.baseAddress.map { $0 + read }
                    let hint = LZ4F_decompress(context, to, &given, from, &taken, nil)
                    return (hint, taken, given)
                }
            }
            guard LZ4F_isError(hint) == 0 else { throw HarnessError("lz4: error") }
            read += taken
            written += given
            if hint == 0 {
                guard read == body.count else { throw HarnessError("lz4: more than a frame") }
                return written
            }
            guard taken + given > 0 else { throw HarnessError("lz4: no end") }
        }
    }

    private func decompressGzip(_ body: [UInt8], into plain: inout [UInt8]) throws -> Int {
        var body = body
        return try plain.withUnsafeMutableBufferPointer { target in
            try body.withUnsafeMutableBufferPointer { source in
                var stream = z_stream()
                guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
                    throw HarnessError("zlib: no memory")
                }
                defer { inflateEnd(&stream) }
                stream.next_in = source.baseAddress
                stream.avail_in = UInt32(source.count)
                stream.next_out = target.baseAddress
                stream.avail_out = UInt32(target.count)
                guard inflate(&stream, Z_FINISH) == Z_STREAM_END, stream.avail_in == 0 else {
                    throw HarnessError("zlib: no whole stream")
                }
                return target.count - Int(stream.avail_out)
            }
        }
    }
}
