import Glibc

/// A directory that goes when the test ends.
final class TemporaryDirectory {
    let path: String
    private var files: [String] = []

    init() {
        var template = Array("/tmp/settings-tests-XXXXXX".utf8CString)
        path = mkdtemp(&template) == nil ? "" : String(decoding: template.dropLast().map { UInt8($0) }, as: UTF8.self)
    }

    deinit {
        for file in files { unlink(file) }
        rmdir(path)
    }

    /// Writes a file and returns its path.
    func write(_ content: String, as name: String = "env") -> String {
        write(Array(content.utf8), as: name)
    }

    /// Writes a file and returns its path.
    func write(_ content: [UInt8], as name: String) -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = Glibc.write(descriptor, content, content.count)
        close(descriptor)
        files.append(file)
        return file
    }
}
