/// Lends C strings to a call: null pointers for nil, and one behind the last.
public func withCStrings<Result>(
    _ strings: [String?],
    _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
    var bytes: [CChar] = []
    var starts: [Int?] = []
    for string in strings {
        starts.append(string.map { _ in bytes.count })
        if let string { bytes.append(contentsOf: string.utf8CString) }
    }
    return bytes.withUnsafeBufferPointer { buffer in
        var pointers = starts.map { start in start.flatMap { place in buffer.baseAddress.map { $0 + place } } }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
    }
}
