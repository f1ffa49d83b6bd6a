import CoreMetrics
import Glibc

/// The process's own figures, under the names that Prometheus' client libraries agreed on.
struct ProcessMetrics {
    private let factory: any MetricsFactory
    private let started: Double

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        started = ProcessMetrics.startTime
    }

    func publish() {
        set("process_cpu_seconds_total", ProcessMetrics.processorSeconds)
        set("process_resident_memory_bytes", Double(ProcessMetrics.residentBytes))
        set("process_start_time_seconds", started)
        set("process_open_fds", Double(ProcessMetrics.openDescriptors))
    }

    private func set(_ name: String, _ value: Double) {
        Meter(label: name, dimensions: [], factory: factory).set(value)
    }

    private static var processorSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Now, less the age of the process; made once, at its start.
    private static var startTime: Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + (Double(time.tv_nsec) / 1e7).rounded() / 100
    }

    /// The second number of /proc/self/statm counts resident pages.
    private static var residentBytes: Int {
        var buffer = [UInt8](repeating: 0, count: 128)
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        let count = read(file, &buffer, buffer.count)
        let fields = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) : 0
    }

    private static var openDescriptors: Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Not counted: ".", ".." and the folder itself.
        return max(0, count - 3)
    }
}
