//! Training on devices of servers, beside the same on this machine's own, in one run on one machine.
//!
//! ```text
//! contender.rs   who takes part; server.rs: the servers that they need
//! figures.rs     from their runs to figures
//! wire.rs        what must cross the loopback interface, and how fast it is
//! page.rs        the page; ../program.rs: its head
//! ```
//!
//! The job and what watches it save are those of `gpu-check`.

mod contender;
mod figures;
mod page;
mod server;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use burn_trainer::TrainerConfig;
use char_lm::{CharLmConfig, Size};
use clap::{Parser, ValueEnum};
use contender::{Contender, Servers};
use figures::{Run, Told};
use page::Page;
use wire::Load;

use crate::job::{CharLmJob, Job, parse_size};
use crate::measure::machine::{Others, settle_disk};
use crate::measure::stopwatch::Stopwatch;
use crate::program::{Head, Result, directory, exit_code};

/// The server, beside this program.
const SERVER: &str = "burn-serve";
/// Steps that are not counted: memory is got in them, connections between servers are made, and the loop, which does not wait
/// for a server, gets as far ahead of it as it ever does.
const WARM_UP: u64 = 4;
/// How long nobody trains, to see what crosses the loopback interface anyway.
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
    /// One round with a model as small as can be: for a look at whether everything works, and not for figures
    #[arg(long)]
    quick: bool,
}

/// The steps of a run.
#[derive(Debug, Clone, Copy)]
struct Course {
    steps: u64,
    saves: u64,
    apart: u64,
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
    let course = Course { steps: args.steps.max(1), saves: args.saves.max(1), apart: args.apart.max(2) };
    let hparams = hparams(args);
    hparams.check()?;
    let shape = hparams.shape();
    let load = Load {
        parameters: shape.parameters().unwrap_or_default(),
        tokens: hparams.batch_size * shape.context,
    };

    let others = Others::watch();
    let servers = Servers::start(&server, contenders)?;
    let mut told: Vec<Told> = contenders
        .iter()
        .map(|contender| Told { contender: *contender, runs: Vec::new(), failed: None })
        .collect();
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    for round in 1..=rounds {
        for told in told.iter_mut().filter(|told| told.failed.is_none()) {
            eprintln!("round {round} of {rounds}: {}", told.contender.title());
            match take_turn(told.contender, &servers, &hparams, course, &root) {
                Ok(run) => told.runs.push(run),
                Err(error) => told.failed = Some(error.to_string()),
            }
        }
    }
    // The sessions are open still.
    let idle = wire::idle(if args.quick { IDLE_QUICK } else { IDLE });
    let bytes = load.bytes_between_devices();
    let copies = (0..COPIES).map(|_| wire::copy(bytes)).collect::<Result<Vec<f64>>>()?;
    // What they used counts as this program's now.
    drop(servers);
    let head = Head::new("Training on devices of servers", "remote", &root, others);
    print!(
        "{}",
        Page {
            head,
            name: CharLmJob::new(hparams.clone()).name(),
            hparams,
            course,
            load,
            told,
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
    course: Course,
    root: &Path,
) -> Result<Run> {
    let dir = tempfile::Builder::new().prefix("bench-remote-").tempdir_in(root)?;
    let devices = servers.devices(contender)?;
    let windows = hparams.batch_size * usize::try_from(course.all())? * devices.len();
    let job = CharLmJob::new(hparams.clone().with_windows_per_epoch(windows));
    let config = TrainerConfig::new().with_root(dir.path()).with_run_id("run").with_max_epochs(1);
    // A signal ends the program, and not one run of several.
    let config = config.with_handle_signals(false);
    settle_disk();
    let (stopwatch, laps) = Stopwatch::saving_at(course.saves_at());
    let outcome = job.train(config, stopwatch.counting(), &devices)?;
    if outcome.failed_saves > 0 {
        return Err(format!("{} saves failed", outcome.failed_saves).into());
    }
    let span = laps.span(WARM_UP, course.first_save()).ok_or("a step is missing")?;
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

impl Course {
    /// The step after which the first save is made.
    fn first_save(self) -> u64 {
        WARM_UP + self.steps
    }

    fn saves_at(self) -> impl Iterator<Item = u64> {
        (0..self.saves).map(move |save| self.first_save() + save * self.apart)
    }

    /// The last one has the validation in it, and is not counted.
    fn all(self) -> u64 {
        self.first_save() + self.saves * self.apart + 1
    }
}
