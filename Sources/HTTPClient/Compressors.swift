import CLz4
import CZlib
import CZstd

/// LZ4 in its frame format, with a checksum of the content: what ClickHouse and StarRocks take.
final class LZ4Compressor: BodyCompressor {
    private var context: OpaquePointer?
    private var preferences = LZ4F_preferences_t()
    private var hasBegun = false

    init() {
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        open()
    }

    deinit { LZ4F_freeCompressionContext(context) }

    private func open() {
        let code = LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION))
        guard LZ4F_isError(code) == 0 else { fatalError("out of memory for LZ4's state") }
    }

    func append(_ bytes: UnsafeRawBufferPointer, to output: inout OutputBytes) {
        begin(&output)
        let room = output.room(for: LZ4F_compressBound(bytes.count, &preferences))
        output.advance(
            checked(
                LZ4F_compressUpdate(context, room.baseAddress, room.count, bytes.baseAddress, bytes.count, nil)
            )
        )
    }

    func finish(to output: inout OutputBytes) {
        begin(&output)
        let room = output.room(for: LZ4F_compressBound(0, &preferences))
        output.advance(checked(LZ4F_compressEnd(context, room.baseAddress, room.count, nil)))
    }

    func reset() {
        // A used context keeps its table of matches, and finds others in it than a new one would: the bytes of a body would
        // depend on the bodies before. A new one is a few allocations per body.
        hasBegun = false
        LZ4F_freeCompressionContext(context)
        context = nil
        open()
    }

    private func begin(_ output: inout OutputBytes) {
        guard !hasBegun else { return }
        hasBegun = true
        let room = output.room(for: Int(LZ4F_HEADER_SIZE_MAX))
        output.advance(checked(LZ4F_compressBegin(context, room.baseAddress, room.count, &preferences)))
    }

    private func checked(_ code: Int) -> Int {
        guard LZ4F_isError(code) == 0 else { fatalError("LZ4: \(String(cString: LZ4F_getErrorName(code)))") }
        return code
    }
}

/// Zstandard at its fastest level, with a checksum.
final class ZstdCompressor: BodyCompressor {
    private let context: OpaquePointer

    init() {
        guard let context = ZSTD_createCCtx() else { fatalError("out of memory for zstd's state") }
        self.context = context
        checked(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1))
        checked(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1))
    }

    deinit { ZSTD_freeCCtx(context) }

    func append(_ bytes: UnsafeRawBufferPointer, to output: inout OutputBytes) {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        while input.pos < input.size { step(&input, ZSTD_e_continue, &output) }
    }

    func finish(to output: inout OutputBytes) {
        var input = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
        while step(&input, ZSTD_e_end, &output) > 0 {}
    }

    func reset() { checked(ZSTD_CCtx_reset(context, ZSTD_reset_session_only)) }

    /// Compresses into the room there is; returns what is left to write at least.
    @discardableResult
    private func step(_ input: inout ZSTD_inBuffer, _ what: ZSTD_EndDirective, _ output: inout OutputBytes) -> Int {
        let room = output.room(for: ZSTD_CStreamOutSize())
        var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
        let left = checked(ZSTD_compressStream2(context, &target, &input, what))
        output.advance(target.pos)
        return left
    }

    @discardableResult
    private func checked(_ code: Int) -> Int {
        guard ZSTD_isError(code) == 0 else { fatalError("zstd: \(String(cString: ZSTD_getErrorName(code)))") }
        return code
    }
}

/// gzip at its fastest level; the envelope has neither a name nor a time.
final class GzipCompressor: BodyCompressor {
    /// At a fixed address: zlib's state points back to it.
    private let stream: UnsafeMutablePointer<z_stream>

    init() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard gzip_begin(stream, 1) == Z_OK else { fatalError("out of memory for zlib's state") }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func append(_ bytes: UnsafeRawBufferPointer, to output: inout OutputBytes) {
        var rest = bytes[...]
        while !rest.isEmpty {
            // zlib counts in 32 bits.
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
            rest = rest.dropFirst(piece.count)
            // zlib reads through a pointer that is not const, and does not write.
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: piece.baseAddress?.assumingMemoryBound(to: UInt8.self)
            )
            stream.pointee.avail_in = UInt32(piece.count)
            while stream.pointee.avail_in > 0 { step(Z_NO_FLUSH, &output) }
        }
        stream.pointee.next_in = nil
    }

    func finish(to output: inout OutputBytes) {
        while step(Z_FINISH, &output) != Z_STREAM_END {}
    }

    func reset() { deflateReset(stream) }

    @discardableResult
    private func step(_ flush: Int32, _ output: inout OutputBytes) -> Int32 {
        let room = output.room(for: 64 << 10)
        let size = min(room.count, 1 << 30)
        stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(size)
        let code = deflate(stream, flush)
        guard code == Z_OK || code == Z_STREAM_END else { fatalError("zlib: error \(code)") }
        output.advance(size - Int(stream.pointee.avail_out))
        stream.pointee.next_out = nil
        return code
    }
}
