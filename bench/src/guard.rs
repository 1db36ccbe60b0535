//! `bench-guard`: the steps of one run of char-lm, without the gradient guard and with it, in turns.
//!
//! In turns within a run, so that the machine's other work, its temperature and the state of the model are
//! the same for all. A callback takes the times, and passes what the loop tells it to the guard of the turn.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use backend::DeviceArgs;
use burn::train::SequenceOutput;
use burn_environment::device_name;
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{
    Callback, CallbackContext, CallbackResult, GradientGuard, Gradients, LoggedScalar,
};
use char_lm::{CharLm, CharLmConfig, Size};
use clap::Parser;
use parking_lot::Mutex;

use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::timing::median;
use crate::page::figure::milliseconds;
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory, exit_code};
use crate::training_jobs::{CharLmJob, Job, parse_size};

/// Steps of a turn. The first is not counted: it follows the work of another turn.
const STEPS: usize = 4;
/// What is measured in turns, the first as what the others are compared with.
const ARMS: [&str; 3] = ["no guard", "checked after the step", "checked before the step"];

/// What the gradient guard costs a step
#[derive(Parser)]
#[command(name = "cargo xtask bench guard", version)]
struct Args {
    #[command(flatten)]
    devices: DeviceArgs,
    /// The size of char-lm
    #[arg(long, default_value = "small", value_parser = parse_size)]
    size: Size,
    /// How often each way has its turn of 4 steps, of which 3 are counted
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Where to write: `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// The program: measures and prints the page.
#[must_use]
pub fn main() -> ExitCode {
    exit_code(measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let dir = tempfile::tempdir_in(&root)?;
    let devices = args.devices.devices()?;
    let others = OtherPrograms::watch();
    let steps = args.rounds.max(1) * ARMS.len() * STEPS;
    let hparams = CharLmConfig::new().with_size(args.size);
    let batch = hparams.batch_size;
    let job = CharLmJob::new(hparams.with_windows_per_epoch(steps * batch).with_valid_windows(batch));
    let times = Times::default();
    let config = TrainerConfig::new()
        .with_root(dir.path())
        .with_run_id("guard")
        .with_max_epochs(1)
        .with_checkpoint_saving(false);
    job.train_by(config, &devices, |trainer| trainer.callback(Turns::new(&times)))?;
    println!("{}", Head::new("The gradient guard", "guard", &root, others));
    let device = devices.first().map(device_name).unwrap_or_default();
    println!(
        "{}, {device}; {} steps each, in turns of {STEPS} in one run.\n",
        job.name(),
        args.rounds * (STEPS - 1)
    );
    println!("{}", table(&times.lock()));
    println!("\nWaits: how often a step waits for a value of its own, on this thread.");
    Ok(())
}

/// The median of each way, and its ratio to that without a guard.
fn table(steps: &[Steps; ARMS.len()]) -> Table {
    let mut table = Table::new(&["gradients", "step, ms (median)", "ratio", "waits a step"]);
    let medians = steps.each_ref().map(|steps| median(&steps.seconds));
    for ((name, seconds), steps) in ARMS.into_iter().zip(medians).zip(steps) {
        let ratio = seconds.zip(medians[0]).map(|(with, without)| format!("{:.4}", with / without));
        let waits = steps.waits as f64 / steps.count.max(1) as f64;
        table.row([
            name.to_owned(),
            milliseconds(seconds, 2),
            ratio.unwrap_or_default(),
            format!("{waits:.2}"),
        ]);
    }
    table
}

/// The steps of a way.
#[derive(Default)]
struct Steps {
    /// Of those that are counted.
    seconds: Vec<f64>,
    /// All of them.
    count: u64,
    /// How often the loop has waited in them.
    waits: u64,
}

/// The steps of each way.
type Times = Arc<Mutex<[Steps; ARMS.len()]>>;

/// The guards in turns.
struct Turns {
    after: GradientGuard,
    before: GradientGuard,
    /// Steps done.
    steps: usize,
    ended: Instant,
    /// How often both guards have waited.
    waits: u64,
    times: Times,
}

impl Turns {
    fn new(times: &Times) -> Self {
        let guard = |before| GradientGuard::new().with_clip_norm(1.0).with_checks_before_step(before);
        let times = Arc::clone(times);
        Self { after: guard(false), before: guard(true), steps: 0, ended: Instant::now(), waits: 0, times }
    }

    /// Whose turn the next step is.
    fn arm(&self) -> usize {
        self.steps / STEPS % ARMS.len()
    }

    fn guard(&mut self) -> Option<&mut GradientGuard> {
        match self.arm() {
            0 => None,
            1 => Some(&mut self.after),
            _ => Some(&mut self.before),
        }
    }
}

impl Callback<CharLm> for Turns {
    fn name(&self) -> String {
        "turns".to_owned()
    }

    fn scalars(&self) -> Vec<LoggedScalar> {
        Callback::<CharLm>::scalars(&self.after)
    }

    fn on_fit_start(&mut self, context: &mut CallbackContext<'_, CharLm>) -> CallbackResult {
        self.after.on_fit_start(context)?;
        self.before.on_fit_start(context)
    }

    fn on_train_batch_end(
        &mut self,
        context: &mut CallbackContext<'_, CharLm>,
        output: &SequenceOutput,
    ) -> CallbackResult {
        self.guard().map_or(Ok(()), |guard| guard.on_train_batch_end(context, output))
    }

    fn on_before_optimizer_step(
        &mut self,
        context: &mut CallbackContext<'_, CharLm>,
        gradients: &mut Gradients<'_, CharLm>,
    ) -> CallbackResult {
        self.guard().map_or(Ok(()), |guard| guard.on_before_optimizer_step(context, gradients))
    }

    fn on_train_step_end(&mut self, _: &mut CallbackContext<'_, CharLm>) -> CallbackResult {
        let (now, arm) = (Instant::now(), self.arm());
        let waits = self.after.waits() + self.before.waits();
        let mut times = self.times.lock();
        times[arm].count += 1;
        times[arm].waits += waits - self.waits;
        if !self.steps.is_multiple_of(STEPS) {
            times[arm].seconds.push(now.duration_since(self.ended).as_secs_f64());
        }
        drop(times);
        self.waits = waits;
        (self.ended, self.steps) = (now, self.steps + 1);
        Ok(())
    }

    fn on_fit_end(&mut self, context: &mut CallbackContext<'_, CharLm>) -> CallbackResult {
        self.after.on_fit_end(context)
    }
}
