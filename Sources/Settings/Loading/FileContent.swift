import Glibc

/// A file that could not be read.
struct FileError: Error {
    /// The system's error number.
    let errno: CInt

    /// The system's text for it.
    var text: String { String(cString: strerror(errno)) }

    /// Whether there is no such file.
    var isAbsence: Bool { errno == ENOENT || errno == ENOTDIR }
}

/// The bytes of a small file: configuration and secrets.
enum FileContent {
    /// A configuration is never this large; a mistaken path to a device or a dump is.
    static let maxBytes = 1 << 20

    static func read(_ path: String) throws(FileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(errno: errno) }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileError(errno: errno) }
            guard count > 0 else { return content }
            content += chunk[..<count]
            guard content.count <= maxBytes else { throw FileError(errno: EFBIG) }
        }
    }
}
