internal import Glibc

/// Memory for a batch that grows in place and is given back when it was needed only once.
///
/// `realloc` moves large blocks by remapping pages, so growing costs no second copy of the content.
///
/// Not `~Copyable` with a `deinit`, as it should be: Swift 6.3.1's optimizer fails on such a property of a class that
/// other modules inline. Its one owner, the batch, calls ``release()``.
@frozen
@usableFromInline
struct GrowingBuffer<Element: BitwiseCopyable> {
    @usableFromInline var base: UnsafeMutablePointer<Element>?
    @usableFromInline var count = 0
    @usableFromInline var capacity = 0

    @usableFromInline
    init() {}

    /// Gives the memory back.
    ///
    /// The buffer is empty afterwards.
    mutating func release() {
        free(base)
        base = nil
        count = 0
        capacity = 0
    }

    /// Makes room for `extra` more elements.
    ///
    /// Doubles while small, grows by what is needed once large: a batch that a single huge row has filled must not
    /// reserve twice that row.
    @inlinable
    @inline(__always)
    mutating func reserve(_ extra: Int) {
        if count + extra > capacity { grow(extra) }
    }

    @usableFromInline
    @inline(never)
    mutating func grow(_ extra: Int) {
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
    @inlinable
    @inline(__always)
    mutating func append(_ element: Element) {
        reserve(1)
        base.unsafelyUnwrapped[count] = element
        count += 1
    }

    /// Appends `count` copies of one element; returns the index of the first.
    @inlinable
    @inline(__always)
    mutating func append(repeating element: Element, count extra: Int) -> Int {
        reserve(extra)
        let first = count
        for index in first..<first + extra { base.unsafelyUnwrapped[index] = element }
        count += extra
        return first
    }

    /// One element.
    @inlinable
    subscript(index: Int) -> Element {
        @inline(__always)
        get {
            precondition(index >= 0 && index < count, "index outside the batch")
            return base.unsafelyUnwrapped[index]
        }
        @inline(__always)
        set {
            precondition(index >= 0 && index < count, "index outside the batch")
            base.unsafelyUnwrapped[index] = newValue
        }
    }

    /// Drops everything behind `newCount`.
    @inlinable
    mutating func truncate(to newCount: Int) {
        precondition(newCount >= 0 && newCount <= count, "a buffer cannot be truncated to more than it holds")
        count = newCount
    }

    /// Empties the buffer; memory above `keep` elements goes back.
    mutating func reset(keepingAtMost keep: Int) {
        count = 0
        if capacity > keep { release() }
    }
}

extension GrowingBuffer where Element == UInt8 {
    /// Appends bytes; returns the offset of the first.
    @inlinable
    @inline(__always)
    mutating func append(_ bytes: RawSpan) -> Int {
        let first = count
        let extra = bytes.byteCount
        reserve(extra)
        bytes.withUnsafeBytes { source in
            guard let from = source.baseAddress, let to = base else { return }
            UnsafeMutableRawPointer(to + first).copyMemory(from: from, byteCount: extra)
        }
        count += extra
        return first
    }
}
