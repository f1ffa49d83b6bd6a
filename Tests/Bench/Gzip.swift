import CZlib
import Glibc

/// gzip at a level of one's choice: the sinks' own compressor knows the fastest only.
final class Gzip {
    /// At a fixed address: zlib's state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>
    private var room = [UInt8](repeating: 0, count: 64 << 10)
    /// Bytes of the body so far.
    private(set) var count = 0

    init(level: Int32) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard gzip_begin(stream, level) == Z_OK else { fatalError("out of memory for zlib's state") }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        // zlib reads through a pointer that is not const, and does not write.
        stream.pointee.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        stream.pointee.avail_in = UInt32(bytes.count)
        while stream.pointee.avail_in > 0 { step(Z_NO_FLUSH) }
    }

    /// Ends a body and begins the next; returns its bytes.
    func finish() -> Int {
        stream.pointee.next_in = nil
        while step(Z_FINISH) != Z_STREAM_END {}
        deflateReset(stream)
        defer { count = 0 }
        return count
    }

    @discardableResult
    private func step(_ flush: Int32) -> Int32 {
        room.withUnsafeMutableBufferPointer { room in
            stream.pointee.next_out = room.baseAddress
            stream.pointee.avail_out = UInt32(room.count)
            let code = deflate(stream, flush)
            guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else { fatalError("zlib: error \(code)") }
            count += room.count - Int(stream.pointee.avail_out)
            return code
        }
    }
}
