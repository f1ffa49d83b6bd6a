import Testing

/// Tests against a real PostgreSQL and the daemon as a process.
///
/// One after the other: each has a server of its own, and two cores are soon busy.
@Suite("Integration", .serialized)
struct Integration {}
