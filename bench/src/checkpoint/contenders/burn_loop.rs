//! burn's own training loop, with and without burn's checkpointers, which save at the ends of epochs.

use std::path::{Path, PathBuf};

use burn::optim::AdamConfig;
use burn::store::ModuleRecord;
use burn::train::SupervisedTraining;
use burn::train::metric::LossMetric;
use burn_trainer::process::PlainRenderer;

use crate::checkpoint::case::Case;
use crate::checkpoint::measurement::{
    Measurement, Moment, SaveTimes, Steady, WARM_UP, median, moment, now, written_by_this_process,
};
use crate::checkpoint::task::Task;
use crate::program::Result;

use super::training_model::{Moments, learner, loader};

/// Steps of the epochs that show how long a save takes.
const SHORT: usize = 3;
/// The longest epoch.
const LONGEST: usize = 500;

/// Trains with saves so far apart that each ends before the next begins.
///
/// # Errors
///
/// When burn's files are missing.
pub fn train(task: &Task) -> Result<Measurement> {
    if task.saves == 0 {
        let moments = run(&task.case, 1, WARM_UP + task.quiet_steps() as usize + 8, &task.dir, false).0;
        return Ok(Measurement { begins: moments.begins, ..Measurement::default() });
    }
    let steps = epoch_of(task)?;
    // The first epoch is not counted, and the loop ends after the last one.
    let epochs = task.saves + 2;
    let (without, _) = run(&task.case, epochs, steps, &task.dir.join("without"), false);
    let dir = task.dir.join("with");
    let before = written_by_this_process();
    let (moments, _) = run(&task.case, epochs, steps, &dir, true);
    // Every epoch was saved, also those whose saves are not counted.
    let spent = before.zip(written_by_this_process()).map(|(before, after)| after - before);
    let written_a_save = spent.map(|spent| spent / epochs as u64);
    let mut measured =
        Measurement { begins: moments.begins.clone(), written: written_a_save, ..Measurement::default() };
    measured
        .notes
        .push(format!("burn's checkpointers save at epoch ends, here every {steps} steps, and sync nothing"));
    let last_of_epoch = |epoch: usize| epoch * steps - 1;
    let boundary = |moments: &Moments, epoch: usize| {
        let last = last_of_epoch(epoch);
        Some(moments.begins.get(last + 1)? - moments.begins.get(last)?)
    };
    let boundaries: Vec<f64> = (2..epochs).filter_map(|epoch| boundary(&without, epoch)).collect();
    measured.step_of_save = median(&boundaries);
    // From the end of a validation to the next step: what the loop does there without a save.
    let gap = |moments: &Moments, epoch: usize| {
        Some(moments.begins.get(last_of_epoch(epoch) + 1)? - moments.validated.get(epoch - 1)?)
    };
    let usual: Vec<f64> = (2..epochs).filter_map(|epoch| gap(&without, epoch)).collect();
    let usual = median(&usual).unwrap_or_default();
    let mut durable = Vec::new();
    for epoch in 2..=epochs {
        let asked = *moments.validated.get(epoch - 1).ok_or("burn's loop did not validate")?;
        // burn deletes all but the last two. The others are assumed to have taken as long.
        let written = written(&dir, epoch)?;
        let call = gap(&moments, epoch).map_or(0.0, |gap| (gap - usual).max(0.0));
        let times = SaveTimes { asked, returned: asked + call, durable: asked };
        match (written, epoch == epochs) {
            (Some((at, bytes)), true) => {
                // The clock of the file system is slightly behind.
                let at = at.max(asked);
                measured.idle = Some(SaveTimes { returned: at, durable: at, ..times });
                measured.bytes = Some(bytes);
            }
            (Some((at, _)), false) => {
                durable.push((at - asked).max(call));
                measured.saves.push(times);
            }
            (None, _) => measured.saves.push(times),
        }
    }
    let durable = median(&durable).ok_or("burn's files of the last epoch but one are missing")?;
    for save in &mut measured.saves {
        save.durable = save.asked + durable;
    }
    Ok(measured)
}

/// Trains with saves every few steps.
///
/// # Errors
///
/// When the loop did not take the steps.
pub fn train_steadily(task: &Task, every: usize) -> Result<Measurement> {
    let epochs = task.saves + 3;
    let span = |moments: &Moments| {
        let begin = |epoch: usize| moments.begins.get(epoch * every).copied();
        // From the third save on, one is being written and one is queued.
        begin(epochs - 1).zip(begin(2)).map(|(last, third)| last - third).ok_or("burn's loop ended early")
    };
    let (without, _) = run(&task.case, epochs, every, &task.dir.join("without"), false);
    let (with, _) = run(&task.case, epochs, every, &task.dir.join("with"), true);
    let saves = epochs - 3;
    let lost = (span(&with)? - span(&without)?) / saves as f64;
    let steps: Vec<f64> = without.begins.windows(2).skip(WARM_UP).map(|pair| pair[1] - pair[0]).collect();
    let step = median(&steps).unwrap_or_default();
    let steady = Steady { every: every as u64, saves, step, lost, skipped: 0 };
    Ok(Measurement { steady: Some(steady), begins: with.begins, ..Measurement::default() })
}

/// The newest model that burn's own checkpointer saved.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub fn newest_model(dir: &Path) -> Result<ModuleRecord> {
    let mut newest: Option<(usize, PathBuf)> = None;
    for entry in std::fs::read_dir(dir.join("with").join("checkpoint"))? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let Some(epoch) = stem.strip_prefix("model-").and_then(|epoch| epoch.parse().ok()) else { continue };
        newest = newest.max(Some((epoch, path)));
    }
    let (_, path) = newest.ok_or("burn's loop saved no model")?;
    Ok(ModuleRecord::load(path)?)
}

/// Steps of an epoch: one and a half times the steps that a save takes, and some more.
fn epoch_of(task: &Task) -> Result<usize> {
    let dir = task.dir.join("first");
    let (moments, end) = run(&task.case, 2, SHORT, &dir, true);
    std::fs::remove_dir_all(&dir)?;
    let asked = moments.validated.last().ok_or("burn's loop did not validate")?;
    let steps: Vec<f64> = moments.begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let step = steps.iter().copied().fold(f64::INFINITY, f64::min).max(1e-6);
    // At most LONGEST, whatever the quotient is.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let beside = (1.5 * (end - asked) / step).clamp(1.0, LONGEST as f64) as usize;
    Ok(beside + 6)
}

/// Trains a fresh model. Returns the moments of its steps, and the moment when everything was done.
fn run(case: &Case, epochs: usize, steps: usize, dir: &Path, saves: bool) -> (Moments, Moment) {
    let training = SupervisedTraining::new(dir, loader(case, steps), loader(case, 1))
        .renderer(Box::new(PlainRenderer::new()))
        .with_application_logger(None)
        .metrics((LossMetric::new(),))
        .num_epochs(epochs);
    let training = if saves { training.with_default_checkpointers() } else { training };
    let (learner, clock) = learner(case, AdamConfig::new().init());
    drop(training.launch(learner));
    (clock.moments(), now())
}

/// When the files of an epoch were complete, and their size; `None` when they were deleted.
fn written(dir: &Path, epoch: usize) -> Result<Option<(Moment, u64)>> {
    let mut found: Option<(Moment, u64)> = None;
    for entry in std::fs::read_dir(dir.join("checkpoint"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('.').is_some_and(|(stem, _)| stem.ends_with(&format!("-{epoch}"))) {
            let file = entry.metadata()?;
            let at = moment(file.modified()?);
            let (latest, bytes) = found.unwrap_or((at, 0));
            found = Some((latest.max(at), bytes + file.len()));
        }
    }
    Ok(found)
}
