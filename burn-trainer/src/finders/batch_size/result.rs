//! What a search for a batch size has found: the size, and each one that was tried.

use std::fmt;
use std::path::Path;

use burn_ckpt::plumbing::size as bytes;

use crate::error::Result;
use crate::finders::result_file::write;
use crate::process::progress::figures::significant;

/// The result of a search: the largest batch that fits, and each size that was looked at. See
/// [`Trainer::find_batch_size`](crate::Trainer::find_batch_size).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FoundBatchSize {
    /// The largest size that was tried and fits, in items. On several devices, the items of each device's
    /// batch.
    pub batch_size: usize,
    /// The sizes, in the order in which they were looked at. Those with [`BatchFit::NotTried`] were ruled out
    /// from smaller ones.
    pub tried: Vec<TriedBatchSize>,
    /// Why the search ended.
    pub end: BatchSizeEnd,
    /// The most memory that a batch may use, in bytes, if there is a limit.
    pub memory_limit: Option<u64>,
}

/// Why a search for a batch size has ended: see [`BatchSizeFinder`](super::BatchSizeFinder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchSizeEnd {
    /// A larger size does not fit.
    DoesNotFit,
    /// A batch of all items of the data fits. On several devices, of each device's part of the data.
    AllItems,
    /// A batch of [`max_size`](super::BatchSizeFinder::max_size) items fits.
    MaxSize,
    /// All [`max_trials`](super::BatchSizeFinder::max_trials) are used. A larger size can fit.
    MaxTrials,
}

/// A batch size that a [`BatchSizeFinder`](super::BatchSizeFinder) has tried, or ruled out from smaller ones.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TriedBatchSize {
    /// Items in a batch.
    pub batch_size: usize,
    /// Whether it fits.
    pub fit: BatchFit,
    /// Seconds of all steps but the first, which is the slowest. `None` if the size does not fit.
    pub seconds: Option<f64>,
    /// Items of these steps in a second, of all devices.
    pub items_per_second: Option<f64>,
    /// The peak of the memory, in bytes: of this process on a CPU, of what burn's allocator holds on a GPU.
    /// `None` if it is not known. For a size that was not tried, the prediction.
    pub memory: Option<u64>,
}

/// Whether a batch of a [`BatchSizeFinder`](super::BatchSizeFinder) fits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchFit {
    /// Its steps were done.
    Fits,
    /// The device had not enough memory.
    OutOfMemory {
        /// What the backend said.
        reason: String,
    },
    /// It used more than the limit.
    AboveLimit,
    /// It would use more than the limit, as smaller sizes show. It was not tried.
    NotTried,
}

impl FoundBatchSize {
    /// The size that trained the most items in a second. A smaller batch than the largest can be as fast, and
    /// leaves memory.
    #[must_use]
    pub fn fastest(&self) -> Option<&TriedBatchSize> {
        let rate = |tried: &&TriedBatchSize| tried.items_per_second.unwrap_or(0.0);
        let fit = self.tried.iter().filter(|tried| tried.fit == BatchFit::Fits);
        fit.max_by(|one, other| rate(one).total_cmp(&rate(other)))
    }

    /// What was tried as CSV: `batch_size,fit,seconds,items_per_second,memory_bytes`, a line for each size.
    /// What is not known is empty.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let mut text = "batch_size,fit,seconds,items_per_second,memory_bytes\n".to_owned();
        for tried in &self.tried {
            let fit = match tried.fit {
                BatchFit::Fits => "fits",
                BatchFit::OutOfMemory { .. } => "out_of_memory",
                BatchFit::AboveLimit => "above_limit",
                BatchFit::NotTried => "not_tried",
            };
            let memory = tried.memory.map(|bytes| bytes.to_string()).unwrap_or_default();
            let (seconds, rate) = (number(tried.seconds), number(tried.items_per_second));
            text.push_str(&format!("{},{fit},{seconds},{rate},{memory}\n", tried.batch_size));
        }
        text
    }

    /// Writes [`to_csv`](Self::to_csv) to a file, which is replaced if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when it cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        write(path.as_ref(), &self.to_csv())
    }
}

impl fmt::Display for FoundBatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "largest batch size that fits: {}", self.batch_size)?;
        match self.end {
            BatchSizeEnd::DoesNotFit => {
                let larger = self.tried.iter().filter(|tried| tried.fit != BatchFit::Fits);
                match larger.map(|tried| tried.batch_size).min() {
                    Some(size) => write!(f, " ({size} does not fit)"),
                    None => Ok(()),
                }
            }
            BatchSizeEnd::AllItems => f.write_str(" (all items of the data)"),
            BatchSizeEnd::MaxSize => f.write_str(" (the largest that may be tried)"),
            BatchSizeEnd::MaxTrials => f.write_str(" (a larger one can fit: all trials are used)"),
        }
    }
}

/// `batch size 64: fits, 812.3 items/s, 1.2 GiB`.
impl fmt::Display for TriedBatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch size {}: ", self.batch_size)?;
        if let Some(reason) = self.why_it_does_not_fit() {
            return write!(f, "does not fit: {reason}");
        }
        let rate = self.items_per_second.map(|rate| format!(", {} items/s", significant(rate)));
        let memory = self.memory.map(|memory| format!(", {}", bytes(memory)));
        write!(f, "fits{}{}", rate.unwrap_or_default(), memory.unwrap_or_default())
    }
}

impl TriedBatchSize {
    /// A size whose steps were not done, or do not count.
    pub(super) fn without_steps(batch_size: usize, fit: BatchFit, memory: Option<u64>) -> Self {
        Self { batch_size, fit, seconds: None, items_per_second: None, memory }
    }

    /// Why it does not fit. `None` if it does.
    pub(super) fn why_it_does_not_fit(&self) -> Option<String> {
        let memory = || self.memory.map_or_else(|| "an unknown size".to_owned(), bytes);
        match &self.fit {
            BatchFit::Fits => None,
            BatchFit::OutOfMemory { reason } => Some(reason.clone()),
            BatchFit::AboveLimit => Some(format!("it used {}, above the limit", memory())),
            BatchFit::NotTried => {
                Some(format!("it would use about {}, above the limit; not tried", memory()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(batch_size: usize, fit: BatchFit, rate: Option<f64>, memory: Option<u64>) -> TriedBatchSize {
        TriedBatchSize { batch_size, fit, seconds: rate.map(|_| 0.5), items_per_second: rate, memory }
    }

    #[test]
    fn what_was_tried_is_printed_and_a_table() {
        let reason = "out of device memory allocating 64 bytes".to_owned();
        let found = FoundBatchSize {
            batch_size: 4,
            tried: vec![
                tried(2, BatchFit::Fits, Some(20.0), Some(2048)),
                tried(4, BatchFit::Fits, Some(10.0), None),
                tried(16, BatchFit::NotTried, None, Some(10240)),
                tried(8, BatchFit::OutOfMemory { reason }, None, None),
            ],
            end: BatchSizeEnd::DoesNotFit,
            memory_limit: Some(8192),
        };
        assert_eq!(found.to_string(), "largest batch size that fits: 4 (8 does not fit)");
        assert_eq!(found.fastest().unwrap().batch_size, 2);
        let lines: Vec<String> = found.tried.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "batch size 2: fits, 20.00 items/s, 2.0 KiB",
                "batch size 4: fits, 10.00 items/s",
                "batch size 16: does not fit: it would use about 10.0 KiB, above the limit; not tried",
                "batch size 8: does not fit: out of device memory allocating 64 bytes",
            ]
        );
        assert_eq!(
            found.to_csv(),
            "batch_size,fit,seconds,items_per_second,memory_bytes\n2,fits,0.5,20,2048\n4,fits,0.5,10,\n16,not_tried,,,10240\n\
             8,out_of_memory,,,\n"
        );
    }
}
