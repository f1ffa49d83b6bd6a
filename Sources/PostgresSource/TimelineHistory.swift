public import CdcCore

/// Where the source's timelines branched off: the content of a `.history` file.
///
/// One line per switch: timeline, the LSN up to which it counts, and a reason, separated by blanks; `#` begins a comment.
/// See https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
public struct TimelineHistory: Sendable, Equatable {
    /// The last LSN of each earlier timeline.
    public let ends: [UInt32: LSN]

    /// Reads the file's text; lines that do not read are left out.
    public init(_ text: String) {
        var ends: [UInt32: LSN] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count >= 2, let timeline = UInt32(fields[0]), let end = LSN(fields[1]) else { continue }
            ends[timeline] = end
        }
        self.ends = ends
    }

    /// Whether a position reached on `timeline` lies in this history: not beyond the point where it was left.
    public func contains(_ position: LSN, on timeline: UInt32) -> Bool {
        ends[timeline].map { position <= $0 } ?? false
    }
}
