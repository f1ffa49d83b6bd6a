import Glibc
import Synchronization

/// Things to undo when the test process ends, in case a test forgot: servers to stop, children to end, folders to go.
public enum AtExit {
    private struct State {
        var next = 0
        var installed = false
        var actions: [Int: @Sendable () -> Void] = [:]
    }

    private static let state = Mutex(State())

    /// Runs `action` at process exit unless `remove` was called with the returned number before.
    @discardableResult
    public static func add(_ action: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            if !state.installed {
                state.installed = true
                atexit { AtExit.runAll() }
            }
            state.next += 1
            state.actions[state.next] = action
            return state.next
        }
    }

    /// Forgets an action, because it was done.
    public static func remove(_ number: Int) {
        state.withLock { $0.actions[number] = nil }
    }

    private static func runAll() {
        let actions = state.withLock { state in
            let actions = state.actions
            state.actions = [:]
            return actions
        }
        for (_, action) in actions.sorted(by: { $0.key > $1.key }) { action() }
    }
}
