//! `bench-train`: how fast training is, in the trainer's loop, in burn's own, in PyTorch and in JAX: the same
//! networks, data, batches, optimizers and precision, each in processes of its own, in turns.
//!
//! | file | has |
//! |---|---|
//! | `network.rs`, `data.rs` | what is trained, and on what |
//! | `contender.rs` | who takes part, and how its process is started |
//! | `task.rs` | what such a process is told, and what it prints |
//! | `loops.rs`, `timed_model.rs` | the loops of this program; `../../peers/train_*.py` are the peers |
//! | `results.rs`, `page.rs` | from all measurements to the page |
//! | `operations.rs` | where the time of a step goes, by `perf` and by PyTorch's profiler |

mod contender;
mod data;
mod loops;
mod network;
mod operations;
mod page;
mod results;
mod task;
mod timed_model;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backend::Backend;
use burn_trainer::cli::check_output_file;
use clap::Parser;
use contender::{Arm, Contender};
use loops::Loop;
use network::Name;
use page::Page;
use results::{Case, Results};
use task::Task;
pub use task::VERB;

use crate::checkpoint::measurement::now;
use crate::measure::kernel_counters::OtherPrograms;
use crate::page::head::Head;
use crate::program::{Result, directory, exit_code};

/// How fast training is, side by side with burn's own loop, PyTorch and JAX
#[derive(Parser)]
#[command(name = "cargo xtask bench train", version)]
struct Args {
    /// What to train
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["digits", "char-lm-tiny", "char-lm-small", "char-lm-medium"])]
    models: Vec<Name>,
    /// Who takes part; all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// What to compute on, as far as the program was built for it; PyTorch and JAX compute on the GPU unless
    /// it is flex
    #[arg(long, value_enum, default_value = "flex")]
    backend: Backend,
    /// Threads that compute: 1 and 2 on the CPU, as many as there are processors beside a GPU
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Processes of each contender, in turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Steps that are counted, in place of a number that fits the model
    #[arg(long)]
    steps: Option<usize>,
    /// Saves after each so many steps; 0 saves nothing. With saves burn's own loop and JAX take no part, as
    /// they have none between steps, and Lightning does
    #[arg(long, value_delimiter = ',', default_value = "0")]
    save_every: Vec<usize>,
    /// Items in a batch, in place of the example's number
    #[arg(long)]
    batch: Option<usize>,
    /// The Python that has the peers: bench/peers/requirements.txt
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// This program of the development profile, which takes part too
    #[arg(long, value_name = "PROGRAM")]
    dev_program: Option<PathBuf>,
    /// Where to write: `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
    /// Seconds after which a process is given up
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Shows where the time of a step goes, by perf and by PyTorch's profiler, in place of how fast it is
    #[arg(long)]
    operations: bool,
    /// As short as can be: to see that everything works, not for figures
    #[arg(long)]
    quick: bool,
    /// Every measurement, as a line of JSON, in this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The program: measures and prints the page, or is one of its own processes.
#[must_use]
pub fn main() -> ExitCode {
    main_with(std::env::args())
}

/// [`main`] of a program that has other verbs too: the first argument is the program's name.
#[must_use]
pub fn main_with(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    exit_code(match arguments.get(1..).unwrap_or_default() {
        [verb, name, task] if verb == VERB => train_alone(name, task),
        _ => measure(&Args::parse_from(arguments)),
    })
}

/// As one of the program's processes.
fn train_alone(name: &str, task: &str) -> Result<()> {
    let of = if name == Contender::Burn.name() { Loop::Burns } else { Loop::Ours };
    let task: Task = serde_json::from_str(task)?;
    println!("{}", serde_json::to_string(&loops::train(of, &task)?)?);
    Ok(())
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let dir = tempfile::Builder::new().prefix("bench-train-").tempdir_in(&root)?;
    data::write_for_peers(dir.path())?;
    let arms = contender::arms(&args.contenders, args.dev_program.as_deref(), &args.python)?;
    if args.operations {
        return operations(args, &root, dir.path(), &arms);
    }
    let others = OtherPrograms::watch();
    let mut results = Results::default();
    // Before the first process. An earlier file stays until there is a measurement.
    if let Some(file) = &args.json {
        check_output_file("--json", file)?;
    }
    let is_about_saves = args.save_every.iter().any(|every| *every > 0);
    for case in cases(args) {
        for round in 0..args.rounds.max(1) {
            let mut order: Vec<&Arm> = arms.iter().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for arm in order.into_iter().filter(|arm| arm.takes_part(case.save_every, is_about_saves)) {
                if !results.failed(&case, arm) {
                    eprintln!("{case}: {}, round {}", arm.title(), round + 1);
                    let outcome = arm.run(&task(&case, dir.path()), dir.path(), args.limit);
                    results.add(&case, arm, outcome.map_err(|error| error.to_string()));
                    // After each process: what is killed at a time limit has left its figures.
                    write_lines(args.json.as_deref(), &results)?;
                }
            }
        }
    }
    let head = Head::new("How fast training is", "train", &root, others);
    print!("{}", Page { results: &results, arms: &arms, head, rounds: args.rounds.max(1) });
    dir.close()?;
    results.check_parameters()
}

/// Writes all measurements, if a file is named for them.
fn write_lines(file: Option<&Path>, results: &Results) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let written = std::fs::write(file, results.json_lines()?);
    written.map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Networks and numbers of threads, in their order.
fn cases(args: &Args) -> Vec<Case> {
    let threads = match (args.threads.as_slice(), args.backend) {
        ([], Backend::Flex) => vec![1, 2],
        ([], _) => vec![std::thread::available_parallelism().map_or(1, Into::into)],
        (given, _) => given.iter().map(|threads| (*threads).max(1)).collect(),
    };
    let case = |name: Name, threads, save_every| {
        let (warm_up, steps) = if args.quick { (1, 2) } else { name.steps() };
        Case {
            name,
            threads,
            save_every,
            batch: args.batch.unwrap_or_else(|| name.batch()).max(1),
            warm_up,
            steps: args.steps.unwrap_or(steps).max(1),
            backend: args.backend,
        }
    };
    let mut cases = Vec::new();
    for name in &args.models {
        for threads in &threads {
            cases.extend(args.save_every.iter().map(|every| case(*name, *threads, *every)));
        }
    }
    cases
}

fn task(case: &Case, dir: &Path) -> Task {
    Task {
        network: case.name.network(),
        batch: case.batch,
        warm_up: case.warm_up,
        steps: case.steps,
        save_every: case.save_every,
        threads: case.threads,
        backend: case.backend.to_string(),
        dir: dir.to_path_buf(),
        run_dir: dir.join("run"),
        started: now(),
        profile: false,
    }
}

/// Prints where the time goes, for each network with the most threads.
fn operations(args: &Args, root: &Path, dir: &Path, arms: &[Arm]) -> Result<()> {
    let others = OtherPrograms::watch();
    let mut tables = Vec::new();
    let most = cases(args).iter().map(|case| case.threads).max();
    for case in cases(args).iter().filter(|case| Some(case.threads) == most) {
        for arm in arms.iter().filter(|arm| arm.has_operations()) {
            eprintln!("{}: {}", case.name.title(), arm.title());
            let task = Task { profile: true, ..task(case, dir) };
            tables.push(operations::table(case, arm, &task, dir, args.limit));
        }
    }
    println!("{}", Head::new("Where the time of a training step goes", "train", root, others));
    println!("{}", operations::EXPLANATION);
    tables.iter().for_each(|table| println!("{table}"));
    Ok(())
}
