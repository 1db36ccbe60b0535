//! A strategy that notes when each optimizer step ends, saves after some steps, and computes afterwards what
//! that cost.
//!
//! `save_cost.rs` has the rule that turns the moments into a cost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use burn::tensor::Device;
use burn_ckpt::retention::{KeepRule, TopK};
use burn_trainer::strategy::{CheckpointOutput, RunProgress, SaveDecision, Strategy, TrainingEvent};
use parking_lot::Mutex;

use crate::measure::kernel_counters::Counters;
use crate::measure::save_cost::{self, Cost, Moments, SaveTimes};

/// The strategy's directory below the run's `checkpoint`.
const DIRECTORY: &str = "watched";

/// The strategy.
pub struct Stopwatch {
    save_at: BTreeSet<u64>,
    counts: bool,
    /// The device that has to finish what it was given before a time is taken.
    device: Option<Device>,
    laps: Laps,
}

/// What a [`Stopwatch`] noted, to be read when the run is over.
#[derive(Clone, Default)]
pub struct Laps(Arc<Mutex<Vec<Lap>>>);

#[derive(Debug, Clone, Copy)]
struct Lap {
    step: u64,
    ended: Instant,
    /// The step ended an epoch, so that a validation lies before this moment.
    ends_epoch: bool,
    /// When a save was requested after this step, by the clock that dates files.
    save: Option<SystemTime>,
    /// The kernel's counters, where the stopwatch reads them.
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

/// What saving cost a run.
#[derive(Debug, Clone, Copy)]
pub struct SaveCost {
    /// The times, medians over the saves.
    pub times: Cost,
    /// Size of the last file.
    pub bytes: u64,
}

impl Stopwatch {
    /// Saves after these optimizer steps of a run.
    #[must_use]
    pub fn saving_at(steps: impl IntoIterator<Item = u64>) -> (Self, Laps) {
        let laps = Laps::default();
        let save_at = steps.into_iter().collect();
        (Self { save_at, counts: false, device: None, laps: laps.clone() }, laps)
    }

    /// Reads the kernel's counters after every step too.
    #[must_use]
    pub fn counting(self) -> Self {
        Self { counts: true, ..self }
    }

    /// Waits at the end of every step until the device has finished it: a GPU computes behind the loop, whose
    /// own times say little.
    #[must_use]
    pub fn waiting_for(self, device: &Device) -> Self {
        Self { device: Some(device.clone()), ..self }
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

    fn keep(&self) -> KeepRule {
        KeepRule::Newest(TopK::All)
    }

    fn output(&self) -> CheckpointOutput {
        CheckpointOutput::new(DIRECTORY).with_filename("{step}")
    }

    fn decide(&mut self, event: &TrainingEvent<'_>, progress: &RunProgress<'_>) -> SaveDecision {
        let ends_epoch = match event {
            TrainingEvent::StepEnd => false,
            TrainingEvent::EpochEnd => true,
            _ => return SaveDecision::Skip,
        };
        if let Some(device) = &self.device {
            // A device that cannot do it shows that in the loop.
            let _ = device.sync();
        }
        let saves = self.save_at.contains(&progress.step);
        let save = saves.then(SystemTime::now);
        let counters = self.counts.then(Counters::now);
        self.laps.0.lock().push(Lap {
            step: progress.step,
            ended: Instant::now(),
            ends_epoch,
            save,
            counters,
        });
        match saves {
            true => SaveDecision::Save { score: f64::NAN, reason: "measured".to_owned() },
            false => SaveDecision::Skip,
        }
    }
}

impl Laps {
    /// The steps from the end of one to the end of another; `None` where there are none, or an epoch ended
    /// among them.
    #[must_use]
    pub fn span(&self, from: u64, to: u64) -> Option<Span> {
        let laps = self.0.lock();
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

    /// What the saves of a run cost, but for one after the last step. The first so many steps of the run are
    /// not counted: a device compiles its kernels in them.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing: no save, no undisturbed step, a file that is not there.
    pub fn save_cost(&self, run_dir: &Path, warm_up: u64) -> Result<SaveCost, String> {
        let laps = self.0.lock();
        let mut saves = Vec::new();
        for (index, lap) in laps.iter().enumerate() {
            let Some(asked) = lap.save.filter(|_| index + 1 < laps.len()) else { continue };
            let file = Stopwatch::file(run_dir, lap.step);
            let described = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?;
            let named = named_at(&described).map_err(|error| format!("{}: {error}", file.display()))?;
            let durable = named.duration_since(asked).unwrap_or_default();
            saves.push(Save { index, durable, bytes: described.len() });
        }
        cost(&laps, &saves, warm_up).ok_or_else(|| too_few_steps(&laps, &saves))
    }
}

struct Save {
    /// The lap after which the save was asked for.
    index: usize,
    durable: Duration,
    bytes: u64,
}

/// When a file got its name: renaming it changes its inode. Links made later do too, and this strategy has
/// none.
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

/// Why nothing can be said of the cost.
fn too_few_steps(laps: &[Lap], saves: &[Save]) -> String {
    let slowest = saves.iter().max_by_key(|save| save.durable);
    let after = slowest.map(|save| {
        let beside = laps.len() - save.index - 1;
        let seconds = save.durable.as_secs_f64();
        format!("; a save was durable after {seconds:.1} s, and the run ended {beside} steps after it was asked for")
    });
    format!("there were too few steps after the saves or between them{}", after.unwrap_or_default())
}

fn cost(laps: &[Lap], saves: &[Save], warm_up: u64) -> Option<SaveCost> {
    let start = laps.first()?.ended;
    let moment = |lap: &Lap| (lap.ended - start).as_secs_f64();
    let asked = |save: &Save| {
        let asked = laps.get(save.index).map(moment)?;
        Some(SaveTimes { asked, returned: asked, durable: asked + save.durable.as_secs_f64() })
    };
    let begins: Vec<f64> = laps.iter().map(moment).collect();
    let times = saves.iter().map(asked).collect::<Option<Vec<SaveTimes>>>()?;
    // The step that ends with the next lap.
    let no_steps: Vec<usize> =
        laps.iter().skip(1).enumerate().filter(|(_, lap)| lap.ends_epoch).map(|(index, _)| index).collect();
    let moments = Moments {
        begins: &begins,
        saves: &times,
        warm_up: laps.partition_point(|lap| lap.step < warm_up),
        no_steps: &no_steps,
        step_of_save: None,
    };
    Some(SaveCost { times: save_cost::cost(&moments)?, bytes: saves.last()?.bytes })
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
        let cost = cost(&laps, &[Save { index: 1, durable: 35 * MS, bytes: 7 }], 2).unwrap();
        let times = cost.times;
        let is = |seconds: f64, expected: f64| assert!((seconds - expected).abs() < 1e-9, "{times:?}");
        is(times.step, 0.010);
        is(times.step_of_save.unwrap(), 0.017);
        is(times.step_beside.unwrap(), 0.012);
        is(times.lost, 0.012);
        is(times.durable, 0.035);
        assert_eq!((cost.bytes, times.saves), (7, 1));
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
    fn a_validation_does_not_count_as_a_step() {
        let mut laps = laps(&[10, 10, 12, 900, 10, 10, 10]);
        laps[3].ends_epoch = true;
        let cost = cost(&laps, &[Save { index: 1, durable: 20 * MS, bytes: 7 }], 2).unwrap();
        assert!((cost.times.step - 0.010).abs() < 1e-9, "{cost:?}");
        assert!((cost.times.lost - 0.002).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn steps_before_the_first_save_are_undisturbed_ones_after_the_warm_up() {
        // Durable in the last step but one, so that there is no other.
        let noted = laps(&[500, 300, 10, 10, 17, 12, 11]);
        let save = |durable| Save { index: 3, durable, bytes: 7 };
        let found = cost(&noted, &[save(20 * MS)], 2).unwrap();
        assert!((found.times.step - 0.010).abs() < 1e-9, "{found:?}");
        assert!(cost(&noted, &[save(20 * MS)], 4).is_none(), "all are warm-up or disturbed");
        let late = save(70_000 * MS);
        assert!(cost(&noted, std::slice::from_ref(&late), 2).is_none());
        let said = too_few_steps(&noted, &[late]);
        assert!(said.contains("70.0 s") && said.contains("3 steps"), "{said}");
    }

    #[test]
    fn without_an_undisturbed_step_nothing_can_be_said() {
        assert!(cost(&laps(&[10, 10, 10]), &[Save { index: 0, durable: 900 * MS, bytes: 7 }], 0).is_none());
        assert!(cost(&laps(&[10, 10, 10]), &[], 0).is_none());
    }
}
