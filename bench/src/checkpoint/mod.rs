//! What saving and loading a checkpoint cost, side by side with the peers, in one run on one machine.
//!
//! ```text
//! case.rs        how large the state is
//! contender.rs   who takes part
//! child.rs       each in a process of its own, which tells what it
//! measured.rs    measured: moments, sizes, times
//!                   model.rs     the training job; ours.rs, burns.rs, ../../peers/*.py: in whose loop
//!                   loading.rs   loading; loops.rs: the loop without saves
//!                   limits.rs    what the machine can do; plain_write.rs: what writing alone costs the loop
//! ../window.rs   from moments to what a save costs, one rule for all
//! results.rs     all of it; ratios.rs: what must hold
//! page.rs        the page; ../program.rs: its head, ../machine.rs: what it was measured on
//! ```

mod burns;
mod case;
mod child;
mod contender;
mod limits;
mod loading;
mod loops;
mod measured;
mod model;
mod ours;
mod page;
mod plain_write;
mod ratios;
mod results;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::Case;
use child::Task;
use clap::{Parser, ValueEnum};
use contender::{Contender, Phase};
use page::Page;
use results::{Results, Told};

use crate::measure::machine::{self, Others};
use crate::program::{Head, Result, directory, exit_code};

/// States up to this size are saved more often.
const SMALL: u64 = 1 << 30;
/// The case of the loop without saves: small, so that a step is short.
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
    /// As short as can be: for a look at whether everything works, and not for figures
    #[arg(long)]
    quick: bool,
}

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    exit_code(match arguments.next().as_deref() {
        Some(child::VERB) => take_part(&arguments.next().unwrap_or_default()),
        _ => measure(&Args::parse()),
    })
}

/// As one of the program's own processes.
fn take_part(task: &str) -> Result<()> {
    let task: Task = serde_json::from_str(task)?;
    println!("{}", serde_json::to_string(&Contender::run(&task)?)?);
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
    let others = Others::watch();
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
            // A run without saves is another run.
            dir: if *phase == Phase::Quiet { dir.path().join("quiet") } else { dir.path().to_path_buf() },
            // Of saves that come every few steps, the first are not counted.
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
        let outcome =
            room(contender, case, root).and_then(|()| task.run(python).map_err(|error| error.to_string()));
        if let Err(why) = &outcome {
            eprintln!("  no figures: {why}");
        }
        let failed = outcome.is_err();
        results.add(Told { case: case.clone(), contender, phase: *phase, outcome });
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

/// A path is meant from here, a name is looked for.
fn python(given: &Path) -> Result<PathBuf> {
    match given.components().count() {
        0 | 1 => Ok(given.to_path_buf()),
        _ => Ok(std::path::absolute(given)?),
    }
}
