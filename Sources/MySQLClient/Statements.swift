internal import CMariadb
internal import CdcCore
internal import Glibc

extension MySQLConnection {
    /// Sends a statement and reads everything that comes back; the rows of its first result are the caller's.
    func perform(
        _ sql: UnsafeRawBufferPointer,
        deadline: ContinuousClock.Instant,
        row: (borrowing MySQLRow) throws(MySQLError) -> Void
    ) throws(MySQLError) -> (outcome: MySQLOutcome, columns: [MySQLColumn]) {
        let handle = try checkUsable(statementName(sql))
        waiter.reset(.sending, until: deadline)
        guard !waiter.isOver() else {
            throw MySQLError(waiter.kind, "\(place(sql)): not sent: \(waiter.text)")
        }
        guard sql.count < options.packetLimit else {
            throw MySQLError(.limit, "\(place(sql)): it has \(sql.count) bytes, the limit is \(options.packetLimit)")
        }
        do throws(MySQLError) {
            // In two steps: while it sends, the socket is to be waited for otherwise than while it reads.
            let start = sql.baseAddress?.assumingMemoryBound(to: CChar.self)
            var isDone = waiter.attached { mysql_send_query(handle.pointer, start, UInt(sql.count)) == 0 }
            guard isDone else { throw failure(handle, sql) }
            waiter.phase = .receiving
            isDone = waiter.attached { mysql_read_query_result(handle.pointer) == 0 }
            guard isDone else { throw failure(handle, sql) }
            var affected: UInt64 = 0
            var columns: [MySQLColumn] = []
            if mysql_field_count(handle.pointer) > 0 {
                columns = try readRows(handle, sql, row: row)
            } else {
                affected = mysql_affected_rows(handle.pointer)
            }
            let warnings = Int(mysql_warning_count(handle.pointer))
            try skipFurtherResults(handle, sql)
            if !isUsable { close() }
            return (MySQLOutcome(affectedRows: affected, warnings: warnings), columns)
        } catch {
            if !ErrorCode.leavesUsable(error.kind) || !isUsable { drop() }
            throw error
        }
    }

    private func readRows(
        _ handle: Handle,
        _ sql: UnsafeRawBufferPointer,
        row: (borrowing MySQLRow) throws(MySQLError) -> Void
    ) throws(MySQLError) -> [MySQLColumn] {
        guard let result = mysql_use_result(handle.pointer) else { throw failure(handle, sql) }
        isReading = true
        var isComplete = false
        defer {
            if !isComplete {
                // mysql_free_result would read the rest of the rows.
                handle.shutDown()
                waiter.phase = .closing
            }
            waiter.attached { mysql_free_result(result) }
            isReading = false
        }
        var columns: [MySQLColumn] = []
        do throws(MySQLError) {
            columns = try describe(result)
            while true {
                guard !waiter.isOver() else { throw failure(handle, sql) }
                guard let cells = waiter.attached({ mysql_fetch_row(result) }) else { break }
                guard let lengths = mysql_fetch_lengths(result) else { break }
                try row(MySQLRow(columns: columns, cells: cells, lengths: lengths))
            }
        } catch {
            var error = error
            // Whoever threw it: the connection goes, so the error must not be one after which it stays.
            if ErrorCode.leavesUsable(error.kind) { error.kind = .protocol }
            if !error.message.hasPrefix(place(sql)) { error.message = "\(place(sql)): \(error.message)" }
            throw error
        }
        guard handle.errorCode == 0 else { throw failure(handle, sql, isReading: true, isComplete: &isComplete) }
        isComplete = true
        return columns
    }

    private func describe(_ result: UnsafeMutablePointer<MYSQL_RES>) throws(MySQLError) -> [MySQLColumn] {
        var columns: [MySQLColumn] = []
        let count = mysql_num_fields(result)
        columns.reserveCapacity(Int(count))
        for index in 0..<count {
            guard let field = mysql_fetch_field_direct(result, index), let start = field.pointee.name else {
                throw MySQLError(.protocol, "there is no description of column \(index)")
            }
            let bytes = UnsafeRawBufferPointer(start: start, count: Int(field.pointee.name_length))
            guard let name = String(validating: bytes, as: UTF8.self) else {
                throw MySQLError(.protocol, "the name of column \(index) is not UTF-8")
            }
            columns.append(
                MySQLColumn(
                    name: name,
                    type: field.pointee.type.rawValue,
                    isUnsigned: field.pointee.flags & UInt32(UNSIGNED_FLAG) != 0,
                    // Number 63 is the collation `binary`.
                    isBinary: field.pointee.charsetnr == 63
                )
            )
        }
        return columns
    }

    /// A procedure returns a status behind its rows, and more rows if it likes.
    private func skipFurtherResults(_ handle: Handle, _ sql: UnsafeRawBufferPointer) throws(MySQLError) {
        while mysql_more_results(handle.pointer) != 0 {
            guard waiter.attached({ mysql_next_result(handle.pointer) }) <= 0 else { throw failure(handle, sql) }
            guard mysql_field_count(handle.pointer) > 0 else { continue }
            _ = try readRows(handle, sql, row: { _ in })
        }
    }

    /// `INSERT INTO t … at host:port`, for messages.
    private func place(_ sql: UnsafeRawBufferPointer) -> String { "\(statementName(sql)) at \(options.server)" }

    private func failure(
        _ handle: Handle,
        _ sql: UnsafeRawBufferPointer,
        isReading: Bool,
        isComplete: inout Bool
    ) -> MySQLError {
        let error = failure(handle, sql)
        // The server ended the rows with an error: nothing more comes.
        isComplete = error.kind == .server
        return error
    }

    /// What the library's failure means for the statement.
    private func failure(_ handle: Handle, _ sql: UnsafeRawBufferPointer) -> MySQLError {
        if waiter.givenUp != nil {
            return MySQLError(waiter.kind, "\(place(sql)): \(waiter.text)", mayHaveTakenEffect: true)
        }
        let code = handle.errorCode
        // libmariadb calls it lost; NET.error tells: 1 is a packet above the limit, 2 a failed read.
        if code == ErrorCode.lost, handle.pointer.pointee.net.error == 1 {
            let words = "a row is larger than the limit of \(options.packetLimit) bytes"
            return MySQLError(.limit, code: code, "\(place(sql)): \(words)", mayHaveTakenEffect: true)
        }
        let isServers = ErrorCode.isServers(code, connecting: false)
        var kind = ErrorCode.kind(code, connecting: false)
        // The library has closed the connection, and uses a number that might as well be the server's.
        if kind == .server, handle.socket < 0 { kind = .lost }
        let words = redactedMessage(handle.errorText, code: code)
        return MySQLError(
            kind,
            code: code,
            sqlState: isServers ? handle.sqlState : "",
            "\(place(sql)): \(words)",
            mayHaveTakenEffect: !isServers || kind == .lost
        )
    }
}
