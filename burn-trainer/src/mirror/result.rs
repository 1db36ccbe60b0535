//! What became of a run's mirror.

use std::path::PathBuf;

use crate::config::{FailedMirror, MirrorConfig};
use crate::process::progress::figures::count;

/// What became of the mirror of a run: [`FitResult::mirror`](crate::FitResult::mirror).
///
/// ```
/// fn is_safe<M>(result: &burn_trainer::FitResult<M>) -> bool {
///     result.mirror.as_ref().is_some_and(|mirror| mirror.unsent.is_empty())
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorResult {
    /// The run's address in the mirror: `s3://bucket/prefix/r1`.
    pub address: String,
    /// Checkpoints that were sent.
    pub sent: u64,
    /// Checkpoints that were not sent, as newer ones had replaced them before it was their turn.
    pub skipped: u64,
    /// Attempts that failed. Each was repeated after a pause, unless the checkpoint was replaced by then.
    pub failed: u64,
    /// The last error. It has no credential.
    pub last_error: Option<String>,
    /// The newest and the best checkpoints that were not in the mirror when the run ended.
    pub unsent: Vec<PathBuf>,
    /// Whether links were not moved when the run ended: `last` can name an older checkpoint in the mirror.
    pub has_stale_links: bool,
}

impl MirrorResult {
    /// Whether the program fails for what was not sent.
    pub(crate) fn is_failure(&self, config: Option<&MirrorConfig>) -> bool {
        let fails = config.is_some_and(|config| config.failed_mirror == FailedMirror::FailIfLast);
        fails && (!self.unsent.is_empty() || self.has_stale_links)
    }

    /// `mirror s3://bucket/prefix/r1: 12 checkpoints sent, 3 skipped, 1 attempt failed`.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "programs print it"))]
    pub(crate) fn line(&self) -> String {
        let mut line = format!("mirror {}: {} sent", self.address, count(self.sent, "checkpoint"));
        if !self.unsent.is_empty() {
            line += &format!(", {} missing", self.unsent.len());
        }
        if self.skipped > 0 {
            line += &format!(", {} replaced before they were sent", self.skipped);
        }
        if self.failed > 0 {
            line += &format!(", {} failed", count(self.failed, "attempt"));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_asks_for_it_fails_for_what_was_not_sent() {
        let unsent = MirrorResult { unsent: vec!["last/step=3.ckpt".into()], ..MirrorResult::default() };
        let config = MirrorConfig::new("file:///mnt/disk");
        let strict = config.clone().with_failed_mirror(FailedMirror::FailIfLast);
        assert!(!unsent.is_failure(Some(&config)) && unsent.is_failure(Some(&strict)));
        assert!(!MirrorResult::default().is_failure(Some(&strict)));
        let stale = MirrorResult { has_stale_links: true, ..MirrorResult::default() };
        assert!(!stale.is_failure(Some(&config)) && stale.is_failure(Some(&strict)));
    }

    #[test]
    fn the_line_at_the_end_counts() {
        let result = MirrorResult { address: "s3://b/p".to_owned(), sent: 1, ..MirrorResult::default() };
        assert_eq!(result.line(), "mirror s3://b/p: 1 checkpoint sent");
        let unsent = vec!["last/step=3.ckpt".into()];
        let result = MirrorResult { unsent, ..result };
        assert_eq!(result.line(), "mirror s3://b/p: 1 checkpoint sent, 1 missing");
        let result = MirrorResult { sent: 4, skipped: 2, failed: 1, unsent: Vec::new(), ..result };
        assert_eq!(
            result.line(),
            "mirror s3://b/p: 4 checkpoints sent, 2 replaced before they were sent, 1 attempt failed"
        );
    }
}
