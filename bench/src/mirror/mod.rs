//! `bench-mirror`: runs of char-lm that save often, without a mirror and with one in a store of 1 MB/s, in
//! turns.

mod hooked_store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use backend::DeviceArgs;
use burn::tensor::Device;
use burn_ckpt::mirror::{MirrorAddress, MirroredRun, Store};
use burn_environment::device_name;
use burn_trainer::TrainerConfig;
use burn_trainer::callbacks::{Callback, CallbackContext, CallbackResult};
use burn_trainer::config::MirrorConfig;
use burn_trainer::strategy::Last;
use char_lm::{CharLm, CharLmConfig, Size};
use clap::Parser;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use parking_lot::Mutex;

pub use self::hooked_store::{HookedStore, StoreOperation};
use crate::measure::kernel_counters::OtherPrograms;
use crate::page::figure::milliseconds;
use crate::page::head::Head;
use crate::page::table::Table;
use crate::program::{Result, directory, exit_code};
use crate::training_jobs::{CharLmJob, Job, parse_size};

/// The address of the run's mirror: the store is this program's own.
const ADDRESS: &str = "memory:bench";
/// More than the part of a state of this benchmark that is in memory at once.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// The store of the run that is measured.
static STORE: Mutex<Option<Arc<HookedStore>>> = Mutex::new(None);

/// The slowest store, in MB a second.
const SLOWEST: f64 = 0.001;

/// What a mirror in a slow store costs a step
#[derive(Parser)]
#[command(name = "cargo xtask bench mirror", version)]
struct Args {
    #[command(flatten)]
    devices: DeviceArgs,
    /// The size of char-lm
    #[arg(long, default_value = "tiny", value_parser = parse_size)]
    size: Size,
    /// How many runs of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Optimizer steps of a run
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// A save every so many steps
    #[arg(long, default_value_t = 4)]
    save_every: u64,
    /// What the store takes in a second, in MB
    #[arg(long, default_value_t = 1.0, value_parser = parse_speed)]
    megabytes_per_second: f64,
    /// Where to write: `target` here unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// A speed at which the store takes a checkpoint within hours.
fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed >= SLOWEST);
    speed.ok_or_else(|| format!("it must be a number of MB a second, {SLOWEST} at least"))
}

impl Args {
    /// What is measured in turns, the first as what the other is compared with.
    fn arms(&self) -> [String; 2] {
        ["none".to_owned(), format!("{} MB/s", self.megabytes_per_second)]
    }

    fn slow_store(&self) -> Arc<HookedStore> {
        Arc::new(slow_store(self.megabytes_per_second * 1e6))
    }
}

/// What the runs of a kind came to.
#[derive(Default)]
struct Arm {
    /// The steps, of which the first of a run is left out.
    seconds: Vec<f64>,
    /// From the end of the last step to the end of training, which waits for the mirror.
    ends: Vec<f64>,
    /// Bytes of a state, and how many checkpoints were in the mirror at the end.
    state_bytes: u64,
    in_mirror: usize,
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
    burn_trainer::connect_by(connect);
    let mut arms = [Arm::default(), Arm::default()];
    for round in 0..args.rounds.max(1) {
        for (number, arm) in arms.iter_mut().enumerate() {
            run(args, &dir.path().join(format!("{round}-{number}")), &devices, number == 1, arm)?;
        }
    }
    println!("{}", Head::new("A mirror in a slow store", "mirror", &root, others));
    let device = devices.first().map(device_name).unwrap_or_default();
    println!(
        "{}, {device}; {} runs of {} steps each, in turns; a save every {} steps, {:.1} MB a state.\n",
        job(args).name(),
        args.rounds,
        args.steps,
        args.save_every,
        arms[1].state_bytes as f64 / 1e6
    );
    println!("{}", table(args.arms(), &arms));
    println!(
        "\nIn the mirror: complete checkpoints at the end of a run, the newest and the best among them."
    );
    Ok(())
}

fn job(args: &Args) -> CharLmJob {
    let hparams = CharLmConfig::new().with_size(args.size);
    let batch = hparams.batch_size;
    CharLmJob::new(hparams.with_windows_per_epoch(args.steps * batch).with_valid_windows(batch))
}

fn run(args: &Args, root: &Path, devices: &[Device], mirrored: bool, arm: &mut Arm) -> Result<()> {
    *STORE.lock() = Some(args.slow_store());
    let mut config = TrainerConfig::new()
        .with_root(root)
        .with_run_id("mirror")
        .with_primary_metric("val_loss")
        .with_max_epochs(1)
        .with_last(Last::new().with_every_n_steps(args.save_every));
    if mirrored {
        config = config.with_mirror(MirrorConfig::new(ADDRESS));
    }
    let times = Times::default();
    job(args).train_by(config, devices, |trainer| trainer.callback(Steps::new(&times)))?;
    let (seconds, last) = times.lock().clone();
    arm.seconds.extend(seconds.iter().skip(1));
    arm.ends.extend(last.map(|last| last.elapsed().as_secs_f64()));
    if mirrored {
        let store = connect(&ADDRESS.parse()?)?;
        let there = MirroredRun::open(&store, "mirror")?;
        arm.in_mirror = there.checkpoints().len();
        arm.state_bytes = there.newest().map_or(0, burn_ckpt::mirror::MirroredCheckpoint::total_bytes);
    }
    Ok(())
}

/// A store in memory that takes as long for each write as its bytes take. One write at a time is on its way,
/// as on one connection.
fn slow_store(bytes_per_second: f64) -> HookedStore {
    let connection = Mutex::new(());
    HookedStore::new(Arc::new(InMemory::new()), move |operation| {
        if operation.bytes > 0 {
            let _sending = connection.lock();
            thread::sleep(Duration::from_secs_f64(operation.bytes as f64 / bytes_per_second));
        }
        Ok(())
    })
}

/// The trainer's connection: to the store of this run.
fn connect(address: &MirrorAddress) -> burn_ckpt::Result<Store> {
    match STORE.lock().clone() {
        Some(slow) => Store::with_objects(address, slow as Arc<dyn ObjectStore>, PART_BYTES),
        None => Store::connect(address),
    }
}

fn table(names: [String; 2], arms: &[Arm; 2]) -> Table {
    let mut table = Table::new(&[
        "mirror",
        "step, ms (median)",
        "ratio",
        "step, ms (99 %)",
        "end of training, ms (median)",
        "in the mirror",
    ]);
    let without = quantile(&arms[0].seconds, 0.5);
    for (name, arm) in names.into_iter().zip(arms) {
        let median = quantile(&arm.seconds, 0.5);
        let ratio = median.zip(without).map(|(with, without)| format!("{:.3}", with / without));
        table.row([
            name,
            milliseconds(median, 2),
            ratio.unwrap_or_default(),
            milliseconds(quantile(&arm.seconds, 0.99), 2),
            milliseconds(quantile(&arm.ends, 0.5), 0),
            arm.in_mirror.to_string(),
        ]);
    }
    table
}

fn quantile(times: &[f64], part: f64) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (part * sorted.len() as f64) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied()
}

/// How long each step took, and when the last one ended.
type Times = Arc<Mutex<(Vec<f64>, Option<Instant>)>>;

/// Takes the times.
struct Steps {
    times: Times,
}

impl Steps {
    fn new(times: &Times) -> Self {
        Self { times: Arc::clone(times) }
    }
}

impl Callback<CharLm> for Steps {
    fn name(&self) -> String {
        "steps".to_owned()
    }

    fn on_train_step_end(&mut self, _: &mut CallbackContext<'_, CharLm>) -> CallbackResult {
        let now = Instant::now();
        let mut times = self.times.lock();
        if let Some(before) = times.1.replace(now) {
            times.0.push(now.duration_since(before).as_secs_f64());
        }
        Ok(())
    }
}
