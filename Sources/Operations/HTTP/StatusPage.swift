import Pipeline
import Settings

/// The status page: plain tables, no scripts, no images, nothing from elsewhere; a text browser shows it as well.
enum StatusPage {
    static func html(_ status: PipelineStatus) -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="refresh" content="5">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>dbmazz-sink: \(escape(status.phase.words))</title>
        <style>
        body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#1b1f24;background:#fff}
        h1{font-size:1.4em}h2{font-size:1.1em;margin-top:1.8em}
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25em .8em .25em 0;border-bottom:1px solid #e3e6ea}
        th{font-weight:600}th[scope=row]{width:14em}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
        .good{color:#116329}.bad{color:#a40e26;font-weight:600}
        @media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}th,td{border-color:#333a41}.good{color:#5fd38d}.bad{color:#ff8a93}}
        </style>
        </head>
        <body>
        <h1>dbmazz-sink <span class="\(status.healthy ? "good" : "bad")">\(escape(StatusText.headline(status)))</span></h1>
        \(facts(StatusText.overview(status)))
        <h2>Position</h2>
        \(facts(StatusText.position(status)))
        <h2>Slot</h2>
        \(facts(StatusText.slot(status)))
        <h2>Throughput</h2>
        \(facts(StatusText.throughput(status)))
        \(copy(status))
        <h2>Tables</h2>
        \(tables(status))
        <h2>Last errors</h2>
        \(troubles(status))
        <p><a href="/status">JSON</a> · <a href="/metrics">metrics</a> · <a href="/healthz">healthz</a> · <a href="/readyz">readyz</a></p>
        </body>
        </html>

        """
    }

    private static func facts(_ facts: [StatusText.Fact]) -> String {
        let rows = facts.map { fact in
            "<tr><th scope=\"row\">\(escape(fact.name))</th><td id=\"\(fact.id)\"\(fact.isBad ? " class=\"bad\"" : "")>"
                + "\(escape(fact.value))</td></tr>"
        }
        return "<table>\n\(rows.joined(separator: "\n"))\n</table>"
    }

    private static func copy(_ status: PipelineStatus) -> String {
        guard let copy = status.copy else { return "" }
        return "<h2>Copy</h2>\n\(facts(StatusText.copy(copy)))"
    }

    private static func tables(_ status: PipelineStatus) -> String {
        guard !status.tables.isEmpty else { return "<p>No table has changed since the daemon started.</p>" }
        let heads = ["inserts", "updates", "deletes", "truncates", "copied", "bytes"]
        let rows = status.tables.map { table in
            let numbers = [table.inserts, table.updates, table.deletes, table.truncates, table.copied, table.bytes]
            return "<tr><td>\(escape(table.table))</td>\(numbers.map { "<td class=\"n\">\($0)</td>" }.joined())</tr>"
        }
        return """
            <table>
            <tr><th>table</th>\(heads.map { "<th class=\"n\">\($0)</th>" }.joined())</tr>
            \(rows.joined(separator: "\n"))
            </table>
            """
    }

    private static func troubles(_ status: PipelineStatus) -> String {
        guard !status.troubles.isEmpty else { return "<p>None since the daemon started.</p>" }
        let rows = status.troubles.map { trouble in
            "<tr><td>\(StatusText.time(trouble.timeMs))</td><td>\(escape(trouble.side))</td><td>\(escape(trouble.error))</td></tr>"
        }
        return
            "<table>\n<tr><th>time (UTC)</th><th>side</th><th>error</th></tr>\n\(rows.joined(separator: "\n"))\n</table>"
    }

    private static func escape(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }
}
