internal import CdcCore

/// What a front end or back end answers to a load or a transaction, whatever the case of its names.
///
/// See https://docs.starrocks.io/docs/sql-reference/sql-statements/loading_unloading/STREAM_LOAD/#return-value
struct StarRocksReply {
    private let members: [(name: String, value: JSONValue)]

    /// Reads a body; nil if it is no JSON object.
    init?(_ body: [UInt8]) {
        guard case .object(let found)? = JSONReader.read(body[...]) else { return nil }
        members = found.map { ($0.name.lowercased(), $0.value) }
    }

    private func value(_ name: String) -> JSONValue? { members.first { $0.name == name }?.value }

    /// `Success`, `Publish Timeout`, `Label Already Exists`, `Fail`, `OK` and the like.
    var status: String { value("status")?.string ?? "" }
    var message: String { value("message")?.string ?? value("msg")?.string ?? "" }
    /// Of a label: `PREPARE`, `PREPARED`, `COMMITTED`, `VISIBLE`, `ABORTED`, `UNKNOWN`.
    var state: String? { value("state")?.string }
    /// `RUNNING` or `FINISHED`, where the label exists.
    var existingStatus: String? { value("existingjobstatus")?.string }
    /// Where the back end keeps what it says of refused rows.
    var errorURL: String? { value("errorurl")?.string }
    var totalRows: Int? { value("numbertotalrows")?.number(Int.self) }
    var loadedRows: Int? { value("numberloadedrows")?.number(Int.self) }
    var filteredRows: Int? { value("numberfilteredrows")?.number(Int.self) }
    var unselectedRows: Int? { value("numberunselectedrows")?.number(Int.self) }
}
