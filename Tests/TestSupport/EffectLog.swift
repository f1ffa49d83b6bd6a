import Synchronization

/// What each transaction did, by its xid; filled by the clients before they commit, emptied in commit order.
final class EffectLog: Sendable {
    private let effects = Mutex<[UInt32: [Effect]]>([:])

    /// To be called before COMMIT is sent, so that a commit of unknown outcome is resolved by the slot.
    func register(_ xid: UInt32, _ list: [Effect]) { effects.withLock { $0[xid] = list } }

    /// The transaction was certainly rolled back.
    func forget(_ xid: UInt32) { effects.withLock { $0[xid] = nil } }

    /// Nil for a transaction that is not the workload's.
    func take(_ xid: UInt32) -> [Effect]? { effects.withLock { $0.removeValue(forKey: xid) } }

    var count: Int { effects.withLock { $0.count } }
}
