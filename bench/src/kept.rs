//! What a save costs by how many checkpoints the run keeps, and how much memory their listing takes: a part
//! of `bench-start`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use serde::{Deserialize, Serialize};

use crate::checkpoint::case::Case;
use crate::checkpoint::contenders::training_model::{LayersHparams, learner, loader};
use crate::page::figure::milliseconds;
use crate::page::table::Table;
use crate::program::Result;

/// Over so many of the last epochs a save is measured.
const WINDOW: usize = 20;

/// What a process of the program trains: a run of so many epochs of one step, which keeps so many
/// checkpoints.
#[derive(Serialize, Deserialize)]
pub(crate) struct Task {
    dir: PathBuf,
    case: Case,
    epochs: usize,
    kept: usize,
}

/// Seconds of an epoch, each of which waits for the save of the one before.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    epoch: f64,
}

/// A line for each number of checkpoints that a run keeps, of runs of equally many epochs. `train_alone` is
/// [`train`] in a process of its own.
pub(crate) fn table(
    root: &Path,
    case: &Case,
    (epochs, kept): (usize, &[usize]),
    train_alone: impl Fn(Task) -> Result<Measured>,
) -> Result<Table> {
    let mut table = Table::new(&[
        "epochs",
        "kept",
        "a save, ms",
        "`burn-ckpt ls`, MB in memory",
        "KB of them a checkpoint",
    ]);
    let mut least: Option<(usize, u64)> = None;
    for kept in kept {
        let dir = tempfile::tempdir_in(root)?;
        let task = Task { dir: dir.path().to_path_buf(), case: case.clone(), epochs, kept: *kept };
        let Measured { epoch } = train_alone(task)?;
        let bytes = memory_of_listing(dir.path())?;
        let (first, first_bytes) = *least.get_or_insert((*kept, bytes));
        let each = match kept.saturating_sub(first) {
            0 => String::new(),
            more => format!("{:.1}", bytes.saturating_sub(first_bytes) as f64 / more as f64 / 1e3),
        };
        let megabytes = format!("{:.1}", bytes as f64 / 1e6);
        table.row([epochs.to_string(), kept.to_string(), milliseconds(Some(epoch), 1), megabytes, each]);
    }
    Ok(table)
}

/// As one of the program's processes.
pub(crate) fn train(task: &Task) -> Result<Measured> {
    let newest = Last::new().with_topk(TopK::Count(task.kept));
    let config = TrainerConfig::new()
        .with_root(&task.dir)
        .with_run_id("run")
        .with_max_waiting_saves(0)
        .with_max_epochs(task.epochs)
        .with_strategies([StrategyConfig::Last(newest)]);
    let trainer = Trainer::new(config, &LayersHparams::of(&task.case))?;
    let training =
        trainer.training(loader(&task.case, 1), loader(&task.case, 1)).metrics((LossMetric::new(),));
    let (learner, clock) = learner(&task.case, AdamConfig::new().init());
    trainer.fit(training, learner)?;
    let begins = clock.moments().begins;
    let window = WINDOW.min(begins.len().saturating_sub(1)).max(1);
    let of = |place: usize| begins.get(place).copied().ok_or("too few steps were trained");
    let last = begins.len().saturating_sub(1);
    Ok(Measured { epoch: (of(last)? - of(last.saturating_sub(window))?) / window as f64 })
}

/// The most bytes in memory that the program `burn-ckpt`, which lies beside this one, has while it lists all
/// checkpoints of a run.
fn memory_of_listing(root: &Path) -> Result<u64> {
    let program = std::env::current_exe()?.with_file_name("burn-ckpt");
    let run = root.join("burn_trainer_logs/run");
    let mut listing = Command::new(program).arg("ls").arg(run).arg("--all").stdout(Stdio::null()).spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", listing.id()));
    let mut most = 0;
    let ended = loop {
        // The kernel's own maximum so far, in kB. It is gone when the process has ended.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        most = peak.and_then(|peak| peak.trim().parse::<u64>().ok()).map_or(most, |peak| peak.max(most));
        match listing.try_wait()? {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    if !ended.success() || most == 0 {
        return Err(format!("burn-ckpt ls: {ended}").into());
    }
    Ok(most * 1024)
}
