internal import CdcCore
internal import Glibc

/// Looks at the file before SQLite does, whose messages would not name the cause.
enum SQLiteFileCheck {
    /// Whether the database file is there; checks that it, or the directory it will be made in, can be used.
    static func exists(_ config: SQLiteConfig) throws(SinkError) -> Bool {
        try requireDirectory(config)
        var status = stat()
        guard stat(config.path, &status) == 0 else {
            guard errno == ENOENT else { throw refusal(config, "\(config.path): \(reason())") }
            return false
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw refusal(config, "\(config.path) is not a regular file")
        }
        guard access(config.path, R_OK | W_OK) == 0 else {
            throw refusal(config, "\(config.path) cannot be read and written: \(reason())")
        }
        // A file of no bytes is an empty database.
        return true
    }

    /// SQLite keeps its write-ahead log beside the file, so the directory must be writable too.
    static func requireDirectory(_ config: SQLiteConfig) throws(SinkError) {
        var status = stat()
        guard stat(config.directory, &status) == 0 else {
            throw refusal(config, "directory \(config.directory): \(reason())")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw refusal(config, "\(config.directory) is not a directory")
        }
        guard access(config.directory, W_OK | X_OK) == 0 else {
            throw refusal(config, "directory \(config.directory) is not writable: \(reason())")
        }
    }

    private static func reason() -> String {
        String(cString: strerror(errno))
    }

    private static func refusal(_ config: SQLiteConfig, _ cause: String) -> SinkError {
        SinkError(
            .configuration,
            operation: "check database",
            cause: cause,
            remedy: "make \(config.directory) and \(config.path) writable for the daemon's user, or set SINK_URL"
        )
    }
}
