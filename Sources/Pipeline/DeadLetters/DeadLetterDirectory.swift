internal import CdcCore
internal import Glibc

/// A directory of NDJSON files with the dead letters of pipelines: `<pipeline>.<day>.ndjson`, only ever appended to.
///
/// What ``append(_:)`` returned from is on disk. A crash may leave a torn end behind, which was promised to nobody: it is not
/// read, and goes with the next append.
final class DeadLetterDirectory {
    private let path: String
    private let pipeline: String
    /// How much of each file counts, as far as it was looked at.
    private var lengths: [String: Int] = [:]
    private var isDirectorySynced = false
    /// Files behind whose length this process may have left something, because an append failed.
    private var torn: Set<String> = []

    init(_ path: String, pipeline: String) {
        self.path = path
        self.pipeline = pipeline
    }

    private var prefix: String { pipeline.asFileName + "." }
    private static let suffix = ".ndjson"

    /// The pipelines that have files in a directory, by their files' names.
    static func pipelines(in path: String) throws(SinkError) -> [String] {
        let names = try files(in: path).compactMap { name -> String? in
            guard name.hasSuffix(suffix) else { return nil }
            let stem = name.dropLast(suffix.count)
            return stem.lastIndex(of: ".").map { String(stem[..<$0]) }
        }
        return Set(names).sorted()
    }

    /// Makes the directory where it is missing, and sees whether it can be written to.
    func prepare() throws(SinkError) {
        if mkdir(path, 0o700) == 0 {
            try sync(parent(of: path))
        } else if errno != EEXIST {
            throw failure("make directory of dead letters", path, .configuration)
        }
        guard access(path, W_OK | X_OK) == 0 else {
            throw failure("open dead letters", path, .configuration)
        }
    }

    // MARK: Reading

    /// Every line of the pipeline; none where there is no directory.
    func load() throws(SinkError) -> [DeadLetterLine] {
        lengths.removeAll()
        var lines: [DeadLetterLine] = []
        for name in try Self.files(in: path) where name.hasPrefix(prefix) && name.hasSuffix(Self.suffix) {
            // Another pipeline's name may begin with this one's.
            guard !name.dropFirst(prefix.count).dropLast(Self.suffix.count).contains(".") else { continue }
            lines += try load(name)
        }
        return lines
    }

    private func load(_ name: String) throws(SinkError) -> [DeadLetterLine] {
        let content = try read(name)
        var lines: [DeadLetterLine] = []
        var begin = 0
        var valid = 0
        var firstDamage: Int?
        var count = 0
        while let end = content[begin...].firstIndex(of: UInt8(ascii: "\n")) {
            count += 1
            if let line = DeadLetterLine(content[begin..<end]) {
                // A crash damages the end of a file, never its middle.
                if let firstDamage { throw damaged(name, line: firstDamage) }
                lines.append(line)
                valid = end + 1
            } else {
                firstDamage = firstDamage ?? count
            }
            begin = end + 1
        }
        lengths[name] = valid
        return lines
    }

    private static func files(in path: String) throws(SinkError) -> [String] {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw failure("read dead letters", path, readKind)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
            )
        }
        return names.sorted()
    }

    private func read(_ name: String) throws(SinkError) -> [UInt8] {
        let file = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure("read dead letters", name, Self.readKind) }
        defer { close(file) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure("read dead letters", name, .retriable) }
            if count == 0 { return content }
            content.append(contentsOf: chunk[..<count])
        }
    }

    // MARK: Writing

    /// Appends lines; returns when they are on disk.
    ///
    /// - Throws: ``SinkError``; the same lines may be appended again.
    func append(_ lines: [String]) throws(SinkError) {
        let name = prefix + Self.day() + Self.suffix
        let file = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure("write dead letters", name, .retriable) }
        defer { close(file) }
        let length = lengths[name] ?? 0
        try refuseOthers(name, behind: length)
        torn.insert(name)
        // What is behind was never promised.
        guard ftruncate(file, off_t(length)) == 0, lseek(file, off_t(length), SEEK_SET) >= 0 else {
            throw failure("write dead letters", name, .retriable)
        }
        let content = lines.reduce(into: [UInt8]()) { content, line in
            content.append(contentsOf: line.utf8)
            content.append(UInt8(ascii: "\n"))
        }
        guard Self.writeAll(content, to: file), fsync(file) == 0 else {
            throw failure("write dead letters", name, .retriable)
        }
        if lengths[name] == nil || !isDirectorySynced {
            try sync(path)
            isDirectorySynced = true
        }
        lengths[name] = length + content.count
        torn.remove(name)
    }

    /// Whole lines that this process has not seen are another's: they are not to be cut off.
    private func refuseOthers(_ name: String, behind length: Int) throws(SinkError) {
        var status = stat()
        guard !torn.contains(name), stat("\(path)/\(name)", &status) == 0, status.st_size > length else { return }
        let content = try read(name)
        let lines = content[length...].split(separator: UInt8(ascii: "\n"))
        guard lines.contains(where: { DeadLetterLine($0) != nil }) else { return }
        throw SinkError(
            .configuration,
            operation: "write dead letters",
            cause: "somebody else writes \(path)/\(name)",
            remedy: "give one of the two daemons another SINK_PIPELINE or SINK_DEAD_LETTER_URL"
        )
    }

    private static func writeAll(_ content: [UInt8], to file: Int32) -> Bool {
        var rest = content[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private func sync(_ directory: String) throws(SinkError) {
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure("write dead letters", directory, .retriable) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure("write dead letters", directory, .retriable) }
    }

    private func parent(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// The day in UTC, `2026-11-25`.
    private static func day() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    }

    // MARK: Errors

    /// What waiting may mend of an open that failed; rights and names are the operator's.
    private static var readKind: SinkError.Kind {
        [EIO, EMFILE, ENFILE, ENOMEM, EINTR].contains(errno) ? .retriable : .configuration
    }

    private func failure(_ operation: String, _ name: String, _ kind: SinkError.Kind) -> SinkError {
        Self.failure(operation, name == path || name.hasPrefix("/") ? name : "\(path)/\(name)", kind)
    }

    private static func failure(_ operation: String, _ path: String, _ kind: SinkError.Kind) -> SinkError {
        SinkError(
            kind,
            operation: operation,
            cause: "\(path): \(String(cString: strerror(errno)))",
            remedy: "make it writable for the daemon's user with room on its file system, or set SINK_DEAD_LETTER_URL; "
                + "nothing is acknowledged before dead letters are on disk"
        )
    }

    private func damaged(_ name: String, line: Int) -> SinkError {
        SinkError(
            .configuration,
            operation: "read dead letters",
            cause: "line \(line) of \(path)/\(name) is not as it was written",
            remedy: "restore the file from a backup, or remove that line, and with it what it kept"
        )
    }
}
