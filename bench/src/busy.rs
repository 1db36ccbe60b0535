//! `bench-busy`: a run that saves at every step, on an idle machine and beside busy processes. What its steps
//! take with saves and without, and how long the longest save takes.
//!
//! A program of the ordinary priority is slower beside busy processes too: the run without saves shows by how
//! much. What a save is slower than that is the work of the priority that its digests are computed at.
//!
//! Runs and busy processes are processes of their own: this program with a hidden verb.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn_trainer::config::WhenBusy;
use burn_trainer::optimizer::InitStreamed;
use burn_trainer::process::PlainRenderer;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::checkpoint::case::Case;
use crate::checkpoint::contenders::training_model::{LayersHparams, learner, loader};
use crate::checkpoint::measurement::now;
use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::timing::median;
use crate::own_process::{self, own, train_alone};
use crate::page::figure::{figure, milliseconds};
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory};

/// What saves cost beside busy processes
#[derive(Parser)]
#[command(name = "cargo xtask bench busy", version)]
struct Args {
    /// Processes that compute without a pause
    #[arg(long, default_value_t = 6)]
    processes: usize,
    /// Steps of a run, each of which is saved
    #[arg(long, default_value_t = 24)]
    steps: u64,
    /// The state, SIZE/TENSORS
    #[arg(long, default_value = "12MB/12")]
    case: Case,
    /// How often each run is trained; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where to write: a directory on the disk whose speed counts; `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// What a process of the program does.
#[derive(Serialize, Deserialize)]
enum Task {
    /// Trains a run.
    Train { dir: PathBuf, case: Case, steps: u64, saves: Option<WhenBusy> },
    /// Keeps a processor busy, until its standard input ends: also where this program is killed.
    Compute,
}

/// What such a process has measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Seconds from the first step until the run has ended, its saves included.
    run: f64,
    saves: u64,
    /// Seconds of the longest save.
    longest_save: Option<f64>,
}

/// The runs, the first as what the others are compared with.
const RUNS: [(&str, Option<WhenBusy>); 3] = [
    ("no saves", None),
    ("every step, the loop waits", Some(WhenBusy::Wait)),
    ("every step, skipped while one is written", Some(WhenBusy::Skip)),
];

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    own_process::main(|| measure(&Args::parse()), work)
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    // The busy processes are this program's own.
    let others = OtherPrograms::watch();
    // In turns, so that the machine's other work is the same for all.
    let mut measured: [[Vec<Measured>; 2]; RUNS.len()] = Default::default();
    for _ in 0..args.rounds.max(1) {
        for ((_, saves), [idle, beside]) in RUNS.into_iter().zip(&mut measured) {
            idle.push(run(args, &root, saves)?);
            let processes = (0..args.processes).map(|_| BusyProcess::start());
            let processes = processes.collect::<Result<Vec<_>>>()?;
            beside.push(run(args, &root, saves)?);
            drop(processes);
        }
    }
    println!("{}", Head::new("Saves beside busy processes", "busy", &root, others));
    println!(
        "{} steps with a state of {}, and {} processes that compute without a pause. Medians of {} runs each, in turns. Times of a run \
         are from its first step until its last save is durable. *Slowed down* is the time beside the processes over that on the idle machine.\n",
        args.steps,
        args.case.name,
        args.processes,
        args.rounds.max(1)
    );
    println!("{}", table(&measured));
    Ok(())
}

fn run(args: &Args, root: &Path, saves: Option<WhenBusy>) -> Result<Measured> {
    let dir = tempfile::tempdir_in(root)?;
    let (case, steps) = (args.case.clone(), args.steps);
    train_alone(&Task::Train { dir: dir.path().to_path_buf(), case, steps, saves })
}

fn table(measured: &[[Vec<Measured>; 2]; RUNS.len()]) -> Table {
    let mut table = Table::new(&[
        "saves",
        "idle, ms",
        "beside, ms",
        "slowed down",
        "saves made: idle",
        "beside",
        "longest save, ms: idle",
        "beside",
        "slowed down",
    ]);
    let ratio = |beside: Option<f64>, idle: Option<f64>| {
        figure(beside.zip(idle).map(|(beside, idle)| beside / idle), 2)
    };
    for ((name, _), arms) in RUNS.into_iter().zip(measured) {
        let [idle, beside] = arms.each_ref().map(|runs| median_of(runs, |run| Some(run.run)));
        let saves = arms.each_ref().map(|runs| median_of(runs, |run| Some(run.saves as f64)));
        let longest = arms.each_ref().map(|runs| median_of(runs, |run| run.longest_save));
        table.row([
            name.to_owned(),
            milliseconds(idle, 0),
            milliseconds(beside, 0),
            ratio(beside, idle),
            figure(saves[0], 0),
            figure(saves[1], 0),
            milliseconds(longest[0], 1),
            milliseconds(longest[1], 1),
            ratio(longest[1], longest[0]),
        ]);
    }
    table
}

fn median_of(runs: &[Measured], value: fn(&Measured) -> Option<f64>) -> Option<f64> {
    median(&runs.iter().filter_map(value).collect::<Vec<_>>())
}

/// A process that computes until this is dropped.
struct BusyProcess(Child);

impl BusyProcess {
    fn start() -> Result<Self> {
        Ok(Self(own(&Task::Compute)?.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for BusyProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As one of the program's processes.
fn work(task: Task) -> Result<Measured> {
    match task {
        Task::Train { dir, case, steps, saves } => train(&dir, &case, steps, saves),
        Task::Compute => compute(),
    }
}

fn compute() -> ! {
    std::thread::spawn(|| {
        let mut nothing = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut nothing);
        std::process::exit(0);
    });
    loop {
        std::hint::spin_loop();
    }
}

fn train(dir: &Path, case: &Case, steps: u64, saves: Option<WhenBusy>) -> Result<Measured> {
    let config = TrainerConfig::new()
        .with_root(dir)
        .with_run_id("run")
        .with_max_epochs(1)
        .with_when_busy(saves.unwrap_or(WhenBusy::Wait))
        .with_checkpoint_saving(saves.is_some())
        .with_strategies([StrategyConfig::Last(Last::new().with_every_n_steps(1))]);
    let trainer = Trainer::new(config, &LayersHparams::of(case))?;
    let training = trainer
        .training(loader(case, usize::try_from(steps)?), loader(case, 1))
        .metrics((LossMetric::new(),))
        .renderer(Box::new(PlainRenderer::hidden()));
    let (learner, clock) = learner(case, AdamConfig::new().init_streamed());
    let result = trainer.fit(training, learner)?;
    let first = clock.moments().begins.first().copied().ok_or("no step was trained")?;
    Ok(Measured {
        run: now() - first,
        saves: result.saves,
        longest_save: result.longest_save.map(|longest| longest.as_secs_f64()),
    })
}
