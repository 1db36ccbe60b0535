//! A strategy that notes when each optimizer step ends, saves at some of them, and says afterwards what that cost.
//!
//! What a save costs the loop is more than its call: the steps that follow run beside the writing, and where the snapshot
//! shares memory with the model, they pay for memory of their own. So the steps from a save until its file is durable,
//! and one more, are set against as many undisturbed ones of the same run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use burn_ckpt::{Keep, TopK};
use burn_trainer::{Decision, Event, Facts, Output, Strategy};

use crate::machine::Counters;

/// The strategy's directory below the run's `checkpoint`.
const DIRECTORY: &str = "watched";

/// The strategy.
pub struct Stopwatch {
    save_at: BTreeSet<u64>,
    counts: bool,
    laps: Laps,
}

/// What a [`Stopwatch`] noted; it can be read when the run is over.
#[derive(Clone, Default)]
pub struct Laps(Arc<Mutex<Vec<Lap>>>);

#[derive(Debug, Clone, Copy)]
struct Lap {
    step: u64,
    ended: Instant,
    /// The step ended an epoch, so that a validation lies before this moment.
    ends_epoch: bool,
    /// When a save was asked for then, by the clock that dates files.
    save: Option<SystemTime>,
    /// The kernel's, where they are looked at.
    counters: Option<Counters>,
}

/// What some steps of a run took, one after the other.
#[derive(Debug, Clone)]
pub struct Span {
    /// Each of them.
    pub steps: Vec<Duration>,
    /// Bytes over the loopback interface meanwhile, where the stopwatch counts.
    pub loopback_bytes: Option<u64>,
    /// The share of all processors that was busy meanwhile, where the stopwatch counts.
    pub busy: Option<f64>,
}

/// What a save cost, as the median over the saves of a run.
#[derive(Debug, Clone, Copy)]
pub struct SaveCost {
    /// An undisturbed step.
    pub step: Duration,
    /// The step that begins with the save.
    pub step_with_save: Duration,
    /// A later step beside the writing, if there was one.
    pub step_beside_writing: Option<Duration>,
    /// By how much all steps from the save until the file was durable, and one more, took longer; below 0 where noise is
    /// more than the cost.
    pub lost_seconds: f64,
    /// From the save until the file had its name.
    pub until_durable: Duration,
    /// Size of the file.
    pub bytes: u64,
    /// Saves that these are the medians of.
    pub saves: usize,
}

impl Stopwatch {
    /// Saves after these optimizer steps of a run.
    #[must_use]
    pub fn saving_at(steps: impl IntoIterator<Item = u64>) -> (Self, Laps) {
        let laps = Laps::default();
        let save_at = steps.into_iter().collect();
        (Self { save_at, counts: false, laps: laps.clone() }, laps)
    }

    /// Looks at the kernel's counters after every step too.
    #[must_use]
    pub fn counting(self) -> Self {
        Self { counts: true, ..self }
    }

    /// The file that is saved after a step.
    #[must_use]
    pub fn file(run_dir: &Path, step: u64) -> PathBuf {
        run_dir.join("checkpoint").join(DIRECTORY).join(format!("{step}.ckpt"))
    }
}

impl Strategy for Stopwatch {
    fn name(&self) -> String {
        "stopwatch".to_owned()
    }

    fn keep(&self) -> Keep {
        Keep::Newest(TopK::All)
    }

    fn output(&self) -> Output {
        Output {
            directory: DIRECTORY.into(),
            filename: Some("{step}".to_owned()),
            link: None,
            weights_only: false,
        }
    }

    fn decide(&mut self, event: &Event<'_>, facts: &Facts<'_>) -> Decision {
        let ends_epoch = match event {
            Event::StepEnd => false,
            Event::EpochEnd => true,
            Event::ValidationEnd | Event::Interrupted(_) | Event::Exception(_) => return Decision::Skip,
        };
        let saves = self.save_at.contains(&facts.step);
        let save = saves.then(SystemTime::now);
        let counters = self.counts.then(Counters::now);
        self.laps.lock().push(Lap { step: facts.step, ended: Instant::now(), ends_epoch, save, counters });
        match saves {
            true => Decision::Save { score: f64::NAN, reason: "measured".to_owned() },
            false => Decision::Skip,
        }
    }
}

impl Laps {
    fn lock(&self) -> MutexGuard<'_, Vec<Lap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps from the end of one to the end of another; `None` where there are none, or an epoch ended among them.
    #[must_use]
    pub fn span(&self, from: u64, to: u64) -> Option<Span> {
        let laps = self.lock();
        let position = |step| laps.iter().position(|lap| lap.step == step);
        let laps = laps.get(position(from)?..=position(to)?).filter(|laps| laps.len() > 1)?;
        if laps.iter().skip(1).any(|lap| lap.ends_epoch) {
            return None;
        }
        let counters = laps.first()?.counters.zip(laps.last()?.counters);
        Some(Span {
            steps: laps.windows(2).map(|pair| pair[1].ended - pair[0].ended).collect(),
            loopback_bytes: counters.and_then(|(first, last)| first.loopback_until(&last)),
            busy: counters.and_then(|(first, last)| first.busy_until(&last)),
        })
    }

    /// What the saves of a run cost, but for one after the last step. Steps before the first save are not counted: a device compiles its kernels in them.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing: no save, no undisturbed step, a file that is not there.
    pub fn save_cost(&self, run_dir: &Path) -> Result<SaveCost, String> {
        let laps = self.lock();
        let mut saves = Vec::new();
        for (index, lap) in laps.iter().enumerate() {
            let Some(asked) = lap.save.filter(|_| index + 1 < laps.len()) else { continue };
            let file = Stopwatch::file(run_dir, lap.step);
            let described = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?;
            let named = named_at(&described).map_err(|error| format!("{}: {error}", file.display()))?;
            let durable = named.duration_since(asked).unwrap_or_default();
            saves.push(Save { index, durable, bytes: described.len() });
        }
        cost(&laps, &saves).ok_or_else(|| "there were too few steps between the saves".to_owned())
    }
}

struct Save {
    /// The lap after which the save was asked for.
    index: usize,
    durable: Duration,
    bytes: u64,
}

/// When a file got its name: renaming it changes its inode. Links made later do too, and this strategy has none.
#[cfg(unix)]
pub(crate) fn named_at(file: &std::fs::Metadata) -> std::io::Result<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let since = Duration::new(
        u64::try_from(file.ctime()).unwrap_or_default(),
        u32::try_from(file.ctime_nsec()).unwrap_or_default(),
    );
    Ok(SystemTime::UNIX_EPOCH + since)
}

/// When a file was last written to, which is a little before it got its name.
#[cfg(not(unix))]
pub(crate) fn named_at(file: &std::fs::Metadata) -> std::io::Result<SystemTime> {
    file.modified()
}

fn cost(laps: &[Lap], saves: &[Save]) -> Option<SaveCost> {
    let first = saves.first()?.index;
    // The step that ends with the lap of that index; what ends an epoch has a validation in it.
    let step = |index: usize| {
        let (before, lap) = (laps.get(index.checked_sub(1)?)?, laps.get(index)?);
        (!lap.ends_epoch).then(|| lap.ended - before.ended)
    };
    let windows: Vec<std::ops::RangeInclusive<usize>> = saves
        .iter()
        .map(|save| {
            let durable = laps[save.index].ended + save.durable;
            let beside = laps[save.index..].iter().take_while(|lap| lap.ended < durable).count();
            save.index + 1..=save.index + beside + 1
        })
        .collect();
    let disturbed = |index: &usize| windows.iter().any(|window| window.contains(index));
    let quiet = median((first + 1..laps.len()).filter(|index| !disturbed(index)).filter_map(step))?;
    let lost = windows.iter().map(|window| {
        window.clone().filter_map(step).map(|step| step.as_secs_f64() - quiet.as_secs_f64()).sum::<f64>()
    });
    let beside = windows.iter().flat_map(|window| (window.start() + 1..*window.end()).filter_map(step));
    Some(SaveCost {
        step: quiet,
        step_with_save: median(windows.iter().filter_map(|window| step(*window.start())))?,
        step_beside_writing: median(beside),
        lost_seconds: median_of(lost, f64::total_cmp)?,
        until_durable: median(saves.iter().map(|save| save.durable))?,
        bytes: saves.last()?.bytes,
        saves: saves.len(),
    })
}

fn median(durations: impl Iterator<Item = Duration>) -> Option<Duration> {
    median_of(durations, Duration::cmp)
}

/// The middle one; of an even number the upper one of the two.
pub(crate) fn median_of<T: Copy>(
    values: impl Iterator<Item = T>,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_by(order);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Laps whose steps take so many milliseconds each.
    fn laps(steps: &[u32]) -> Vec<Lap> {
        let start = Instant::now();
        let mut ended = start;
        let mut step = 0;
        let lap = |milliseconds: &u32| {
            ended += MS * *milliseconds;
            step += 1;
            Lap { step, ended, ends_epoch: false, save: None, counters: None }
        };
        steps.iter().map(lap).collect()
    }

    #[test]
    fn what_steps_beside_the_writing_take_longer_is_lost() {
        // Saved after the second step; durable 35 ms later, in the third step after it, and one more counts.
        let laps = laps(&[500, 10, 17, 12, 12, 11, 10, 10, 10, 10, 10]);
        let cost = cost(&laps, &[Save { index: 1, durable: 35 * MS, bytes: 7 }]).unwrap();
        assert_eq!((cost.step, cost.step_with_save), (10 * MS, 17 * MS));
        assert_eq!(cost.step_beside_writing, Some(12 * MS));
        assert!((cost.lost_seconds - 0.012).abs() < 1e-9, "{}", cost.lost_seconds);
        assert_eq!((cost.bytes, cost.saves, cost.until_durable), (7, 1, 35 * MS));
    }

    #[test]
    fn a_span_is_the_steps_after_one_until_another() {
        let mut noted = laps(&[500, 10, 20, 30, 40]);
        let span = |laps: &[Lap], from, to| Laps(Arc::new(Mutex::new(laps.to_vec()))).span(from, to);
        assert_eq!(span(&noted, 1, 3).unwrap().steps, [10 * MS, 20 * MS]);
        for (from, to) in [(3, 3), (4, 3), (0, 3), (3, 6)] {
            assert!(span(&noted, from, to).is_none(), "{from} {to}");
        }
        noted[3].ends_epoch = true;
        assert!(span(&noted, 1, 3).is_some() && span(&noted, 3, 5).is_none());
    }

    #[test]
    fn a_validation_is_no_step() {
        let mut laps = laps(&[10, 10, 12, 900, 10, 10, 10]);
        laps[3].ends_epoch = true;
        let cost = cost(&laps, &[Save { index: 1, durable: 20 * MS, bytes: 7 }]).unwrap();
        assert_eq!(cost.step, 10 * MS);
        assert!((cost.lost_seconds - 0.002).abs() < 1e-9, "{}", cost.lost_seconds);
    }

    #[test]
    fn without_an_undisturbed_step_nothing_can_be_said() {
        assert!(cost(&laps(&[10, 10, 10]), &[Save { index: 0, durable: 900 * MS, bytes: 7 }]).is_none());
        assert!(cost(&laps(&[10, 10, 10]), &[]).is_none());
    }
}
