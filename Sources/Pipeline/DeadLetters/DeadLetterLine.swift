internal import CdcCore

/// One line of a pipeline's dead letters: the state of them all is what the lines say one after the other.
enum DeadLetterLine {
    /// A change is given up.
    case letter(DeadLetter)
    /// The table was emptied, by TRUNCATE or by a copy that begins: its letters of changes before that mean nothing any more.
    case emptied(number: Int, table: TableRef, version: RowVersion, at: Int, cause: String)
    /// A letter's change is in the target.
    case replayed(number: Int, letter: Int, at: Int)

    var number: Int {
        switch self {
        case .letter(let letter): letter.number
        case .emptied(let number, _, _, _, _), .replayed(let number, _, _): number
        }
    }

    private static let format = 1

    // MARK: Writing

    /// The line as JSON, without its end.
    func text(pipeline: String) -> String {
        var members = [
            Self.member("format", .number(Self.format)), Self.member("number", .number(number)),
            Self.member("pipeline", .string(pipeline)),
        ]
        switch self {
        case .letter(let letter):
            members += [Self.member("event", .string("letter"))] + Self.members(letter)
        case .emptied(_, let table, let version, let at, let cause):
            members += [Self.member("event", .string("emptied"))] + Self.members(table, version)
            members += [Self.member("at", .number(at)), Self.member("cause", .string(cause))]
        case .replayed(_, let letter, let at):
            members += [
                Self.member("event", .string("replayed")), Self.member("letter", .number(letter)),
                Self.member("at", .number(at)),
            ]
        }
        return JSONValue.object(members).text
    }

    private static func member(_ name: String, _ value: JSONValue) -> JSONValue.Member {
        JSONValue.Member(name: name, value: value)
    }

    private static func members(_ table: TableRef, _ version: RowVersion) -> [JSONValue.Member] {
        [
            member("schema", .string(table.schema)), member("table", .string(table.name)),
            member("commit_lsn", .string(version.commitLSN.description)), member("ordinal", .number(version.ordinal)),
        ]
    }

    private static func members(_ letter: DeadLetter) -> [JSONValue.Member] {
        func row(_ cells: [DeadLetter.Cell]?, keyAlone: Bool = false) -> JSONValue {
            guard let cells else { return .null }
            let places = letter.columns.indices.filter { !keyAlone || letter.columns[$0].isKey }
            return .object(places.map { member(letter.columns[$0].name, value(cells[$0])) })
        }
        return members(letter.table, letter.version) + [
            member("kind", .string("\(letter.kind)")), member("xid", .number(letter.xid)),
            member("commit_time", .number(letter.commitTime)), member("at", .number(letter.at)),
            member("cause", .string(letter.cause)),
            member("key", .object(letter.key.map { member($0.name, value($0.cell)) })),
            member(
                "columns",
                .array(
                    letter.columns.map {
                        .object([
                            member("name", .string($0.name)), member("type", .string($0.type)),
                            member("oid", .number($0.oid)), member("key", .boolean($0.isKey)),
                        ])
                    }
                )
            ),
            member("old_row", .string("\(letter.oldTuple)")),
            member("old", row(letter.old, keyAlone: letter.oldTuple == .key)), member("new", row(letter.new)),
        ]
    }

    private static func value(_ cell: DeadLetter.Cell) -> JSONValue {
        switch cell {
        case .null: return .null
        case .unchanged: return .object([member("unchanged", .boolean(true))])
        case .text(let bytes):
            guard let text = String(validating: bytes, as: UTF8.self) else {
                return .object([member("hex", .string(hexadecimal(bytes)))])
            }
            return .string(text)
        case .binary(let bytes): return .object([member("binary", .string(hexadecimal(bytes)))])
        }
    }

    // MARK: Reading

    /// Reads a line; nil if it is none of this format.
    init?(_ bytes: ArraySlice<UInt8>) {
        guard let value = JSONReader.read(bytes), value["format"]?.number(Int.self) == Self.format,
            let number = value["number"]?.number(Int.self), let at = value["at"]?.number(Int.self)
        else { return nil }
        switch value["event"]?.string {
        case "letter":
            guard let letter = Self.letter(value, number, at) else { return nil }
            self = .letter(letter)
        case "emptied":
            guard let (table, version) = Self.place(value), let cause = value["cause"]?.string else { return nil }
            self = .emptied(number: number, table: table, version: version, at: at, cause: cause)
        case "replayed":
            guard let letter = value["letter"]?.number(Int.self) else { return nil }
            self = .replayed(number: number, letter: letter, at: at)
        default: return nil
        }
    }

    private static func place(_ value: JSONValue) -> (TableRef, RowVersion)? {
        guard let schema = value["schema"]?.string, let name = value["table"]?.string,
            let lsn = value["commit_lsn"]?.string.flatMap({ LSN($0) }),
            let ordinal = value["ordinal"]?.number(UInt64.self)
        else { return nil }
        return (TableRef(schema: schema, name: name), RowVersion(commitLSN: lsn, ordinal: ordinal))
    }

    private static func letter(_ value: JSONValue, _ number: Int, _ at: Int) -> DeadLetter? {
        let kinds: [String: ChangeKind] = ["insert": .insert, "update": .update, "delete": .delete]
        let tuples: [String: OldTuple] = ["none": .none, "key": .key, "full": .full]
        guard let (table, version) = place(value), let kind = value["kind"]?.string.flatMap({ kinds[$0] }),
            let pipeline = value["pipeline"]?.string, let cause = value["cause"]?.string,
            let xid = value["xid"]?.number(UInt32.self), let time = value["commit_time"]?.number(Int64.self),
            let oldTuple = value["old_row"]?.string.flatMap({ tuples[$0] }),
            let described = value["columns"]?.array, let old = value["old"], let new = value["new"]
        else { return nil }
        let columns = described.compactMap(column)
        guard columns.count == described.count else { return nil }
        var letter = DeadLetter(
            number: number,
            pipeline: pipeline,
            table: table,
            kind: kind,
            version: version,
            xid: xid,
            commitTime: time,
            at: at,
            cause: cause,
            columns: columns,
            oldTuple: oldTuple,
            old: nil,
            new: nil
        )
        if oldTuple != .none {
            guard let row = row(old, columns, keyAlone: oldTuple == .key) else { return nil }
            letter.old = row
        }
        if kind != .delete {
            guard let row = row(new, columns, keyAlone: false) else { return nil }
            letter.new = row
        }
        return letter
    }

    private static func column(_ value: JSONValue) -> DeadLetter.Column? {
        guard let name = value["name"]?.string, let type = value["type"]?.string,
            let oid = value["oid"]?.number(UInt32.self), let key = value["key"]
        else { return nil }
        return DeadLetter.Column(name: name, type: type, oid: oid, isKey: key == .boolean(true))
    }

    private static func row(_ value: JSONValue, _ columns: [DeadLetter.Column], keyAlone: Bool) -> [DeadLetter.Cell]? {
        var cells: [DeadLetter.Cell] = []
        for column in columns {
            if keyAlone && !column.isKey {
                cells.append(.null)
            } else {
                guard let cell = value[column.name].flatMap(cell) else { return nil }
                cells.append(cell)
            }
        }
        return cells
    }

    private static func cell(_ value: JSONValue) -> DeadLetter.Cell? {
        if let text = value.string { return .text(Array(text.utf8)) }
        if value.isNull { return .null }
        if value["unchanged"] == .boolean(true) { return .unchanged }
        if let digits = value["hex"]?.string { return bytes(digits).map(DeadLetter.Cell.text) }
        return value["binary"]?.string.flatMap(bytes).map(DeadLetter.Cell.binary)
    }

    private static func bytes(_ digits: String) -> [UInt8]? {
        Array(("\\x" + digits).utf8).withUnsafeBytes { Hex.decode($0) }
    }
}

/// What all lines of a pipeline say together.
public struct DeadLetterBook: Sendable {
    /// What became of a letter.
    public enum State: String, Sendable {
        /// Its change is not in the target.
        case pending
        /// Its change is in the target.
        case replayed
        /// The table was emptied since.
        case obsolete
    }

    /// The letters, in their order.
    public private(set) var letters: [DeadLetter] = []
    private var states: [Int: State] = [:]
    private var seen: Set<Identity> = []
    private var numbers: Set<Int> = []
    /// The highest number of a line.
    private(set) var last = 0

    private struct Identity: Hashable {
        let table: TableRef
        let version: RowVersion
    }

    init(_ lines: [DeadLetterLine]) {
        for line in lines.sorted(by: { $0.number < $1.number }) where numbers.insert(line.number).inserted {
            take(line)
        }
    }

    private mutating func take(_ line: DeadLetterLine) {
        last = max(last, line.number)
        switch line {
        case .letter(let letter):
            // A crash between the letter and the position brings the change again; copied rows never come twice, because
            // every copy has a point of its own.
            let identity = Identity(table: letter.table, version: letter.version)
            guard letter.version.ordinal == 0 || seen.insert(identity).inserted else { return }
            letters.append(letter)
            states[letter.number] = .pending
        case .emptied(_, let table, let version, _, _):
            for letter in letters where letter.table == table && letter.version < version {
                if states[letter.number] == .pending { states[letter.number] = .obsolete }
            }
        case .replayed(_, let letter, _):
            if states[letter] != nil { states[letter] = .replayed }
        }
    }

    /// What became of a letter.
    public func state(of letter: DeadLetter) -> State { states[letter.number] ?? .obsolete }

    /// The letters whose changes are not in the target, in the source's order.
    public var pending: [DeadLetter] {
        letters.filter { state(of: $0) == .pending }.sorted { ($0.version, $0.number) < ($1.version, $1.number) }
    }
}
