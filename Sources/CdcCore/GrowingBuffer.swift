#if canImport(Glibc)
internal import Glibc
#endif

/// Memory for a batch that grows in place and is given back when it was needed only once.
///
/// `realloc` moves large blocks by remapping pages, so growing costs no second copy of the content.
struct GrowingBuffer<Element: BitwiseCopyable>: ~Copyable {
    private(set) var base: UnsafeMutablePointer<Element>?
    private(set) var count = 0
    private(set) var capacity = 0

    deinit {
        free(base)
    }

    /// Makes room for `extra` more elements. Doubles while small, grows by what is needed once large: a batch that a
    /// single huge row has filled must not reserve twice that row.
    @inline(__always)
    mutating func reserve(_ extra: Int) {
        if count + extra > capacity { grow(extra) }
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        let needed = count + extra
        let doubled = capacity * 2
        let stride = MemoryLayout<Element>.stride
        let newCapacity = max(needed, doubled * stride <= 8 << 20 ? doubled : capacity + capacity / 8, 4096 / stride)
        guard let grown = realloc(base, newCapacity * stride) else {
            fatalError("out of memory: \(newCapacity * stride) bytes for a batch")
        }
        base = grown.bindMemory(to: Element.self, capacity: newCapacity)
        capacity = newCapacity
    }

    /// Appends one element.
    @inline(__always)
    mutating func append(_ element: Element) {
        reserve(1)
        base.unsafelyUnwrapped[count] = element
        count += 1
    }

    /// Appends `count` copies of one element; returns the index of the first.
    @inline(__always)
    mutating func append(repeating element: Element, count extra: Int) -> Int {
        reserve(extra)
        let first = count
        for index in first..<first + extra { base.unsafelyUnwrapped[index] = element }
        count += extra
        return first
    }

    /// One element.
    @inline(__always)
    subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "index outside the batch")
            return base.unsafelyUnwrapped[index]
        }
        set {
            precondition(index >= 0 && index < count, "index outside the batch")
            base.unsafelyUnwrapped[index] = newValue
        }
    }

    /// Drops everything behind `newCount`.
    mutating func truncate(to newCount: Int) {
        precondition(newCount <= count)
        count = newCount
    }

    /// Empties the buffer; memory above `keep` elements goes back.
    mutating func reset(keepingAtMost keep: Int) {
        count = 0
        guard capacity > keep else { return }
        free(base)
        base = nil
        capacity = 0
    }
}

extension GrowingBuffer where Element == UInt8 {
    /// Appends bytes; returns the offset of the first.
    @inline(__always)
    mutating func append(_ bytes: RawSpan) -> Int {
        let first = count
        let extra = bytes.byteCount
        reserve(extra)
        if extra > 0 {
            bytes.withUnsafeBytes { source in
                _ = memcpy(base.unsafelyUnwrapped + first, source.baseAddress.unsafelyUnwrapped, extra)
            }
        }
        count += extra
        return first
    }
}
