/// Finds what a misspelt name was meant to be.
enum EditDistance {
    /// The candidate that is nearest to `name`, or nil if none is near enough to be what was meant.
    ///
    /// A third of the name may be wrong: `SINK_BATCHSIZE` is near, `SINK_COLOUR` is nobody's neighbour.
    static func nearest(to name: String, in candidates: [String]) -> String? {
        let distances = candidates.map { (candidate: $0, distance: between(name, $0)) }
        guard let best = distances.min(by: { $0.distance < $1.distance }) else { return nil }
        return best.distance <= max(1, name.utf8.count / 3) ? best.candidate : nil
    }

    /// How many letters have to be inserted, removed, replaced or swapped with their neighbour.
    static func between(_ left: String, _ right: String) -> Int {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        var beforePrevious: [Int] = []
        var previous = Array(0...right.count)
        for i in left.indices {
            var current = [i + 1]
            for j in right.indices {
                var best = min(previous[j + 1], current[j]) + 1
                best = min(best, previous[j] + (left[i] == right[j] ? 0 : 1))
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    best = min(best, beforePrevious[j - 1] + 1)
                }
                current.append(best)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[right.count]
    }
}
