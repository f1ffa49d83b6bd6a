internal import CdcCore

/// A load as the position's row has it.
extension StarRocksState.Load {
    /// `schema:table:label:from:to:uncertain:claimed`, names percent-encoded, versions hexadecimal.
    var text: String {
        [
            table.schema.percentEncoded, table.name.percentEncoded, label, String(from, radix: 16),
            String(to, radix: 16),
            String(uncertain, radix: 16), claimed.joined(separator: "+"),
        ].joined(separator: ":")
    }

    init?(text: Substring) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 7, let schema = String(parts[0]).percentDecoded,
            let name = String(parts[1]).percentDecoded,
            let from = UInt128(parts[3], radix: 16), let to = UInt128(parts[4], radix: 16),
            let uncertain = UInt128(parts[5], radix: 16)
        else { return nil }
        self.init(table: TableRef(schema: schema, name: name), label: String(parts[2]), from: from, to: to)
        self.uncertain = uncertain
        claimed = parts[6].split(separator: "+").map(String.init)
    }
}
