internal import CdcCore
internal import Glibc

/// What a sink that stores no position remembers of a pipeline: `<state directory>/<pipeline>.state`.
///
/// The slot's own position counts for such a sink. The file tells that there was a slot, so that a lost one is not silently
/// made anew. Lines of tab-separated fields; backslash, tab and line feed in a name are escaped as `\\`, `\t`, `\n`:
/// ```
/// dbmazz-sink state 1
/// source	7412345678901234567	1	dbmazz_slot
/// copy	public	orders	0/16B3748
/// ```
struct StateFile {
    let path: String
    private let directory: String

    init(directory: String, pipeline: String) {
        self.directory = directory
        path = "\(directory)/\(pipeline.asFileName).state"
    }

    /// Throws unless files can be made in the directory.
    static func checkDirectory(_ directory: String) throws(SinkError) {
        guard access(directory, W_OK | X_OK) == 0 else {
            throw SinkError(
                .configuration,
                operation: "check state directory",
                cause: "\(directory) is not writable: \(String(cString: strerror(errno)))",
                remedy: "make it writable for the daemon's user, or set STATE_DIRECTORY"
            )
        }
    }

    // MARK: Content

    /// What was saved; nil if nothing was.
    func load() throws(SinkError) -> PipelineState? {
        guard let text = try read() else { return nil }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 3, lines[0] == StateFile.header, lines[lines.count - 1].isEmpty,
            let source = source(StateFile.fields(lines[1]))
        else { throw damaged() }
        var copies: [TableRef: LSN] = [:]
        for line in lines[2..<(lines.count - 1)] {
            let fields = StateFile.fields(line)
            guard fields.count == 4, fields[0] == "copy", let point = LSN(fields[3]) else { throw damaged() }
            copies[TableRef(schema: fields[1], name: fields[2])] = point
        }
        return PipelineState(source: source, position: nil, copies: copies)
    }

    /// Remembers the source; the copies stay.
    ///
    /// Another source system is refused.
    func saveIdentity(_ source: SourceIdentity) throws(SinkError) {
        let known = try load()
        if let known, known.source.systemIdentifier != source.systemIdentifier {
            throw SinkError(
                .configuration,
                operation: "set up sink",
                cause: "\(path) belongs to the source system \(known.source.systemIdentifier), not to "
                    + source.systemIdentifier,
                remedy: "set SINK_PIPELINE to another name, or remove the file"
            )
        }
        try save(PipelineState(source: source, position: nil, copies: known?.copies ?? [:]))
    }

    /// Remembers how far tables' copies are: nil where they have begun, the consistent point where they are complete.
    func setCopies(of tables: [TableSchema], at point: LSN?) throws(SinkError) {
        guard var state = try load() else { throw damaged() }
        for table in tables { state.copies[table.ref] = point }
        try save(state)
    }

    private static let header = "dbmazz-sink state 1"

    private func source(_ fields: [String]) -> SourceIdentity? {
        guard fields.count == 4, fields[0] == "source", let timeline = UInt32(fields[2]) else { return nil }
        return SourceIdentity(systemIdentifier: fields[1], timeline: timeline, slot: fields[3])
    }

    private func save(_ state: PipelineState) throws(SinkError) {
        let source = state.source
        var lines = [StateFile.header]
        lines.append(StateFile.line(["source", source.systemIdentifier, String(source.timeline), source.slot]))
        for (table, point) in state.copies.sorted(by: { $0.key < $1.key }) {
            lines.append(StateFile.line(["copy", table.schema, table.name, point.description]))
        }
        try replace(lines.joined(separator: "\n") + "\n")
    }

    private static func line(_ fields: [String]) -> String {
        fields.map { field in
            var text = ""
            for character in field.unicodeScalars {
                switch character {
                case "\\": text += "\\\\"
                case "\t": text += "\\t"
                case "\n": text += "\\n"
                default: text.unicodeScalars.append(character)
                }
            }
            return text
        }.joined(separator: "\t")
    }

    private static func fields(_ line: Substring) -> [String] {
        line.split(separator: "\t", omittingEmptySubsequences: false).map { field in
            var text = ""
            var isEscaped = false
            for character in field.unicodeScalars {
                if isEscaped {
                    text.unicodeScalars.append(character == "t" ? "\t" : character == "n" ? "\n" : character)
                    isEscaped = false
                } else if character == "\\" {
                    isEscaped = true
                } else {
                    text.unicodeScalars.append(character)
                }
            }
            return text
        }
    }

    // MARK: File

    private func read() throws(SinkError) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("read state")
        }
        defer { Glibc.close(file) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure("read state") }
            if count == 0 { break }
            content.append(contentsOf: chunk[..<count])
        }
        guard let text = String(validating: content, as: UTF8.self) else { throw damaged() }
        return text
    }

    /// Writes beside the file and renames over it, each durable before the next: a crash leaves the old or the new content.
    private func replace(_ text: String) throws(SinkError) {
        let operation = "write state"
        let temporary = path + ".tmp"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw failure(operation) }
        let bytes = Array(text.utf8)
        let isWritten =
            bytes.withUnsafeBytes { FileOutput(file).write($0, deadline: .now) }.error == 0 && fsync(file) == 0
        let code = errno
        Glibc.close(file)
        errno = code
        guard isWritten, rename(temporary, path) == 0 else { throw failure(operation) }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure(operation) }
        defer { Glibc.close(folder) }
        guard fsync(folder) == 0 else { throw failure(operation) }
    }

    private func failure(_ operation: String) -> SinkError {
        SinkError(
            .retriable,
            operation: operation,
            cause: "\(path): \(String(cString: strerror(errno)))",
            remedy: "make \(directory) writable for the daemon's user, and room on its file system"
        )
    }

    private func damaged() -> SinkError {
        SinkError(
            .permanent,
            operation: "read state",
            cause: "\(path) is not as it was written",
            remedy: "restore it from a backup, or remove it to begin anew with the slot as it is"
        )
    }
}
