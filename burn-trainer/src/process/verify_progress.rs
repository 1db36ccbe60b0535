//! How far a verification is, on a terminal, where it takes longer than a second.

use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use burn_ckpt::plumbing::size;
use burn_ckpt::{Checkpoint, Metadata};

use super::run_output;

/// One for the SHA-256, which takes the longest, and one for the tensors.
const TWO_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
/// What is shorter is not shown.
const QUICK: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(200);
/// Clears a terminal's line.
const CLEAR: &str = "\r\x1b[K";

/// Verifies a checkpoint.
///
/// # Errors
///
/// As for [`Checkpoint::verify`].
pub(crate) fn verify(checkpoint: &Checkpoint) -> burn_ckpt::Result<Metadata> {
    let bytes = checkpoint.metadata()?.total_bytes();
    // Once for the file's digest, and once for its tensors'.
    let shown = ShownProgress::over(bytes.saturating_mul(2));
    let verified = checkpoint.verify_with(TWO_THREADS, &|bytes| shown.add(bytes));
    shown.clear();
    verified
}

struct ShownProgress {
    total: u64,
    done: AtomicU64,
    begun: Instant,
    /// How many intervals had passed when it was drawn last.
    drawn: AtomicU64,
    is_terminal: bool,
}

impl ShownProgress {
    fn over(total: u64) -> Self {
        let is_terminal = io::stderr().is_terminal() && run_output::progress().may_redraw();
        Self { total, done: AtomicU64::new(0), begun: Instant::now(), drawn: AtomicU64::new(0), is_terminal }
    }

    fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if !self.is_terminal {
            return;
        }
        if let Some((interval, line)) = line(done, self.total, self.begun.elapsed())
            && self.drawn.fetch_max(interval, Ordering::Relaxed) < interval
        {
            // A terminal that is gone needs no progress.
            let _ = write!(io::stderr().lock(), "{CLEAR}{line}");
        }
    }

    fn clear(&self) {
        if self.drawn.load(Ordering::Relaxed) > 0 {
            let _ = write!(io::stderr().lock(), "{CLEAR}");
        }
    }
}

/// What is drawn after a time, and in which interval of time.
fn line(done: u64, total: u64, passed: Duration) -> Option<(u64, String)> {
    if passed < QUICK || total == 0 {
        return None;
    }
    let percent = u128::from(done.min(total)) * 100 / u128::from(total);
    let interval = u64::try_from(passed.as_millis() / INTERVAL.as_millis()).unwrap_or(u64::MAX);
    Some((interval, format!("verifying: {percent} % of {}", size(total / 2))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_after_a_second_and_a_few_times_a_second() {
        assert_eq!(line(10, 100, Duration::from_millis(999)), None);
        let at = |millis| line(1 << 30, 4 << 30, Duration::from_millis(millis)).unwrap();
        assert_eq!(at(1000), (5, "verifying: 25 % of 2.0 GiB".to_owned()));
        assert_eq!(at(1199).0, 5);
        assert_eq!(at(1200).0, 6);
        assert_eq!(line(9, 4, Duration::from_secs(2)).unwrap().1, "verifying: 100 % of 2 B");
    }
}
