internal import CdcCore

/// The table of dead letters.
extension StarRocksState {
    /// Longer lines are kept in pieces.
    private static let pieceLength = 1_000_000

    /// Adds lines, in their order; makes the table if it is missing.
    func storeDeadLetters(_ lines: [String], _ version: StarRocksVersion) throws(SinkError) {
        let operation = "store dead letters"
        let properties = StarRocksLayout.properties(replicationNumber: config.replicationNumber, version: version)
        try database.run(
            """
            CREATE TABLE IF NOT EXISTS \(name(Self.deadLetterTable))
            (
                pipeline_id VARCHAR(32) NOT NULL, number BIGINT NOT NULL, piece INT NOT NULL, pipeline VARCHAR(1000) NULL,
                line VARCHAR(\(StarRocksTypes.longest)) NULL, stored_at DATETIME NULL
            )
            PRIMARY KEY (pipeline_id, number, piece) DISTRIBUTED BY HASH (pipeline_id) BUCKETS 1 \(properties)
            """,
            operation: operation
        )
        guard !lines.isEmpty else { return }
        let last = try database.rows(
            "SELECT max(number) FROM \(name(Self.deadLetterTable)) WHERE pipeline_id = \(id.starRocksLiteral)",
            operation: operation
        )
        var number = last.first?.first?.flatMap { UInt64($0) } ?? 0
        var cells: [[String?]] = []
        for line in lines {
            number += 1
            for (piece, text) in Self.pieces(line).enumerated() {
                cells.append([id, String(number), String(piece), pipeline, text, Timestamp.starRocks()])
            }
        }
        let rows = try StarRocksRows(cells, operation: operation)
        // Of what is sent: the same lines under the same numbers have the same label.
        let hash = rows.body.withUnsafeBytes { String($0.hashed(into: 0), radix: 16) }
        let isNew = try write(
            rows,
            Self.deadLetterTable,
            ["pipeline_id", "number", "piece", "pipeline", "line", "stored_at"],
            label: "\(labelPrefix)_letter_\(number)_\(hash)",
            operation: operation,
            deadline: .now + .seconds(60)
        )
        if !isNew {
            try awaitVisible(
                "\(labelPrefix)_letter_\(number)_\(hash)",
                operation: operation,
                deadline: .now + .seconds(60)
            )
        }
    }

    private static func pieces(_ line: String) -> [String] {
        guard line.utf8.count > pieceLength else { return [line] }
        var pieces: [String] = []
        var rest = Substring(line)
        while !rest.isEmpty {
            // A scalar has at most four bytes.
            var piece = rest.unicodeScalars.prefix(pieceLength / 4)
            if piece.isEmpty { piece = rest.unicodeScalars[...] }
            pieces.append(String(piece))
            rest = rest[piece.endIndex...]
        }
        return pieces
    }

    /// The lines in their order; none where there is no table.
    func deadLetters() throws(SinkError) -> [String] {
        let operation = "read dead letters"
        let known = try database.rows(
            "SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = \(config.database.starRocksLiteral) "
                + "AND TABLE_NAME = \(Self.deadLetterTable.starRocksLiteral)",
            operation: operation
        )
        guard !known.isEmpty else { return [] }
        var lines: [String] = []
        let rows = try database.rows(
            "SELECT piece, line FROM \(name(Self.deadLetterTable)) WHERE pipeline_id = \(id.starRocksLiteral) "
                + "ORDER BY number, piece",
            operation: operation
        )
        for row in rows {
            guard row.count == 2, let text = row[1] else { continue }
            if row[0] == "0" { lines.append(text) } else if !lines.isEmpty { lines[lines.count - 1] += text }
        }
        return lines
    }
}
