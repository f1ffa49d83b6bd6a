import Operations
import Pipeline
import Settings

/// The copy's progress, below the log on a terminal.
struct ProgressBar {
    static let interval = Duration.milliseconds(250)
    private static let width = 30

    private let monitor: PipelineMonitor
    private let output = LogOutput.standardError

    /// Nil where standard error is no terminal.
    init?(_ monitor: PipelineMonitor) {
        guard output.isTerminal else { return nil }
        self.monitor = monitor
    }

    func draw() {
        let status = monitor.status()
        guard status.phase == .copying, let copy = status.copy else { return clear() }
        output.setFooter(ProgressBar.text(copy, rowsPerSecond: status.rates.rowsPerSecond))
    }

    func clear() { output.setFooter("") }

    /// For example `[#####.....]  52 % 520000 of about 1000000 rows, 2 of 4 tables, public.orders, 210000 rows/s`.
    static func text(_ copy: PipelineStatus.Copy, rowsPerSecond: Double) -> String {
        var parts = ["\(copy.rows) rows", "\(copy.tablesDone) of \(copy.tables) tables"]
        var bar = ""
        if let expected = copy.rowsExpected, expected > 0 {
            // Statistics may be old: the bar is full only when the copy is complete.
            let share = min(0.99, Double(copy.rows) / Double(expected))
            let filled = Int(share * Double(width))
            bar =
                "[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: width - filled))] "
                + "\(Int(share * 100)) % "
            parts[0] = "\(copy.rows) of about \(expected) rows"
        }
        if let table = copy.table { parts.append(table) }
        parts.append("\(Int(rowsPerSecond)) rows/s")
        return bar + parts.joined(separator: ", ")
    }
}
