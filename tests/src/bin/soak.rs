//! `soak --kills N`: kills training runs at moments drawn by chance, and checks that they end as
//! uninterrupted runs. `soak --minutes N --chaos`: also damages and removes their files between the kills,
//! and fills the disk.
//!
//! The programs are found beside this one. Exit status: 0 everything is the same to the byte, 1 it is not, 2
//! wrong usage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use system_tests::soak::{Chaos, Signal, Soak, WORKERS, Which, long_lived_process, train_again_and_again};

/// How often the long-lived process trains.
const RUNS_OF_A_PROCESS: usize = 200;

/// Kill training runs at moments drawn by chance, and check that they end as uninterrupted runs.
#[derive(Parser)]
#[command(name = "soak", bin_name = "cargo xtask soak")]
struct Args {
    /// How often each program is killed
    #[arg(long, value_name = "N", default_value_t = 30)]
    kills: u64,
    /// Decides the moments, as far as the machine's speed lets it
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Between the kills, damage checkpoints, remove links and metadata, leave staging files, and fill the
    /// disk; and compare memory, descriptors, threads and files of a long-lived process after 20 and 200 runs
    #[arg(long, conflicts_with_all = ["kills", "signal", "arguments"])]
    chaos: bool,
    /// What the chaos starts for its last figures
    #[arg(long, value_name = "RUNS", hide = true)]
    long_lived: Option<usize>,
    /// How long the chaos begins new runs
    #[arg(long, value_name = "N", default_value_t = 5, requires = "chaos")]
    minutes: u64,
    /// SIGKILL, or SIGTERM, on which a run saves its step and exits with 143
    #[arg(long, value_enum, default_value = "kill")]
    signal: SignalArg,
    /// What is trained: digits (batch normalisation, dropout), warmup (a schedule, accumulated gradients),
    /// both of these, or everything (all callbacks, early stopping and validations within epochs at once, two
    /// workers; on one device and on two, each killed so often)
    #[arg(long, value_enum, default_value = "all")]
    program: ProgramArg,
    /// Make the runs here and leave them (the chaos: only the undisturbed ones); otherwise they stay only
    /// when something differs
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// More arguments for the programs (`-- --set dropout=0`)
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SignalArg {
    Kill,
    Term,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProgramArg {
    Digits,
    Warmup,
    All,
    Everything,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let soaked = match (&args.keep, args.long_lived) {
        (_, Some(runs)) => long_lived(runs),
        (Some(directory), _) => soak(&args, directory),
        (None, _) => tempfile::tempdir().map_err(|error| error.to_string()).and_then(|directory| {
            soak(&args, directory.path()).map_err(|reason| {
                let kept = directory.keep();
                format!("{reason}\nthe runs are in {}", kept.display())
            })
        }),
    };
    match soaked {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The chaos for the time that was asked for, then the long-lived process.
fn chaos(args: &Args, programs: &Path, which: Vec<Which>, directory: &Path) -> Result<(), String> {
    let chaos = Chaos {
        programs: programs.to_path_buf(),
        which,
        seed: args.seed,
        time: Duration::from_secs(args.minutes.saturating_mul(60)),
        most_runs: u64::MAX,
        directory: directory.to_path_buf(),
    };
    println!("seed {}", args.seed);
    let counts = chaos.run()?.0;
    println!(
        "seed {}: {} runs: {counts}; {} runs compared but for a best checkpoint that was damaged",
        args.seed, counts.runs, counts.without_a_best
    );
    println!("{}", long_lived_process(programs, RUNS_OF_A_PROCESS)?);
    Ok(())
}

/// Trains again and again in this process.
fn long_lived(runs: usize) -> Result<(), String> {
    println!("{}", train_again_and_again(runs)?);
    Ok(())
}

/// Soaks each program with each number of workers, all of them also after one that differs.
fn soak(args: &Args, directory: &Path) -> Result<(), String> {
    let mut failed = Vec::new();
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let programs = own.parent().unwrap_or(Path::new("."));
    let whichs = match args.program {
        ProgramArg::Digits => vec![Which::Digits],
        ProgramArg::Warmup => vec![Which::Warmup],
        ProgramArg::All => Which::ALL.to_vec(),
        ProgramArg::Everything => Which::EVERYTHING.to_vec(),
    };
    if args.chaos {
        return chaos(args, programs, whichs, directory);
    }
    for which in whichs {
        for (workers, kills) in shares_of(which, args.kills) {
            let mut program = which.program(programs, kills, workers);
            program.arguments.extend(args.arguments.iter().cloned());
            let signal = match args.signal {
                SignalArg::Kill => Signal::Kill,
                SignalArg::Term => Signal::Term,
            };
            let directory = directory.join(format!("{}-{workers}", which.title()));
            if directory.exists() {
                return Err(format!("{} is there already", directory.display()));
            }
            // Each has moments of its own.
            let seed = args.seed.wrapping_add(workers as u64);
            match (Soak { program, kills, signal, seed, directory }).run() {
                Ok(report) => println!("{report}"),
                Err(reason) => failed.push(reason),
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// The numbers of workers with which a program is soaked, each with a number of kills.
fn shares_of(which: Which, kills: u64) -> Vec<(usize, u64)> {
    match Which::EVERYTHING.contains(&which) {
        true => vec![(2, kills)],
        false => shares(kills).collect(),
    }
}

/// Spreads the kills over the numbers of workers; one that gets none is left out.
fn shares(kills: u64) -> impl Iterator<Item = (usize, u64)> {
    let all = WORKERS.len() as u64;
    let share = move |position: u64| kills / all + u64::from(position < kills % all);
    WORKERS.into_iter().zip((0..all).map(share)).filter(|(_, kills)| *kills > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kills_are_spread_over_the_numbers_of_workers() {
        assert_eq!(shares(50).collect::<Vec<_>>(), [(0, 17), (1, 17), (2, 16)]);
        assert_eq!(shares(1).collect::<Vec<_>>(), [(0, 1)]);
    }
}
