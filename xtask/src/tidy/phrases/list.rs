//! The phrases that the project does not write. To ban another, add a line with what to write in its place.

/// Words that follow each other.
pub struct Phrase {
    /// In their order. `|` stands between words that are alike.
    pub words: &'static [&'static str],
    /// Words before it, with `|` between them, that make it another phrase.
    pub unless_after: &'static str,
    /// Words after it that do.
    pub unless_before: &'static str,
    /// What to write, as the end of "write ..".
    pub instead: &'static str,
}

const fn phrase(words: &'static [&'static str], instead: &'static str) -> Phrase {
    Phrase { words, unless_after: "", unless_before: "", instead }
}

/// Only what is never right, so that there is nothing to argue about.
pub const PHRASES: &[Phrase] = &[
    phrase(&["go|goes|going|gone|went", "on"], "\"resume\" or \"continue\""),
    phrase(&["take|takes|taking|taken|took", "up"], "\"resume\", \"restore\" or \"use\""),
    phrase(&["who", "knows"], "\"if you know\""),
    phrase(&["take|takes|taken|took", "from", "where"], "\"where each part comes from\""),
    phrase(&["is|are|was|were|be|been|being", "refused"], "\"fails with\" and the error"),
    phrase(&["is|are|was|were", "not", "asked"], "what happens: \"nothing is read\", \"nothing is sent\""),
    phrase(&["anew"], "\"again\", or \"from the start\""),
    phrase(&["asked", "no", "more"], "\"is not called again\""),
    phrase(&["know|knows", "no", "such"], "\"does not have this\""),
    phrase(&["by", "heart"], "\"memorize\""),
    phrase(&["for", "ever"], "\"forever\""),
    phrase(&["nobody|nobody's"], "who or what does not: \"no process\", \"no run's\""),
    phrase(&["somebody|somebody's"], "who: \"a user\", \"another process\""),
    phrase(&["anybody|anybody's"], "who, or \"hostile\" of a file"),
    phrase(&["whoever|whomever"], "who: \"everyone who\", \"the program that\""),
    phrase(&["of", "before"], "\"from before\" or \"earlier\""),
    phrase(&["to", "who"], "who it is: \"to a program that\""),
    Phrase {
        words: &["whole", "checkpoint|checkpoints"],
        unless_after: "the|its|each",
        unless_before: "",
        instead: "\"complete checkpoint\"",
    },
    Phrase {
        words: &["that|which", "is|are", "none"],
        unless_after: "",
        unless_before: "of",
        instead: "\"an invalid ..\" or \"is not a ..\"",
    },
    Phrase {
        words: &["is|are|was|were", "no"],
        unless_after: "there|here",
        unless_before: "longer|more|less|fewer|larger|smaller|bigger|better|worse|older|newer|later|earlier|faster|slower|shorter|\
                        higher|lower|different|one",
        instead: "\"is not a ..\"",
    },
];

/// Types whose names say nothing to a reader of that file alone.
pub const TYPES: &[(&str, &str)] = &[
    ("Wish", "say what it is, such as `SaveRequest`"),
    ("Held", "say what it is, such as `SavedCheckpoint`"),
    ("Facts", "say what it is, such as `EventContext`"),
    ("Misfit", "say what it is, such as `ShapeMismatch`"),
];

/// Such files.
pub const FILES: &[(&str, &str)] = &[
    ("before.rs", "say what is done there, such as `existing_checkpoints.rs`"),
    ("keeper.rs", "say what is done there, such as `keep_alive.rs`"),
    ("tap.rs", "say what is done there, such as `logger.rs`"),
    ("nudge.rs", "say what is done there, such as `wake_transfers.rs`"),
];
