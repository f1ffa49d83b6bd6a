import Glibc
import Synchronization

/// A server's directory: it belongs to the user that the server runs as, and goes with the test process at the latest.
final class ServerDirectory: Sendable {
    let path: String
    private let exitAction = Mutex<Int?>(nil)
    /// Waits for the end of a test process that dies without running its exit handlers.
    private let guardian: ChildProcess?

    /// Makes the directory.
    ///
    /// - Parameters:
    ///   - prefix: What its name begins with.
    ///   - user: Who runs the server where the tests run as root, which servers refuse; nil for the calling user.
    ///   - leftBehind: Shell commands that end a server whose directory `"$2"` is, after a test process that was killed; nil
    ///     where the server sees to that itself.
    /// - Throws: `HarnessError` when it cannot be made, or there is no such user.
    init(_ prefix: String, user: String? = nil, leftBehind: String? = nil) throws {
        let path = try makeTemporaryDirectory(prefix)
        self.path = path
        guardian = try leftBehind.map { commands in
            let script = """
                trap '' TERM INT HUP
                while kill -0 "$1" 2>/dev/null; do sleep 1; done
                \(commands)
                case "$2" in /tmp/\(prefix)-*) rm -rf -- "$2" ;; esac
                """
            return try ChildProcess(
                executable: "/bin/sh",
                arguments: ["-c", script, "guardian", "\(getpid())", path],
                environment: ["PATH": "/usr/bin:/bin"]
            )
        }
        exitAction.withLock { $0 = AtExit.add { removeTree(path) } }
        guard let user, geteuid() == 0 else { return }
        guard let entry = getpwnam(user) else { throw HarnessError("there is no user \(user) to run a server under") }
        chown(path, entry.pointee.pw_uid, entry.pointee.pw_gid)
    }

    /// Deletes it.
    func remove() {
        guardian?.kill(SIGKILL)
        guardian?.waitForExit(timeout: .seconds(5))
        removeTree(path)
        if let number = exitAction.withLock({ $0.take() }) { AtExit.remove(number) }
    }
}

/// A command under another user where the tests run as root, which servers refuse.
func asOrdinaryUser(
    _ user: String,
    _ executable: String,
    _ arguments: [String]
) -> (executable: String, arguments: [String]) {
    guard geteuid() == 0 else { return (executable, arguments) }
    let change = ["--reuid=\(user)", "--regid=\(user)", "--clear-groups", "--", executable]
    return ("/usr/bin/setpriv", change + arguments)
}
