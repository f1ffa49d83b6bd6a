internal import PostgresSource

/// The server processes of this daemon's sessions, by number and start, so that none of them is taken for another daemon's.
///
/// Belongs to the source's lane.
final class OwnSessions {
    private var sessions: Set<SlotHolder.Identity> = []

    /// Notes a session that was opened.
    func note(_ session: PostgresConnection) throws(SourceError) {
        if let identity = try session.identity() { sessions.insert(identity) }
    }

    /// Whether the holder is one of this daemon's own processes.
    func contains(_ holder: SlotHolder) -> Bool { sessions.contains(holder.identity) }
}
