//! How many batches an optimizer step uses, also when a run resumes with another number of devices.

use crate::error::{Error, Result};
use crate::process::console::warn;

/// The batches of an optimizer step: `accumulation` on each device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::training_loop) struct EffectiveBatch {
    pub(in crate::training_loop) devices: usize,
    pub(in crate::training_loop) accumulation: usize,
}

impl EffectiveBatch {
    pub(in crate::training_loop) fn batches_per_step(self) -> u64 {
        self.devices as u64 * self.accumulation as u64
    }

    /// This, for a run that had `before` batches in an optimizer step (`None`: a checkpoint of another loop
    /// or of an earlier version, which does not say). With `keep` the accumulation changes so that a step
    /// uses as many batches as before, and it is a warning where that is not known; otherwise a difference is
    /// one.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with `keep`, when these devices cannot share the batches evenly.
    pub(in crate::training_loop) fn resumed(self, before: Option<u64>, keep: bool) -> Result<Self> {
        let Self { devices, accumulation } = self;
        let (now, count) = (self.batches_per_step(), devices as u64);
        match before {
            Some(before) if keep && before.is_multiple_of(count) => {
                let accumulation = usize::try_from(before / count).unwrap_or(usize::MAX);
                Ok(Self { devices, accumulation })
            }
            Some(before) if keep => {
                let reason = format!(
                    "the run has {before} batches in an optimizer step, which {devices} devices cannot share evenly: take a \
                     number of devices that divides {before}, or leave keep_effective_batch out"
                );
                Err(Error::config("keep_effective_batch", reason))
            }
            Some(before) if before != now => {
                warn(&format!(
                    "an optimizer step has {now} batches now ({devices} devices, each with {accumulation}), and had \
                     {before} before: set keep_effective_batch to keep that"
                ));
                Ok(self)
            }
            None if keep => {
                let batches = if now == 1 { "batch" } else { "batches" };
                warn(&format!(
                    "keep_effective_batch is without effect: the checkpoint does not say how many batches an optimizer step had, as those \
                     of fit_with and of earlier versions do not. A step has {now} {batches} now"
                ));
                Ok(self)
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(devices: usize, accumulation: usize) -> EffectiveBatch {
        EffectiveBatch { devices, accumulation }
    }

    #[test]
    fn as_many_batches_are_kept_as_before() {
        for (before, devices, kept) in [(6, 1, 6), (6, 2, 3), (6, 3, 2), (6, 6, 1)] {
            let resumed = configured(devices, 1).resumed(Some(before), true).unwrap();
            assert_eq!(resumed, configured(devices, kept));
            assert_eq!(resumed.batches_per_step(), before);
        }
        let error = configured(4, 1).resumed(Some(6), true).unwrap_err();
        let Error::Config { setting, reason } = error else { panic!("{error}") };
        assert!(setting == "keep_effective_batch" && reason.contains("divides 6"), "{reason}");
    }

    #[test]
    fn otherwise_the_programs_setting_counts() {
        assert_eq!(configured(4, 2).resumed(Some(6), false).unwrap(), configured(4, 2));
        assert_eq!(configured(4, 2).resumed(None, true).unwrap(), configured(4, 2));
    }
}
