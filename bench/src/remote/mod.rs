//! `bench-remote`: training on devices of servers, compared with the same on this machine's own devices, in
//! one run on one machine.
//!
//! | file | has |
//! |---|---|
//! | `contender.rs`, `server.rs` | who takes part, and the servers that they need |
//! | `step_plan.rs` | the steps of a run |
//! | `loopback.rs` | what must cross the loopback interface, and how fast it is |
//! | `figures.rs`, `page.rs` | from the runs to the page |
//!
//! The training job and the stopwatch are those of `gpu-check`.

mod contender;
mod figures;
mod loopback;
mod page;
mod server;
mod step_plan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use burn_trainer::TrainerConfig;
use char_lm::{CharLmConfig, Size};
use clap::{Parser, ValueEnum};
use contender::Contender;
use figures::{ContenderRuns, Run};
use loopback::Load;
use page::Page;
use server::Servers;
use step_plan::{StepPlan, WARM_UP};

use crate::measure::kernel_counters::OtherPrograms;
use crate::measure::machine::settle_disk;
use crate::measure::stopwatch::Stopwatch;
use crate::page::head::Head;
use crate::program::{Result, directory, exit_code};
use crate::training_jobs::{CharLmJob, Job, parse_size};

/// The server, beside this program.
const SERVER: &str = "burn-serve";
/// How long to measure what crosses the loopback interface while nothing trains.
const IDLE: Duration = Duration::from_secs(5);
const IDLE_QUICK: Duration = Duration::from_millis(100);
/// How often the plain copy is made.
const COPIES: usize = 5;

/// Training on devices of servers, beside the same on this machine's own
#[derive(Parser)]
#[command(name = "cargo xtask bench remote", version)]
struct Args {
    /// Size of char-lm: tiny, small, medium or gpt2-small
    #[arg(long, value_parser = parse_size, default_value = "small")]
    size: Size,
    /// Windows of text in a batch; every device has one in every step
    #[arg(long, default_value_t = 4)]
    batch_size: usize,
    /// Runs of each contender, who take turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Steps of a run that are measured before the first save
    #[arg(long, default_value_t = 12)]
    steps: u64,
    /// Saves of a run
    #[arg(long, default_value_t = 1)]
    saves: u64,
    /// Steps from one save to the next
    #[arg(long, default_value_t = 4)]
    apart: u64,
    /// Who takes part; all unless named
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Where to write: a directory on the disk whose speed counts; `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
    /// One round with a model as small as can be: to see that everything works, not for figures
    #[arg(long)]
    quick: bool,
}

/// The program: measures, and prints the page.
#[must_use]
pub fn main() -> ExitCode {
    exit_code(measure(&Args::parse()))
}

fn measure(args: &Args) -> Result<()> {
    let root = directory(args.root.as_deref())?;
    let server = std::env::current_exe()?.with_file_name(SERVER);
    let contenders = match args.contenders.as_slice() {
        [] => Contender::value_variants(),
        named => named,
    };
    let plan = StepPlan { steps: args.steps.max(1), saves: args.saves.max(1), apart: args.apart.max(2) };
    let hparams = hparams(args);
    hparams.check()?;
    let shape = hparams.shape();
    let load = Load {
        parameters: shape.parameters().unwrap_or_default(),
        tokens: hparams.batch_size * shape.context,
    };

    let others = OtherPrograms::watch();
    let servers = Servers::start(&server, contenders)?;
    let fresh = |contender: &Contender| ContenderRuns::none_yet(*contender);
    let mut measured: Vec<ContenderRuns> = contenders.iter().map(fresh).collect();
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    for round in 1..=rounds {
        for runs in measured.iter_mut().filter(|runs| runs.failed.is_none()) {
            eprintln!("round {round} of {rounds}: {}", runs.contender.title());
            match take_turn(runs.contender, &servers, &hparams, plan, &root) {
                Ok(run) => runs.runs.push(run),
                Err(error) => runs.failed = Some(error.to_string()),
            }
        }
    }
    // The sessions are still open.
    let idle = loopback::idle(if args.quick { IDLE_QUICK } else { IDLE });
    let bytes = load.bytes_between_devices();
    let copies = (0..COPIES).map(|_| loopback::copy(bytes)).collect::<Result<Vec<f64>>>()?;
    // Their processor time counts as this program's from now on.
    drop(servers);
    let head = Head::new("Training on devices of servers", "remote", &root, others);
    print!(
        "{}",
        Page {
            head,
            name: CharLmJob::new(hparams.clone()).name(),
            hparams,
            plan,
            load,
            measured,
            idle,
            copies
        }
    );
    Ok(())
}

/// A run of one contender, with a directory, which is removed afterwards.
fn take_turn(
    contender: Contender,
    servers: &Servers,
    hparams: &CharLmConfig,
    plan: StepPlan,
    root: &Path,
) -> Result<Run> {
    let dir = tempfile::Builder::new().prefix("bench-remote-").tempdir_in(root)?;
    let devices = servers.devices(contender)?;
    let windows = hparams.batch_size * usize::try_from(plan.all())? * devices.len();
    let job = CharLmJob::new(hparams.clone().with_windows_per_epoch(windows));
    let config = TrainerConfig::new().with_root(dir.path()).with_run_id("run").with_max_epochs(1);
    // A signal ends the program, and not one run of several.
    let config = config.with_handle_signals(false);
    settle_disk();
    let (stopwatch, laps) = Stopwatch::saving_at(plan.saves_at());
    let outcome = job.train(config, stopwatch.counting(), &devices)?;
    if outcome.failed_saves > 0 {
        return Err(format!("{} saves failed", outcome.failed_saves).into());
    }
    let span = laps.span(WARM_UP, plan.first_save()).ok_or("a step is missing")?;
    let cost = laps.save_cost(&outcome.run_dir, WARM_UP);
    dir.close()?;
    Ok(Run { span, cost })
}

fn hparams(args: &Args) -> CharLmConfig {
    let hparams = CharLmConfig::new().with_size(args.size).with_batch_size(args.batch_size);
    let hparams = hparams.with_valid_windows(args.batch_size);
    match args.quick {
        true => {
            let hparams = hparams.with_size(Size::Tiny).with_batch_size(1).with_valid_windows(1);
            hparams.with_layers(Some(1)).with_width(Some(32)).with_context(Some(16))
        }
        false => hparams,
    }
}
