/// What is wrong with a value; the reader adds which variable it is and what is allowed.
struct ValueMistake: Error {
    /// The end of a sentence that the variable begins.
    var message: String
    /// How to mend it.
    var suggestion: Problem.Suggestion?
    /// False where the message already says what is allowed.
    var showsAllowed = true
}
