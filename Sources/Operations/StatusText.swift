public import Pipeline
import Settings

/// A status in words: for the page, the command `status` and systemd's `STATUS=`.
public enum StatusText {
    /// One line of a table.
    struct Fact {
        var name: String
        var value: String
        /// By which a test or a script finds the value in the page.
        var id: String
        var isBad = false
    }

    /// What holds now in a few words.
    static func headline(_ status: PipelineStatus) -> String {
        let dead = status.lanes.filter { !$0.alive }.map(\.name)
        return dead.isEmpty ? status.phase.words : "hung: \(dead.joined(separator: ", "))"
    }

    /// One line: what systemd shows in `systemctl status`.
    public static func line(_ status: PipelineStatus) -> String {
        var parts = [headline(status)]
        if status.phase == .copying, let copy = status.copy {
            parts.append("\(copy.tablesDone) of \(copy.tables) tables, \(rows(copy))")
        } else if let detail = status.detail {
            parts.append(detail)
        }
        parts.append("lag \(size(status.lagBytes)), \(seconds(status.lagSeconds))")
        parts.append("\(Int(status.rates.rowsPerSecond.rounded())) rows/s")
        if status.slot.alarm != "none" {
            parts.append("WAL ALARM (\(status.slot.alarm)): \(status.slot.alarmText ?? "")")
        }
        return parts.joined(separator: "; ").replacing("\n", with: " ")
    }

    /// Everything for a terminal.
    public static func table(_ status: PipelineStatus) -> String {
        var sections = [
            ("", overview(status)), ("position", position(status)), ("slot", slot(status)),
            ("throughput", throughput(status)),
        ]
        if let copy = status.copy { sections.append(("copy", self.copy(copy))) }
        var lines = sections.flatMap { name, facts in
            (name.isEmpty ? [] : ["", name]) + facts.map { "  \(padded($0.name, 24))\($0.value)" }
        }
        if !status.tables.isEmpty {
            lines += ["", "tables"]
            lines += status.tables.map {
                "  \(padded($0.table, 40)) +\($0.inserts) ~\($0.updates) -\($0.deletes) truncated \($0.truncates) copied \($0.copied)"
            }
        }
        if !status.troubles.isEmpty {
            lines += ["", "last errors"]
            lines += status.troubles.map { "  \(time($0.timeMs)) \($0.side): \($0.error)" }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    static func overview(_ status: PipelineStatus) -> [Fact] {
        [
            Fact(name: "state", value: status.phase.words, id: "phase"),
            Fact(name: "detail", value: status.detail ?? "-", id: "detail"),
            Fact(name: "since", value: time(status.phaseSinceMs) + " UTC", id: "since"),
            Fact(name: "healthy", value: word(status.healthy), id: "healthy", isBad: !status.healthy),
            Fact(name: "ready", value: word(status.ready), id: "ready"),
            Fact(name: "lanes", value: lanes(status), id: "lanes"),
            Fact(name: "pipeline", value: status.pipeline.isEmpty ? "-" : status.pipeline, id: "pipeline"),
            Fact(name: "source", value: status.source.isEmpty ? "-" : status.source, id: "source"),
            Fact(name: "sink", value: status.sink, id: "sink"),
            Fact(name: "version", value: status.version ?? "-", id: "version"),
            Fact(name: "started", value: time(status.startedMs) + " UTC", id: "started"),
        ]
    }

    /// A lane's health in words, for log and `/healthz`.
    static func lane(_ lane: PipelineStatus.Lane) -> String {
        "\(lane.name): \(lane.alive ? "alive" : "hung"), \(lane.activity)"
    }

    private static func lanes(_ status: PipelineStatus) -> String {
        status.lanes.map { "\($0.name): \($0.alive ? $0.activity : "HUNG, \($0.activity)")" }.joined(separator: "; ")
    }

    static func position(_ status: PipelineStatus) -> [Fact] {
        [
            Fact(name: "source's WAL ends", value: status.positions.source, id: "source-lsn"),
            Fact(name: "received", value: status.positions.received, id: "received-lsn"),
            Fact(name: "durable at the target", value: status.positions.flushed, id: "flushed-lsn"),
            Fact(name: "acknowledged", value: status.positions.confirmed, id: "confirmed-lsn"),
            Fact(name: "lag", value: "\(size(status.lagBytes)), \(seconds(status.lagSeconds))", id: "lag"),
        ]
    }

    static func slot(_ status: PipelineStatus) -> [Fact] {
        let slot = status.slot
        return [
            Fact(name: "name", value: slot.name, id: "slot"),
            Fact(name: "wal_status", value: slot.walStatus ?? "-", id: "wal-status"),
            Fact(name: "WAL kept", value: slot.retainedBytes.map(size) ?? "-", id: "retained"),
            Fact(name: "WAL to spare", value: slot.safeBytes.map(size) ?? "no limit", id: "safe"),
            Fact(
                name: "spilled",
                value: "\(slot.spilledTransactions ?? 0) transactions, \(size(slot.spilledBytes ?? 0))",
                id: "spilled"
            ),
            Fact(
                name: "alarm",
                value: slot.alarmText.map { "\(slot.alarm): \($0)" } ?? slot.alarm,
                id: "alarm",
                isBad: slot.alarm != "none"
            ),
        ]
    }

    static func throughput(_ status: PipelineStatus) -> [Fact] {
        let totals = status.totals
        return [
            Fact(
                name: "last ten seconds",
                value: "\(status.rates.rowsPerSecond) rows/s, \(status.rates.transactionsPerSecond) transactions/s, "
                    + "\(size(Int(status.rates.bytesPerSecond)))/s",
                id: "rates"
            ),
            Fact(name: "rows", value: "\(totals.rows)", id: "rows"),
            Fact(name: "bytes", value: "\(totals.bytes)", id: "bytes"),
            Fact(name: "transactions", value: "\(totals.transactions)", id: "transactions"),
            Fact(name: "batches", value: "\(totals.batches)", id: "batches"),
            Fact(
                name: "left the fast way",
                value: "\(totals.sinkFallbacks.merge) merged, \(totals.sinkFallbacks.replay) replayed",
                id: "sink-fallbacks"
            ),
            Fact(
                name: "dead letters",
                value: "\(totals.deadLetters)",
                id: "dead-letters",
                isBad: totals.deadLetters > 0
            ),
            Fact(name: "values changed by policy", value: "\(totals.valuesSubstituted)", id: "values-substituted"),
            Fact(name: "writes repeated", value: "\(totals.sinkRetries)", id: "sink-retries"),
            Fact(name: "source connected again", value: "\(totals.sourceReconnects) attempts", id: "source-reconnects"),
            Fact(
                name: "memory of batches",
                value: "\(size(status.memoryUsedBytes)) of \(size(status.memoryBudgetBytes))",
                id: "memory"
            ),
        ]
    }

    static func copy(_ copy: PipelineStatus.Copy) -> [Fact] {
        [
            Fact(name: "tables", value: "\(copy.tablesDone) of \(copy.tables)", id: "copy-tables"),
            Fact(name: "table", value: copy.table ?? "-", id: "copy-table"),
            Fact(name: "rows", value: rows(copy), id: "copy-rows"),
        ]
    }

    /// Rows of a copy, with how many are expected where that is known.
    static func rows(_ copy: PipelineStatus.Copy) -> String {
        copy.rowsExpected.map { "\(copy.rows) of about \(max($0, copy.rows)) rows" } ?? "\(copy.rows) rows"
    }

    // MARK: Units

    /// Bytes for people.
    static func size(_ bytes: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(units[unit])"
    }

    private static func seconds(_ value: Double) -> String { "\((value * 10).rounded() / 10) s" }

    private static func word(_ value: Bool) -> String { value ? "yes" : "no" }

    static func time(_ milliseconds: Int) -> String {
        LogTime(seconds: milliseconds / 1000, nanoseconds: milliseconds % 1000 * 1_000_000).forPeople
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
