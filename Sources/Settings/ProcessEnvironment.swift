@preconcurrency import Glibc

/// The environment of this process.
public enum ProcessEnvironment {
    /// All variables.
    ///
    /// Bytes that are not UTF-8 become U+FFFD, which the loader reports.
    public static func current() -> [String: String] {
        var variables: [String: String] = [:]
        forEachEntry { entry in
            guard let equals = strchr(entry, CInt(UInt8(ascii: "="))) else { return }
            let name = UnsafeRawBufferPointer(start: entry, count: equals - entry)
            // Of a name that is there twice the first counts, as for getenv.
            let key = String(decoding: name, as: UTF8.self)
            if variables[key] == nil { variables[key] = String(cString: equals + 1) }
        }
        return variables
    }

    /// Removes the secrets from the environment, so that neither a child nor `/proc/PID/environ` shows them.
    ///
    /// The kernel shows the memory that the process was started with; `unsetenv` only takes the pointer away, so the
    /// bytes are overwritten first. Call it after loading and before the first thread is started: the C library does
    /// not guard its environment against other threads that read it meanwhile.
    public static func removeSecrets() {
        for variable in Variable.all where variable.isSecret {
            forEachEntry { entry in
                guard let value = value(of: variable.name, in: entry) else { return }
                memset(value, 0, strlen(value))
            }
            unsetenv(variable.name)
        }
    }

    private static func value(of name: String, in entry: UnsafeMutablePointer<CChar>) -> UnsafeMutablePointer<CChar>? {
        let length = name.utf8.count
        guard strncmp(entry, name, length) == 0, entry[length] == CChar(UInt8(ascii: "=")) else { return nil }
        return entry + length + 1
    }

    private static func forEachEntry(_ body: (UnsafeMutablePointer<CChar>) -> Void) {
        var entry = environ
        while let text = entry.pointee {
            body(text)
            entry += 1
        }
    }
}
