//! What came of one file, as a worker tells it.

/// What came of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was read.
    Accepted,
    /// Reading it was an error.
    Error,
    /// A panic, an abort, a hang, too much memory, or a result that cannot be.
    Bad(String),
}

/// How a worker's line begins that is not printed by what it calls.
const MARK: &str = "@fuzz ";

impl Outcome {
    pub(super) const READY: &str = "@fuzz ready";

    /// The line of a worker.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Accepted => format!("{MARK}accepted"),
            Self::Error => format!("{MARK}error"),
            Self::Bad(what) => format!("{MARK}bad {}", what.escape_debug()),
        }
    }

    /// Of a worker's line. `None` for a line of something else.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        match line.strip_prefix(MARK)? {
            "accepted" => Some(Self::Accepted),
            "error" => Some(Self::Error),
            other => other.strip_prefix("bad ").map(|what| Self::Bad(what.to_owned())),
        }
    }
}
