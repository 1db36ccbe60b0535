//! `bench-checkpoint`: what saving and loading a checkpoint cost, compared with the peers, in one run on one
//! machine.
//!
//! | file | has |
//! |---|---|
//! | `case.rs` | how large the state is |
//! | `contender.rs` | who takes part |
//! | `task.rs`, `child_process.rs` | each contender runs in processes of its own |
//! | `run_task.rs`, `contenders/` | what such a process does; `../../peers/*.py` are the peers in Python |
//! | `measurement.rs` | what such a process prints |
//! | `results.rs`, `required_ratios.rs`, `page.rs` | from all measurements to the page |
//!
//! `../measure/save_cost.rs` has the rule that turns moments into the cost of a save, the same for all
//! contenders.

pub(crate) mod case;
mod child_process;
mod contender;
pub(crate) mod contenders;
pub(crate) mod measurement;
mod page;
mod required_ratios;
mod results;
mod run_task;
mod task;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::Case;
use clap::{Parser, ValueEnum};
use contender::{Contender, Phase};
use page::Page;
use results::{ProcessResult, Results};
use run_task::run_task;
use task::Task;

use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::machine;
use crate::page::head::Head;
use crate::program::{Result, directory, exit_code};

/// States up to this many bytes are saved more often.
const SMALL: u64 = 1 << 30;
/// The case of the loop without saves. It is small, so that a step is short.
const LOOP: &str = "3MB/10";

/// What saving and loading a checkpoint cost, side by side with the peers
#[derive(Parser)]
#[command(name = "cargo xtask bench checkpoint", version)]
struct Args {
    /// Cases, SIZE/TENSORS, like 1.26GB/100
    #[arg(long, value_delimiter = ',', default_values = case::USUAL)]
    cases: Vec<Case>,
    /// Of those cases, the ones of these sizes alone
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<String>,
    /// Who takes part; all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// The Python that has the peers: bench/peers/requirements.txt
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Where to write: a directory on the disk whose speed counts; `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
    /// Saves to measure; 5, or 3 of a large state
    #[arg(long)]
    saves: Option<usize>,
    /// Threads that compute; the writer has the others
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds after which a contender is given up
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// As short as can be: to see that everything works, not for figures
    #[arg(long)]
    quick: bool,
}

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    exit_code(match arguments.next().as_deref() {
        Some(child_process::VERB) => measure_task(&arguments.next().unwrap_or_default()),
        _ => measure(&Args::parse()),
    })
}

/// As one of the program's child processes.
fn measure_task(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)?;
    println!("{}", serde_json::to_string(&run_task(&task)?)?);
    Ok(())
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let contenders = match args.contenders.as_slice() {
        [] => Contender::value_variants(),
        named => named,
    };
    let python = python(&args.python)?;
    let wanted = |case: &&Case| {
        args.sizes.is_empty() || args.sizes.iter().any(|size| size == case::size_of(&case.name))
    };
    let cases: Vec<&Case> = args.cases.iter().filter(wanted).collect();
    if cases.is_empty() {
        return Err("no case is of one of these sizes".into());
    }
    let mut results = Results::default();
    let others = OtherPrograms::watch();
    for case in cases {
        for contender in contenders.iter().filter(|contender| **contender != Contender::Loop) {
            take_turn(args, case, *contender, &root, &python, &mut results)?;
        }
    }
    if contenders.contains(&Contender::Loop) {
        take_turn(args, &LOOP.parse()?, Contender::Loop, &root, &python, &mut results)?;
    }
    let head = Head::new("What saving a checkpoint costs", "checkpoint", &root, others);
    print!("{}", Page { results: &results, head, threads: args.threads });
    Ok(())
}

/// All processes of one contender, with one directory, which is removed afterwards.
fn take_turn(
    args: &Args,
    case: &Case,
    contender: Contender,
    root: &Path,
    python: &Path,
    results: &mut Results,
) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("bench-checkpoint-").tempdir_in(root)?;
    let usual = if case.state_bytes() <= SMALL { 5 } else { 3 };
    for phase in contender.phases() {
        eprintln!("{case} {}, {}", contender.title(), phase.title());
        let saves = args.saves.unwrap_or(if args.quick { 2 } else { usual }).max(1);
        let task = Task {
            contender,
            phase: *phase,
            case: case.clone(),
            // A run without saves has a directory of its own.
            dir: if *phase == Phase::Quiet { dir.path().join("quiet") } else { dir.path().to_path_buf() },
            // The first of frequent saves are not counted.
            saves: match (phase, contender) {
                (Phase::Quiet, _) => 0,
                (_, Contender::OursSteady | Contender::OursSkip | Contender::OursReplace) => saves + 3,
                _ => saves,
            },
            quick: args.quick,
            threads: args.threads.max(1),
            limit: args.limit,
        };
        machine::settle_disk();
        let outcome = room(contender, case, root)
            .and_then(|()| child_process::run(&task, python).map_err(|error| error.to_string()));
        if let Err(why) = &outcome {
            eprintln!("  no figures: {why}");
        }
        let failed = outcome.is_err();
        results.add(ProcessResult { case: case.clone(), contender, phase: *phase, outcome });
        if failed {
            break;
        }
    }
    dir.close()?;
    Ok(())
}

/// Whether memory and disk suffice.
fn room(contender: Contender, case: &Case, root: &Path) -> Result<(), String> {
    let needs = [
        ("memory", contender.memory_needed(case), machine::available_memory()),
        ("the disk", contender.disk_needed(case), machine::free_disk(root)),
    ];
    for (what, needed, free) in needs {
        if let Some(free) = free.filter(|free| *free < needed) {
            let (needed, free) = (needed as f64 / 1e9, free as f64 / 1e9);
            return Err(format!("it may need {needed:.1} GB of {what}, and {free:.1} GB are free"));
        }
    }
    Ok(())
}

/// The Python program: a path is made absolute, a name is left to be found in `PATH`.
fn python(given: &Path) -> Result<PathBuf> {
    match given.components().count() {
        0 | 1 => Ok(given.to_path_buf()),
        _ => Ok(std::path::absolute(given)?),
    }
}
