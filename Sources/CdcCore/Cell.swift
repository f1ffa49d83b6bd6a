/// Where one column's bytes lie in a batch's arena, and in which form.
///
/// Eight bytes: an offset, and a length with two bits of kind above it. PostgreSQL's longest field has 2³⁰ - 1 bytes
/// (`MaxAllocSize`), so thirty bits of length are enough.
public struct Cell: BitwiseCopyable, Sendable, Equatable {
    /// What stands in a cell.
    public enum Kind: UInt32, Sendable {
        /// The type's text output.
        case text = 0
        /// The type's binary output, as COPY BINARY has it.
        case binary = 1
        /// SQL NULL, or a column that the old tuple does not carry.
        case null = 2
        /// A TOAST value that the update did not touch: the sink keeps what it has.
        case unchanged = 3
    }

    /// The longest value a cell can describe.
    public static let maximumLength = 1 << 30 - 1

    /// The first byte, counted from the arena's beginning.
    public let offset: UInt32
    @usableFromInline let lengthAndKind: UInt32

    /// SQL NULL.
    public static let null = Cell(kind: .null)
    /// An untouched TOAST value.
    public static let unchanged = Cell(kind: .unchanged)

    private init(kind: Kind) {
        offset = 0
        lengthAndKind = kind.rawValue << 30
    }

    @inlinable
    init(offset: UInt32, length: UInt32, isBinary: Bool) {
        self.offset = offset
        lengthAndKind = length | (isBinary ? 1 << 30 : 0)
    }

    /// The value's length in bytes; 0 for NULL and unchanged.
    @inlinable public var length: Int { Int(lengthAndKind & 0x3FFF_FFFF) }
    /// What stands here.
    @inlinable public var kind: Kind {
        switch lengthAndKind >> 30 {
        case 0: .text
        case 1: .binary
        case 2: .null
        default: .unchanged
        }
    }
    /// Whether this is NULL.
    @inlinable public var isNull: Bool { lengthAndKind >> 30 == 2 }
    /// Whether this is an untouched TOAST value.
    @inlinable public var isUnchanged: Bool { lengthAndKind >> 30 == 3 }
    /// Whether there are bytes, possibly none of them.
    @inlinable public var hasBytes: Bool { lengthAndKind >> 31 == 0 }
}
