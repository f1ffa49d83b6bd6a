// The libFuzzer driver of the decoders; `scripts/fuzz` builds it as one module with CdcCore, PgOutput and the message
// encoders of PgOutputTests, under the address sanitizer. It is no target of the package: SwiftPM knows no fuzzers.
//
// An input is a byte that says what follows (its remainder by 3: 0 for frames of the stream, each behind its length as two
// bytes; 1 for lines of a copy up to their line ends; 2 for messages of a binary copy behind their lengths), then that.
import CdcCore
import Glibc
import PgOutput

/// Takes one input; whatever is wrong ends the process, which libFuzzer reports with the input.
@_cdecl("LLVMFuzzerTestOneInput")
public func takeInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    guard let data, count > 0 else { return 0 }
    var rest = UnsafeRawBufferPointer(start: data + 1, count: count - 1)
    var feed = MessageFeed()
    let form = data[0] % 3
    while let message = form == 1 ? nextLine(&rest) : nextFrame(&rest) {
        let before = feed.fill
        let isTaken = withExactCopy(message) { span in
            do throws(WireError) {
                switch form {
                case 0: try feed.takeFrame(span)
                case 1: try feed.takeLine(span, table: Samples.orders)
                default: try feed.takeBinary(span, table: Samples.orders)
                }
                return true
            } catch {
                return false
            }
        }
        guard isTaken || feed.fill == before else { fatalError("the batch changed although the message was refused") }
    }
    if let complaint = feed.complaint() { fatalError(complaint) }
    return 0
}

/// Writes the samples into the directory `PGOUTPUT_FUZZ_SEEDS`, as inputs to begin with.
@_cdecl("LLVMFuzzerInitialize")
public func writeSeeds(
    _ count: UnsafeMutablePointer<Int32>?,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> Int32 {
    guard let directory = getenv("PGOUTPUT_FUZZ_SEEDS").map({ String(cString: $0) }) else { return 0 }
    var seeds = Samples.frames.map { [0] + prefixed($0) } + Samples.copyLines.map { [1] + $0 }
    seeds += Samples.binaryCopy.map { [2] + prefixed($0) }
    seeds.append([0] + Samples.frames.flatMap(prefixed))
    seeds.append([1] + Samples.copyLines.flatMap(\.self))
    seeds.append([2] + Samples.binaryCopy.flatMap(prefixed))
    for (number, seed) in seeds.enumerated() {
        guard let file = fopen("\(directory)/sample-\(number)", "wb") else {
            fatalError("cannot write to \(directory)")
        }
        fwrite(seed, 1, seed.count, file)
        fclose(file)
    }
    return 0
}

private func prefixed(_ frame: [UInt8]) -> [UInt8] {
    Wire.bytes(UInt16(frame.count)) + frame
}

/// A frame behind its length; the last one may be shorter than it says.
private func nextFrame(_ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard rest.count >= 2 else { return nil }
    let length = Int(rest[0]) << 8 | Int(rest[1])
    return cut(&rest, from: 2, to: min(rest.count, 2 + length))
}

/// A line with its end; the last one may lack it.
private func nextLine(_ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard !rest.isEmpty else { return nil }
    let end = rest.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? rest.count
    return cut(&rest, from: 0, to: end)
}

private func cut(_ rest: inout UnsafeRawBufferPointer, from start: Int, to end: Int) -> UnsafeRawBufferPointer {
    let part = UnsafeRawBufferPointer(rebasing: rest[start..<end])
    rest = UnsafeRawBufferPointer(rebasing: rest[end...])
    return part
}

/// Lends the bytes in a block of exactly their size: the address sanitizer sees a read of one byte too many.
private func withExactCopy<Result>(_ bytes: UnsafeRawBufferPointer, _ body: (RawSpan) -> Result) -> Result {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { buffer.deallocate() }
    buffer.copyMemory(from: bytes)
    return body(buffer.bytes)
}
