//! `gpu-check day`: everything that a machine with a card can show in ten minutes, one process after the
//! other. `bench/gpu-day.sh` starts it there.
//!
//! Each step has a time limit, and all together have one, so that the day ends in time with what it has. What
//! a step printed is on the page at once, and in `results.jsonl`.

mod plan;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use backend::Backend;
use burn_trainer::Result;
use plan::{Extent, Step};
use report::Report;

use crate::check::io;

/// The whole day on a machine that is lent by the minute.
const TEN_MINUTES: u64 = 600;
/// A rehearsal's, on processors.
const FIFTEEN_MINUTES: u64 = 900;
/// With less than that a step is left out: it would only start.
const SHORTEST: Duration = Duration::from_secs(5);

/// Its flags.
#[derive(clap::Args)]
pub struct Args {
    /// Where the page and the lines go
    #[arg(long, default_value = "gpu-day")]
    out: PathBuf,
    /// The backends, in their order; cuda and vulkan, or in a rehearsal flex and wgpu, as far as the program
    /// was built for them
    #[arg(long, value_enum, value_delimiter = ',')]
    backends: Vec<Backend>,
    /// The Python that may have PyTorch and Lightning
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The steps alone whose names begin so: check, train-cuda, ..
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds for all steps together
    #[arg(long)]
    seconds: Option<u64>,
    /// Every step with a tiny model, on processors: to see that the day works
    #[arg(long)]
    rehearse: bool,
    /// As short as can be, in a rehearsal
    #[arg(long, requires = "rehearse")]
    smallest: bool,
}

/// Does the steps. Ends with 0 when all that could run passed.
///
/// # Errors
///
/// When nothing can be written to the directory.
pub fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let extent = match (args.rehearse, args.smallest) {
        (false, _) => Extent::Card,
        (true, false) => Extent::Rehearsal,
        (true, true) => Extent::Smallest,
    };
    let usual = if args.rehearse { FIFTEEN_MINUTES } else { TEN_MINUTES };
    let end = started + Duration::from_secs(args.seconds.unwrap_or(usual));
    std::fs::create_dir_all(&args.out).map_err(io("make", &args.out))?;
    let out = args.out.canonicalize().map_err(io("find", &args.out))?;
    let mut report = Report::new(&out)?;
    let is_wanted =
        |step: &Step| args.only.is_empty() || args.only.iter().any(|name| step.name.starts_with(name));
    let steps = plan::steps(extent, &backends(args), &args.python, &out);
    for step in steps.into_iter().filter(is_wanted) {
        let left = end.saturating_duration_since(Instant::now());
        let limit = step.limit.min(left);
        eprintln!("{:>4} s: {} (at most {} s)", started.elapsed().as_secs(), step.name, limit.as_secs());
        let done = match limit < SHORTEST {
            true => process::Done::left_out(),
            false => process::run(&step, limit, &out),
        };
        report.add(&step, &done)?;
    }
    eprintln!("{:>4} s: the end; {}", started.elapsed().as_secs(), report.page().display());
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those asked for, or the usual ones that the program was built for.
fn backends(args: &Args) -> Vec<Backend> {
    if !args.backends.is_empty() {
        return args.backends.clone();
    }
    let mut usual = Vec::new();
    if args.rehearse {
        usual.push(Backend::Flex);
        if cfg!(feature = "wgpu") && !args.smallest {
            usual.push(Backend::Wgpu);
        }
    } else {
        if cfg!(feature = "cuda") {
            usual.push(Backend::Cuda);
        }
        if cfg!(feature = "vulkan") {
            usual.push(Backend::Vulkan);
        }
    }
    usual
}
