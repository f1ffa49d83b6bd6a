/// A column of a result.
public struct MySQLColumn: Sendable, Equatable {
    /// Its name or alias.
    public let name: String
    /// `MYSQL_TYPE_…` of MariaDB's mariadb_com.h, for example 3 for INT, 8 for BIGINT, 12 for DATETIME, 253 for VARCHAR.
    public let type: UInt32
    /// Whether it is UNSIGNED.
    public let isUnsigned: Bool
    /// Whether it has no character set: binary strings, and everything that is no string.
    public let isBinary: Bool
}

/// A row of a result in the text protocol, lent to the closure that reads it.
///
/// Not copyable, so that it does not outlive the library's buffer, which the next row overwrites.
public struct MySQLRow: ~Copyable {
    /// The result's columns.
    public let columns: [MySQLColumn]
    // Both arrays have as many elements as there are columns; they are the library's until the next row is fetched.
    private let cells: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let lengths: UnsafeMutablePointer<UInt>

    init(
        columns: [MySQLColumn],
        cells: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
        lengths: UnsafeMutablePointer<UInt>
    ) {
        self.columns = columns
        self.cells = cells
        self.lengths = lengths
    }

    /// Columns.
    public var count: Int { columns.count }

    /// Whether a column is NULL.
    public func isNull(_ column: Int) -> Bool {
        precondition(columns.indices.contains(column), "there is no column \(column)")
        return cells[column] == nil
    }

    /// Lends a column's bytes; nil is NULL.
    ///
    /// Nothing is copied, and there is no byte behind them to rely on.
    public func withBytes<Result, Failure: Error>(
        _ column: Int,
        _ body: (UnsafeRawBufferPointer?) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(columns.indices.contains(column), "there is no column \(column)")
        guard let cell = cells[column] else { return try body(nil) }
        return try body(UnsafeRawBufferPointer(start: cell, count: Int(lengths[column])))
    }

    /// A column's bytes in number; 0 for NULL.
    public func byteCount(_ column: Int) -> Int {
        isNull(column) ? 0 : Int(lengths[column])
    }

    /// A column as text; nil is NULL.
    ///
    /// - Throws: Of kind ``MySQLError/Kind/protocol`` where it is not UTF-8.
    public func text(_ column: Int) throws(MySQLError) -> String? {
        try withBytes(column) { bytes throws(MySQLError) in
            guard let bytes else { return nil }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw MySQLError(.protocol, "the column \(columns[column].name) holds bytes that are not UTF-8")
            }
            return text
        }
    }
}
