/// What a column holds, in terms every sink can map.
public enum DataType: Hashable, Sendable {
    /// `bool`
    case boolean
    /// `int2`
    case int16
    /// `int4`
    case int32
    /// `int8`
    case int64
    /// `oid`, `xid`, `cid`: 32 bits without a sign
    case uint32
    /// `xid8`: 64 bits without a sign
    case uint64
    /// `float4`
    case float32
    /// `float8`
    case float64
    /// `numeric`; nil precision means unbounded, where values can have 131 072 digits
    case decimal(precision: Int?, scale: Int?)
    /// `varchar`, `char`, `name`, `"char"`
    case string
    /// `text`
    case text
    /// `json`, verbatim
    case json
    /// `jsonb`
    case jsonb
    /// `uuid`
    case uuid
    /// `date`
    case date
    /// `time`
    case time
    /// `timestamp`
    case timestamp
    /// `timestamptz`
    case timestampTz
    /// `bytea`
    case bytes
    /// Whatever PostgreSQL has beyond these (arrays, ranges, enums, composites, geometry, extensions): its text form
    case other

    /// The mapping of a built-in base type; everything else is ``other``.
    ///
    /// - Parameters:
    ///   - oid: the type's OID from `pg_type.dat`; fixed for built-in types in every PostgreSQL version
    ///   - modifier: the column's `atttypmod`, -1 for none
    public init(builtInType oid: UInt32, modifier: Int32) {
        switch oid {
        case 16: self = .boolean
        case 17: self = .bytes
        case 18, 19, 1042, 1043: self = .string
        case 20: self = .int64
        case 21: self = .int16
        case 23: self = .int32
        case 25: self = .text
        case 26, 28, 29: self = .uint32
        case 114: self = .json
        case 700: self = .float32
        case 701: self = .float64
        case 1082: self = .date
        case 1083: self = .time
        case 1114: self = .timestamp
        case 1184: self = .timestampTz
        case 1700: self = DataType.numeric(modifier: modifier)
        case 2950: self = .uuid
        case 3802: self = .jsonb
        case 5069: self = .uint64
        default: self = .other
        }
    }

    /// `numeric`'s modifier is (precision << 16 | scale as 11 bits, two's complement) + 4 (PostgreSQL's `numeric.c`).
    private static func numeric(modifier: Int32) -> DataType {
        guard modifier >= 4 else { return .decimal(precision: nil, scale: nil) }
        let packed = modifier - 4
        let scale = (Int(packed & 0x7FF) ^ 1024) - 1024
        return .decimal(precision: Int(packed >> 16 & 0xFFFF), scale: scale)
    }
}

/// A PostgreSQL type as the catalog names it: the refinement of a ``DataType``.
public struct PostgresType: Hashable, Sendable {
    /// The type's OID; differs between databases for types that are not built in.
    public var oid: UInt32
    /// `atttypmod`: length, precision and the like; -1 for none.
    public var modifier: Int32
    /// The name as `format_type` prints it with an empty search_path, for example `character varying(20)` or `public.mood`.
    public var name: String
    /// What kind of type it is.
    public var kind: Kind
    /// Whether the type and all that it consists of have a binary output function (`pg_type.typsend`).
    ///
    /// Without one its values come as text always.
    public var hasBinaryOutput: Bool

    /// What kind of type it is, with what another database needs to make it (`pg_type.typtype` and what hangs on it).
    public indirect enum Kind: Hashable, Sendable {
        /// Built in, or made by an extension or in C.
        case base
        /// An array; the element's type.
        case array(PostgresType)
        /// An enum; its labels in their order.
        case enumeration([String])
        /// A domain.
        case domain(Domain)
        /// A composite type.
        case composite
        /// A range or multirange.
        case range
    }

    /// What a domain is made of.
    public struct Domain: Hashable, Sendable {
        /// The type below, which may be a domain as well.
        public var base: PostgresType
        /// Whether it has NOT NULL.
        public var isNotNull: Bool
        /// Its checks as `pg_get_constraintdef` prints them, by name.
        public var checks: [Check]

        /// A named check.
        public struct Check: Hashable, Sendable {
            /// The constraint's name.
            public var name: String
            /// For example `CHECK ((VALUE > 0))`.
            public var definition: String

            /// Makes a check.
            public init(name: String, definition: String) {
                self.name = name
                self.definition = definition
            }
        }

        /// Makes a domain.
        public init(base: PostgresType, isNotNull: Bool = false, checks: [Check] = []) {
            self.base = base
            self.isNotNull = isNotNull
            self.checks = checks
        }
    }

    /// Makes a type.
    public init(
        oid: UInt32,
        modifier: Int32 = -1,
        name: String,
        kind: Kind = .base,
        hasBinaryOutput: Bool = true
    ) {
        self.oid = oid
        self.modifier = modifier
        self.name = name
        self.kind = kind
        self.hasBinaryOutput = hasBinaryOutput
    }
}
