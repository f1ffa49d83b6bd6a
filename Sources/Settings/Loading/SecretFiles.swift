/// Finds secrets that are given as files: `<NAME>_FILE` (containers) and `$CREDENTIALS_DIRECTORY` (systemd).
struct SecretFiles {
    /// A secret and the file it was in.
    struct Found {
        var value: String
        var origin: Origin
    }

    /// systemd's directory, where there is one.
    let credentialsDirectory: String?

    /// The secret in the file at `path`.
    func read(_ variable: Variable, file path: String) throws(Problem) -> Found {
        let content: [UInt8]
        do {
            content = try FileContent.read(path)
        } catch {
            throw Problem(
                variable.fileVariableName,
                value: path,
                "cannot be read (\(error.text))",
                suggestion: .advice("write the path of a file that holds the value of \(variable.name)")
            )
        }
        let value = try text(content, of: variable.fileVariableName, path: path)
        return Found(value: value, origin: .file(path: path))
    }

    /// The secret among systemd's credentials, or nil if it is not there.
    func credential(_ variable: Variable) throws(Problem) -> Found? {
        guard let directory = credentialsDirectory else { return nil }
        for name in [variable.name, variable.name.lowercased()] {
            let path = "\(directory)/\(name)"
            let content: [UInt8]
            do {
                content = try FileContent.read(path)
            } catch {
                if error.isAbsence { continue }
                throw Problem(
                    variable.name,
                    "has a credential that cannot be read (\(path): \(error.text))",
                    suggestion: .advice("check LoadCredential= in the unit")
                )
            }
            // A unit that is made for all loads a credential that not everybody needs.
            guard content.contains(where: { $0 != UInt8(ascii: "\n") }) else { return nil }
            let value = try text(content, of: variable.name, path: path)
            return Found(value: value, origin: .credential(path: path))
        }
        return nil
    }

    /// The content without the newline that editors and `echo` put at its end.
    private func text(_ content: [UInt8], of subject: String, path: String) throws(Problem) -> String {
        var content = content[...]
        if content.last == UInt8(ascii: "\n") {
            content.removeLast()
            if content.last == UInt8(ascii: "\r") { content.removeLast() }
        }
        guard !content.isEmpty else {
            throw Problem(subject, "comes from an empty file (\(path))", suggestion: .advice("write the value into it"))
        }
        guard !content.contains(0), let text = String(validating: content, as: UTF8.self) else {
            throw Problem(
                subject,
                "comes from a file that is not UTF-8 text (\(path))",
                suggestion: .advice("save the file as UTF-8")
            )
        }
        return text
    }
}
