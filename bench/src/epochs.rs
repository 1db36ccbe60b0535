//! `bench-epochs`: a run of very many epochs of one batch, each of which is saved. What an epoch takes, how
//! large its checkpoint is, and how much memory the process has, early in the run and at its end; and how
//! long a resume takes then.
//!
//! The run and its resume are processes of their own: this program with a hidden verb.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use burn::optim::AdamConfig;
use burn::train::LearnerModel;
use burn::train::metric::{LearningRateMetric, LossMetric};
use burn_environment::ProcessMemory;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult, LoggedScalar};
use burn_trainer::process::PlainRenderer;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use clap::Parser;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::checkpoint::case::Case;
use crate::checkpoint::contenders::training_model::{LayersHparams, learner, loader};
use crate::checkpoint::measurement::now;
use crate::measure::kernel_counters::{self, OtherPrograms};
use crate::own_process::{self, train_alone};
use crate::page::figure::milliseconds;
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory};

/// The scalars that a callback logs: with the loss and the learning rate, four metrics.
const SCALARS: [&str; 2] = ["first", "second"];

/// How much an epoch takes after very many of them, compared with the first ones
#[derive(Parser)]
#[command(name = "cargo xtask bench epochs", version)]
struct Args {
    /// Epochs of the run, of one batch and one validation batch each
    #[arg(long, default_value_t = 30_000)]
    epochs: usize,
    /// Epochs over which times are taken; the first so many are left out
    #[arg(long, default_value_t = 1_000)]
    window: usize,
    /// The state, SIZE/TENSORS
    #[arg(long, default_value = "30kB/2")]
    case: Case,
    /// Where to write: a directory on the disk whose speed counts; `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// What a process of the program trains: the run in a directory, up to this number of epochs.
#[derive(Serialize, Deserialize)]
struct Task {
    dir: PathBuf,
    case: Case,
    epochs: usize,
    window: usize,
}

/// What such a process has measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Seconds from its start to the first step.
    first_step: f64,
    windows: Vec<Window>,
}

/// Some epochs.
#[derive(Clone, Serialize, Deserialize)]
struct Window {
    /// The last one.
    epochs: u64,
    /// Seconds of each.
    epoch: f64,
    /// Seconds that the processors worked for each: other programs change these less.
    cpu: f64,
    /// Of the newest checkpoint.
    bytes: u64,
    /// Bytes of the process that are in memory.
    resident: u64,
}

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    own_process::main(|| measure(&Args::parse()), train)
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let others = OtherPrograms::watch();
    let dir = tempfile::tempdir_in(&root)?;
    let run = |epochs| -> Result<Measured> {
        let (dir, case) = (dir.path().to_path_buf(), args.case.clone());
        train_alone(&Task { dir, case, epochs, window: args.window })
    };
    let windows = run(args.epochs)?.windows;
    let resumed = run(args.epochs + 1)?;
    let (Some(first), Some(last)) = (windows.get(1), windows.last()) else {
        return Err("there are fewer epochs than two windows".into());
    };
    let mut table = Table::new(&[
        "epochs done",
        "an epoch, ms",
        "processor time, ms",
        "a checkpoint, KB",
        "in memory, MB",
    ]);
    for window in [first, &windows[windows.len() / 2], last] {
        table.row([
            window.epochs.to_string(),
            milliseconds(Some(window.epoch), 2),
            milliseconds(Some(window.cpu), 2),
            format!("{:.1}", window.bytes as f64 / 1e3),
            format!("{:.1}", window.resident as f64 / 1e6),
        ]);
    }
    let between = (last.epochs - first.epochs).max(1) as f64;
    let growth = |of: fn(&Window) -> u64| (of(last) as f64 - of(first) as f64) / between;
    println!("{}", Head::new("Very many epochs", "epochs", &root, others));
    println!(
        "{} epochs of one batch and one validation batch, with 4 metrics, each saved, without burn's metric files. Times are means over \
         {} epochs.\n",
        args.epochs, args.window
    );
    println!("{table}\n");
    println!(
        "The last epochs take {:.3} times as long as the first, and {:.3} times the processor time. Per epoch a checkpoint grows by {:.1} bytes, and memory by {:.0} bytes. \
         A resume after the last epoch begins its first step {} ms after its process.",
        last.epoch / first.epoch,
        last.cpu / first.cpu,
        growth(|window| window.bytes),
        growth(|window| window.resident),
        milliseconds(Some(resumed.first_step), 0)
    );
    Ok(())
}

/// As one of the program's processes.
fn train(task: Task) -> Result<Measured> {
    let started = now();
    let config = TrainerConfig::new()
        .with_root(&task.dir)
        .with_run_id("run")
        .with_ckpt_path("auto")
        .with_max_epochs(task.epochs)
        .with_metric_files(false)
        .with_strategies([StrategyConfig::Last(Last::new())]);
    let windows = Windows::default();
    let newest = task.dir.join("burn_trainer_logs/run/checkpoint/last.ckpt");
    let window = task.window as u64;
    let (begun, worked) = (now(), processor_time()?);
    let watch = EpochWatch { newest, window, begun, worked, windows: Arc::clone(&windows) };
    let trainer = Trainer::new(config, &LayersHparams::of(&task.case))?.callback(watch);
    let training = trainer
        .training(loader(&task.case, 1), loader(&task.case, 1))
        .metrics((LossMetric::new(),))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(PlainRenderer::hidden()));
    let (learner, clock) = learner(&task.case, AdamConfig::new().init());
    trainer.fit(training, learner)?;
    let first_step = clock.moments().begins.first().copied().ok_or("no step was trained")? - started;
    let windows = windows.lock().clone();
    Ok(Measured { first_step, windows })
}

type Windows = Arc<Mutex<Vec<Window>>>;

/// Logs two scalars in each step, and measures the epochs.
struct EpochWatch {
    /// The link to the newest checkpoint.
    newest: PathBuf,
    window: u64,
    begun: f64,
    /// The processor time until then, in seconds.
    worked: f64,
    windows: Windows,
}

fn processor_time() -> std::result::Result<f64, &'static str> {
    kernel_counters::processor_time().ok_or("the kernel does not count the time of processors")
}

impl<M: LearnerModel> Callback<M> for EpochWatch {
    fn name(&self) -> String {
        "epoch_watch".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        SCALARS.map(LoggedScalar::of_training).to_vec()
    }

    fn on_train_step_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let step = context.global_step() as f64;
        for (name, value) in SCALARS.into_iter().zip([step.sqrt(), 1.0 / step]) {
            context.log(name, value)?;
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, context: &mut CallbackContext<'_, M>) -> CallbackResult {
        let epochs = context.epoch() + 1;
        if epochs.is_multiple_of(self.window) {
            let (now, worked) = (now(), processor_time()?);
            let epoch = (now - std::mem::replace(&mut self.begun, now)) / self.window as f64;
            let cpu = (worked - std::mem::replace(&mut self.worked, worked)) / self.window as f64;
            let bytes = std::fs::metadata(&self.newest)?.len();
            let resident = ProcessMemory::now().ok_or("the kernel does not count memory")?.resident;
            self.windows.lock().push(Window { epochs, epoch, cpu, bytes, resident });
        }
        Ok(())
    }
}
