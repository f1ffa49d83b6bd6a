public import CdcCore
import Glibc

/// Bytes on their way into a request's body, compressed as they come.
///
/// They live in one growing block of memory, which is kept for the next body up to a limit. The same pieces in the same
/// order give the same body, in this process or another, so that a target that knows a batch by its bytes knows it again.
public final class BodyWriter {
    /// How bodies are compressed.
    public let method: CompressionMethod
    /// Bytes that were appended, before compression.
    public private(set) var plainCount = 0
    /// Whether the body is complete.
    public private(set) var isFinished = false

    private let keptCapacity: Int
    private var output = OutputBytes()
    private let compressor: (any BodyCompressor)?

    /// Makes a writer with an empty body.
    ///
    /// - Parameters:
    ///   - method: How bodies are compressed.
    ///   - keptCapacity: Bytes of memory that ``reset()`` keeps for the next body.
    public init(_ method: CompressionMethod, keptCapacity: Int = 8 << 20) {
        self.method = method
        self.keptCapacity = keptCapacity
        compressor =
            switch method {
            case .none: nil
            case .lz4: LZ4Compressor()
            case .zstd: ZstdCompressor()
            case .gzip: GzipCompressor()
            }
    }

    deinit { output.release() }

    /// The body, lent until the next call; complete after ``finish()``.
    public var bytes: UnsafeRawBufferPointer { output.bytes }

    /// Takes more bytes of the body.
    ///
    /// Large pieces cost less than many small ones.
    public func append(_ bytes: UnsafeRawBufferPointer) {
        precondition(!isFinished, "a finished body takes no more bytes")
        guard !bytes.isEmpty else { return }
        plainCount += bytes.count
        if let compressor {
            compressor.append(bytes, to: &output)
        } else {
            output.append(bytes)
        }
    }

    /// Completes the body.
    public func finish() {
        guard !isFinished else { return }
        isFinished = true
        compressor?.finish(to: &output)
    }

    /// Begins the next body.
    public func reset() {
        isFinished = false
        plainCount = 0
        output.reset(keepingAtMost: keptCapacity)
        compressor?.reset()
    }

    /// The `Content-Encoding` of bodies compressed in this way; nil for none.
    public static func contentEncoding(_ method: CompressionMethod) -> String? {
        method == .none ? nil : method.rawValue
    }
}

/// Compresses one body after the other.
///
/// The libraries fail on wrong use and for want of memory only; neither can be mended, so it ends the process.
protocol BodyCompressor: AnyObject {
    /// Takes bytes; their compressed form may come later.
    func append(_ bytes: UnsafeRawBufferPointer, to output: inout OutputBytes)
    /// Writes what is left, and the end.
    func finish(to output: inout OutputBytes)
    /// Begins anew.
    func reset()
}

/// A growing block of memory.
///
/// Its one owner, the writer, calls ``release()``.
struct OutputBytes {
    private var base: UnsafeMutableRawPointer?
    private(set) var count = 0
    private var capacity = 0

    /// What was written.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Makes room for at least that many bytes behind what was written, and lends all the room there is.
    ///
    /// Doubles while small; grows by an eighth once large: a body of 90 MB must not reserve 180.
    mutating func room(for extra: Int) -> UnsafeMutableRawBufferPointer {
        if count + extra > capacity {
            let wanted = max(count + extra, capacity <= 8 << 20 ? capacity * 2 : capacity + capacity / 8, 64 << 10)
            guard let grown = realloc(base, wanted) else { fatalError("out of memory: \(wanted) bytes for a body") }
            base = grown
            capacity = wanted
        }
        return UnsafeMutableRawBufferPointer(start: base.map { $0 + count }, count: capacity - count)
    }

    /// Says that so many bytes of the room were written.
    mutating func advance(_ written: Int) {
        precondition(written >= 0 && count + written <= capacity, "more was written than there was room for")
        count += written
    }

    /// Appends a copy.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        room(for: bytes.count).copyMemory(from: bytes)
        advance(bytes.count)
    }

    /// Empties the block; one larger than `keep` goes back.
    mutating func reset(keepingAtMost keep: Int) {
        count = 0
        if capacity > keep { release() }
    }

    /// Gives the memory back.
    mutating func release() {
        free(base)
        base = nil
        count = 0
        capacity = 0
    }
}
