internal import Glibc

/// Has the thread wait, as sinks' threads may.
func sleep(for duration: Duration) {
    usleep(UInt32(clamping: Int(duration / .microseconds(1))))
}
