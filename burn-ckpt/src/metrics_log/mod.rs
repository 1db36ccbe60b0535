//! The log of a run's metrics, `metrics.jsonl` in the run's directory: every value that the run has logged, a
//! line of JSON for each set of values.
//!
//! Other programs read it as it is: `jq 'select(.scope == "epoch") | .metrics.train_loss' metrics.jsonl`, or
//! in Python `pandas.read_json("metrics.jsonl", lines=True)`. In Rust, [`read`] returns the lines, also while
//! the run writes them.

/// For the program `burn-ckpt` and for burn-trainer, which write the same table.
#[doc(hidden)]
pub mod csv;
mod end_line;
/// For burn-trainer, which writes the history of a checkpoint.
#[doc(hidden)]
pub mod epoch_blocks;
mod line;
mod mark;
mod read;
mod speed;

pub use line::{Line, MAX_LINE_BYTES, METRICS_FILE, Scope, Split};
pub use read::{Lines, read};
pub use speed::LineSpeed;

/// For burn-trainer, which writes the log.
#[doc(hidden)]
pub use end_line::{LoggedEnd, append_end, end_line, ended_by_log};
#[doc(hidden)]
pub use line::{head, time_text};
#[doc(hidden)]
pub use mark::{LogMark, line_digest};
#[doc(hidden)]
pub use read::is_metrics_log;
