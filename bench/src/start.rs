//! `bench-start`: from the start of a process to the first step of a run that it resumes, with one kept
//! checkpoint and with many; and what a save of such a run costs.
//!
//! Each run is made and resumed by processes of their own: this program with a hidden verb.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::optim::AdamConfig;
use burn::train::metric::LossMetric;
use burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use burn_trainer::{Trainer, TrainerConfig};
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::checkpoint::case::Case;
use crate::checkpoint::contenders::training_model::{LayersHparams, learner, loader};
use crate::checkpoint::measurement::now;
use crate::kept;
use crate::measure::kernel_counters::OtherPrograms;
use crate::own_process::{self, train_alone};
use crate::page::figure::milliseconds;
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory};

/// How long the start of a run with many kept checkpoints takes, how much it reads, and what a save costs it
#[derive(Parser)]
#[command(name = "cargo xtask bench start", version)]
struct Args {
    /// The state, SIZE/TENSORS
    #[arg(long, default_value = "10MB/10")]
    case: Case,
    /// Checkpoints that the larger run has
    #[arg(long, default_value_t = 200)]
    kept: usize,
    /// Starts of each run
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// The state whose saves are measured, SIZE/TENSORS
    #[arg(long, default_value = "100kB/4")]
    saved: Case,
    /// Epochs of the runs whose saves are measured: the second keeps a checkpoint of each
    #[arg(long, default_value_t = 1_500)]
    epochs: usize,
    /// Where to write: a directory on the disk whose speed counts; `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// What a process of the program does.
#[derive(Serialize, Deserialize)]
enum Work {
    Start(Task),
    Kept(kept::Task),
}

/// What a process of the program trains: the run in a directory, to this number of epochs of one step.
#[derive(Serialize, Deserialize)]
struct Task {
    dir: PathBuf,
    case: Case,
    epochs: usize,
}

/// What such a process has measured.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Seconds from its start to the first step.
    first_step: f64,
    /// Bytes that it had read when the run was open and its checkpoint verified.
    read: u64,
    /// Seconds from its start to its end.
    end: f64,
    /// Bytes that it had read by its end.
    read_in_all: u64,
}

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    own_process::main(
        || measure(&Args::parse()),
        |work| match work {
            Work::Start(task) => Ok(serde_json::to_value(train(task)?)?),
            Work::Kept(task) => Ok(serde_json::to_value(kept::train(&task)?)?),
        },
    )
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let others = OtherPrograms::watch();
    let mut table = Table::new(&[
        "kept",
        "first step, ms",
        "read to open it, MB",
        "end, ms",
        "read in all, MB",
        "a file, MB",
    ]);
    for kept in [1, args.kept] {
        let dir = tempfile::tempdir_in(&root)?;
        let run = |epochs| {
            let dir = dir.path().to_path_buf();
            train_alone(&Work::Start(Task { dir, case: args.case.clone(), epochs }))
        };
        run(kept)?;
        let mut starts =
            (1..=args.starts).map(|start| run(kept + start)).collect::<Result<Vec<Measured>>>()?;
        starts.sort_by(|a, b| a.first_step.total_cmp(&b.first_step));
        let Some(median) = starts.get(starts.len() / 2) else { return Err("there was no start".into()) };
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        table.row([
            kept.to_string(),
            milliseconds(Some(median.first_step), 0),
            megabytes(median.read),
            milliseconds(Some(median.end), 0),
            megabytes(median.read_in_all),
            megabytes(args.case.state_bytes()),
        ]);
    }
    let kept = kept::table(&root, &args.saved, (args.epochs, &[10, args.epochs]), |task| {
        train_alone(&Work::Kept(task))
    })?;
    println!("{}", Head::new("The start of a run", "start", &root, others));
    println!(
        "The median of {} starts, each in a process of its own. The files are in the page cache.\n",
        args.starts
    );
    println!("{table}\n");
    println!("Saves of a state of {}, of which each epoch waits for the one before.\n", args.saved);
    println!("{kept}");
    Ok(())
}

/// As one of the program's processes.
fn train(task: Task) -> Result<Measured> {
    let begun = now();
    let all = Last::new().with_topk(TopK::All);
    let config = TrainerConfig::new()
        .with_root(&task.dir)
        .with_run_id("run")
        .with_ckpt_path("auto")
        .with_max_epochs(task.epochs)
        .with_strategies([StrategyConfig::Last(all)]);
    let trainer = Trainer::new(config, &LayersHparams::of(&task.case))?;
    // Later the writer's thread reads too, beside training.
    let read = bytes_read()?;
    let training =
        trainer.training(loader(&task.case, 1), loader(&task.case, 1)).metrics((LossMetric::new(),));
    let (learner, clock) = learner(&task.case, AdamConfig::new().init());
    trainer.fit(training, learner)?;
    let first_step = clock.moments().begins.first().copied().ok_or("no step was trained")? - begun;
    Ok(Measured { first_step, read, end: now() - begun, read_in_all: bytes_read()? })
}

/// Bytes that this process has read, by the kernel's count.
fn bytes_read() -> Result<u64> {
    let text = std::fs::read_to_string(Path::new("/proc/self/io"))?;
    let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    Ok(read.ok_or("the kernel does not count bytes")?.parse()?)
}
