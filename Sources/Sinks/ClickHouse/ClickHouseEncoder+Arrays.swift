internal import CdcCore

extension ClickHouseEncoder {
    /// A one-dimensional array as `array_out` prints it: `{a,"b,c",NULL,"NULL"}`.
    ///
    /// Others (`{{1},{2}}`, `[0:1]={1,2}`) have no place in an Array.
    /// See https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    func array(_ text: UnsafeRawBufferPointer, _ element: ClickHouseEncoding, _ buffer: inout RowBuffer)
        -> Problem?
    {
        guard text.count >= 2, text[0] == UInt8(ascii: "{"), text[text.count - 1] == UInt8(ascii: "}") else {
            return text.count > 0 && text[0] == UInt8(ascii: "[") ? .arrayShape : .malformed
        }
        let body = UnsafeRawBufferPointer(rebasing: text[1..<text.count - 1])
        guard body.count > 0 else {
            buffer.append(length: 0)
            return nil
        }
        var count = 0
        if let problem = elements(
            body,
            { _, _ in
                count += 1
                return nil
            }
        ) {
            return problem
        }
        buffer.append(length: count)
        return elements(body) { value, isNull in
            switch append(isNull ? nil : value, as: element, to: &buffer) {
            case .written: nil
            // The policy is for columns: an element is not changed alone.
            case .substituted(let problem), .refused(let problem): problem
            }
        }
    }

    /// Calls `each` with every element's bytes, unescaped.
    private func elements(_ body: UnsafeRawBufferPointer, _ each: (UnsafeRawBufferPointer, Bool) -> Problem?)
        -> Problem?
    {
        var index = 0
        while true {
            let problem: Problem?
            if index < body.count, body[index] == UInt8(ascii: "\"") {
                problem = quoted(body, &index, each)
            } else {
                let begin = index
                while index < body.count, body[index] != UInt8(ascii: ",") {
                    guard body[index] != UInt8(ascii: "{") else { return .arrayShape }
                    index += 1
                }
                let value = UnsafeRawBufferPointer(rebasing: body[begin..<index])
                guard value.count > 0 else { return .malformed }
                problem = each(value, value.elementsEqual("NULL".utf8))
            }
            if let problem { return problem }
            guard index < body.count else { return nil }
            guard body[index] == UInt8(ascii: ",") else { return .malformed }
            index += 1
        }
    }

    private func quoted(
        _ body: UnsafeRawBufferPointer,
        _ index: inout Int,
        _ each: (UnsafeRawBufferPointer, Bool) -> Problem?
    ) -> Problem? {
        let begin = index + 1
        var end = begin
        var escapes = 0
        while end < body.count, body[end] != UInt8(ascii: "\"") {
            if body[end] == UInt8(ascii: "\\") {
                escapes += 1
                end += 1
            }
            end += 1
        }
        guard end < body.count else { return .malformed }
        index = end + 1
        guard escapes > 0 else { return each(UnsafeRawBufferPointer(rebasing: body[begin..<end]), false) }
        return withUnsafeTemporaryAllocation(byteCount: end - begin - escapes, alignment: 1) { plain in
            var from = begin
            for place in 0..<plain.count {
                if body[from] == UInt8(ascii: "\\") { from += 1 }
                plain[place] = body[from]
                from += 1
            }
            return each(UnsafeRawBufferPointer(plain), false)
        }
    }
}
