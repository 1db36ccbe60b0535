//! How many batches an optimizer step uses, when a run goes on with another number of devices.

use crate::error::{Error, Result};
use crate::process::console::warn;

/// The accumulation of a run that had `before` batches in an optimizer step (`None`: a file that does not say), on this many
/// devices, where the program asks for `configured`.
///
/// # Errors
///
/// [`Error::Config`] when as many batches as before are to be kept, and these devices cannot share them evenly.
pub(crate) fn accumulation(
    before: Option<u64>,
    devices: usize,
    configured: usize,
    keep: bool,
) -> Result<usize> {
    let (wanted, count) = (configured as u64 * devices as u64, devices as u64);
    match before {
        Some(before) if keep && before.is_multiple_of(count) => {
            Ok(usize::try_from(before / count).unwrap_or(usize::MAX))
        }
        Some(before) if keep => {
            let reason = format!(
                "the run has {before} batches in an optimizer step, which {devices} devices cannot share evenly: take a \
                 number of devices that divides {before}, or leave keep_effective_batch out"
            );
            Err(Error::config("keep_effective_batch", reason))
        }
        Some(before) if before != wanted => {
            warn(&format!(
                "an optimizer step has {wanted} batches now ({devices} devices, each with {configured}), and had {before} \
                 before: set keep_effective_batch to keep that"
            ));
            Ok(configured)
        }
        _ => Ok(configured),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_batches_are_kept_as_before() {
        for (before, devices, kept) in [(6, 1, 6), (6, 2, 3), (6, 3, 2), (6, 6, 1)] {
            assert_eq!(accumulation(Some(before), devices, 1, true).unwrap(), kept);
        }
        let error = accumulation(Some(6), 4, 1, true).unwrap_err().to_string();
        assert!(error.starts_with("keep_effective_batch") && error.contains("divides 6"), "{error}");
    }

    #[test]
    fn otherwise_it_is_what_the_program_asks_for() {
        assert_eq!(accumulation(Some(6), 4, 2, false).unwrap(), 2);
        assert_eq!(accumulation(None, 4, 2, true).unwrap(), 2);
    }
}
