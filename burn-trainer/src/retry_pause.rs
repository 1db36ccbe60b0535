//! How long a thread that sends something waits before it tries again.

use std::time::Duration;

/// The first pause, and the longest one. Each is twice the one before.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after the next error. One that follows a success, or anything else that is new, is a
/// [default](Self::default) again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPause(Duration);

impl Default for RetryPause {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl RetryPause {
    /// The pause after an error. That after the next one is twice as long.
    pub(crate) fn after_error(&mut self) -> Duration {
        let next = (self.0 * 2).min(LONGEST);
        std::mem::replace(&mut self.0, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_one_before_up_to_the_longest() {
        let mut pause = RetryPause::default();
        let pauses: Vec<u64> = (0..8).map(|_| pause.after_error().as_millis() as u64).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }
}
