internal import CdcCore

/// Where a pipeline's dead letters are: a directory, or a table in the target.
enum DeadLetterStore {
    case directory(DeadLetterDirectory)
    case table(any Sink, pipeline: String)

    /// What `SINK_DEAD_LETTER_URL` means.
    enum Place: Equatable {
        case directory(String)
        case table

        init(_ config: SinkConfig) throws(SinkError) {
            guard let url = config.deadLetterURL else {
                self = .directory(config.stateDirectory + "/dead-letters")
                return
            }
            if url == "table" {
                self = .table
            } else if url.hasPrefix("file:///") {
                self = .directory(String(url.dropFirst("file://".count)))
            } else if url.contains("://") {
                throw SinkError(
                    .configuration,
                    operation: "open dead letters",
                    cause: "SINK_DEAD_LETTER_URL is neither a directory nor \"table\"",
                    remedy: "set it to a path, to file:///absolute/path, or to table"
                )
            } else {
                self = .directory(url)
            }
        }
    }

    init(_ place: Place, pipeline: String, sink: any Sink) {
        switch place {
        case .directory(let path): self = .directory(DeadLetterDirectory(path, pipeline: pipeline))
        case .table: self = .table(sink, pipeline: pipeline)
        }
    }

    /// Makes what letters need, so that what is missing is told at the start.
    func prepare() async throws(SinkError) {
        switch self {
        case .directory(let directory): try directory.prepare()
        case .table(let sink, let pipeline): try await sink.storeDeadLetters([], of: pipeline)
        }
    }

    /// Every line that counts.
    func load() async throws(SinkError) -> [DeadLetterLine] {
        switch self {
        case .directory(let directory): return try directory.load()
        case .table(let sink, let pipeline):
            var lines: [DeadLetterLine] = []
            for text in try await sink.deadLetters(of: pipeline) {
                guard let line = DeadLetterLine(Array(text.utf8)[...]) else {
                    throw SinkError(
                        .configuration,
                        operation: "read dead letters",
                        cause: "a row of the target's table of dead letters is not as it was written",
                        remedy: "restore it from a backup, or remove it, and with it what it kept"
                    )
                }
                lines.append(line)
            }
            return lines
        }
    }

    /// Appends lines; returns when they are as durable as the sink's next commit, or more.
    func append(_ lines: [DeadLetterLine], pipeline: String) async throws(SinkError) {
        let texts = lines.map { $0.text(pipeline: pipeline) }
        switch self {
        case .directory(let directory): try directory.append(texts)
        case .table(let sink, let pipeline): try await sink.storeDeadLetters(texts, of: pipeline)
        }
    }
}
