//! The check itself: each job is trained twice without a stop and once from its middle.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backend::Backend;
use bench::{CharLmJob, DigitsJob, Job, Laps, Outcome, Stopwatch, compare, parse_size};
use burn::data::dataset::Dataset;
use burn::tensor::Device;
use burn_ckpt::{Checkpoint, FromCheckpoint};
use burn_trainer::cli::check_output_file;
use burn_trainer::environment::{GpuKind, ProcessMemory};
use burn_trainer::{Result, TrainerConfig};
use char_lm::{CharLmConfig, Size};
use clap::ValueEnum;
use digits::{Data, Digits, Image};

use crate::page::{Checked, Figures, Page};

/// Windows of text in a batch of the model of GPT-2's size: what fits beside its state into 24 GB.
const LARGE_BATCH: usize = 8;

/// Its flags.
#[derive(clap::Args)]
pub struct Args {
    /// What to compute on, as far as the program was built for it
    #[arg(long, value_enum, default_value_t = Backend::best())]
    backend: Backend,
    /// Size of char-lm: tiny, small, medium or gpt2-small; the last unless the device is a software renderer
    /// or the CPU
    #[arg(long, value_parser = parse_size)]
    size: Option<Size>,
    /// What to train
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["digits", "char-lm"])]
    jobs: Vec<JobName>,
    /// Saves whose cost is measured
    #[arg(long, default_value_t = 3)]
    saves: u64,
    /// Optimizer steps before the first save and between them
    #[arg(long, default_value_t = 20)]
    steps: u64,
    /// A char-lm of one narrow layer: to see that everything works, not for figures
    #[arg(long)]
    quick: bool,
    /// The figures of each job, as a line of JSON, in this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to train: a directory on the disk whose speed counts; a temporary one, removed afterwards,
    /// unless given
    #[arg(long)]
    root: Option<PathBuf>,
}

/// A job by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum JobName {
    /// Images of digits
    Digits,
    /// A small GPT
    CharLm,
}

/// Trains, saves and resumes, and prints the page.
///
/// # Errors
///
/// For a device that cannot be used, and a file that cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(file) = &args.json {
        check_output_file("--json", file)?;
    }
    let device = args.backend.device()?.autodiff();
    let temporary = tempfile::tempdir().map_err(io("make a directory in", &std::env::temp_dir()))?;
    let root = args.root.as_deref().unwrap_or(temporary.path());
    let size = args.size.unwrap_or_else(|| usual_size(args.backend));
    let mut page = Page::default();
    for name in &args.jobs {
        let job: Box<dyn Job> = match name {
            JobName::Digits => Box::new(DigitsJob::new()?),
            JobName::CharLm => Box::new(char_lm(size, args)),
        };
        page.add(check(job.as_ref(), args, &root.join(job.name().replace(' ', "-")), &device));
    }
    if let Some(file) = &args.json {
        let directory = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let lines = page.json_lines(&args.backend.to_string());
        directory.and_then(|()| std::fs::write(file, lines)).map_err(io("write", file))?;
    }
    println!("{page}");
    Ok(if page.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an error of the disk becomes.
pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> burn_trainer::Error {
    let path = path.to_path_buf();
    move |source| burn_ckpt::Error::Io { action, path, source }.into()
}

/// One job: trained twice without a stop, and once from the middle of the first.
fn check(job: &dyn Job, args: &Args, root: &Path, device: &Device) -> Checked {
    let steps = args.steps * (args.saves + 2);
    let epochs = steps.div_ceil(job.steps_per_epoch());
    let last_step = epochs * job.steps_per_epoch();
    let saved: Vec<u64> = (1..=args.saves).map(|number| number * args.steps).collect();
    let train = |name: &str, from: Option<&Path>| -> Result<(Outcome, Laps)> {
        let config = TrainerConfig::new().with_root(root).with_run_id(name).with_max_epochs(epochs as usize);
        // A signal ends the program, and not one run of several.
        let config = config.with_handle_signals(false);
        let config = match from {
            Some(path) => config.with_ckpt_path(path),
            None => config,
        };
        let (stopwatch, laps) = Stopwatch::saving_at(saved.iter().copied().chain([last_step]));
        let stopwatch = stopwatch.waiting_for(device);
        job.train(config, stopwatch, std::slice::from_ref(device)).map(|outcome| (outcome, laps))
    };
    let end = |outcome: &Outcome| Stopwatch::file(&outcome.run_dir, last_step);
    let checked = || {
        ProcessMemory::begin_peak();
        eprintln!("{}: training", job.name());
        let (first, laps) = train("first", None)?;
        let cost = laps.save_cost(&first.run_dir, args.steps);
        eprintln!("{}: training again", job.name());
        let (second, _) = train("second", None)?;
        let repeated = compare(&end(&first), &end(&second))?;
        eprintln!("{}: resuming from the middle", job.name());
        let middle = Stopwatch::file(&first.run_dir, args.steps);
        let (resumed, _) = train("resumed", Some(&middle))?;
        let resumed = compare(&end(&first), &end(&resumed))?;
        let on_cpu = if job.name() == "digits" { difference_on_cpu(&end(&first), device)? } else { None };
        // What the run itself says of the machine, as it stands beside the checkpoint.
        let environment = Checkpoint::open(end(&first))?.metadata()?.environment;
        let environment = serde_json::from_value(environment).unwrap_or_default();
        let host_memory = ProcessMemory::now().map(|memory| memory.peak);
        Ok(Figures { outcome: first, cost, repeated, resumed, on_cpu, host_memory, environment })
    };
    Checked {
        name: job.name(),
        parameters: job.parameters(device),
        steps: last_step,
        stopped_at: args.steps,
        result: checked(),
    }
}

/// The largest difference between the probabilities that a checkpoint gives on the device and on the CPU;
/// `None` where the program was not built for the CPU.
fn difference_on_cpu(checkpoint: &Path, device: &Device) -> Result<Option<f32>> {
    let Ok(cpu) = Backend::Flex.device() else { return Ok(None) };
    let (_, valid) = digits::load(Data::Digits)?;
    let images: Vec<Image> = valid.iter().filter_map(|item| item.ok()).map(|item| item.image).collect();
    let probabilities =
        |device: &Device| Digits::from_checkpoint(checkpoint, device).map(|model| model.classify(&images));
    let (here, there) = (probabilities(&device.clone().inner())?, probabilities(&cpu)?);
    let pairs = here.iter().flatten().zip(there.iter().flatten());
    Ok(Some(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)))
}

fn char_lm(size: Size, args: &Args) -> CharLmJob {
    let mut usual = CharLmConfig::new().with_size(size);
    if args.quick {
        usual = usual.with_width(Some(32)).with_layers(Some(1)).with_heads(Some(2)).with_context(Some(16));
        usual = usual.with_batch_size(2);
    }
    let batch_size = if size == Size::Gpt2Small { LARGE_BATCH } else { usual.batch_size };
    let steps_per_epoch = (args.steps * (args.saves + 2)).div_ceil(2);
    let windows = usize::try_from(steps_per_epoch).unwrap_or(usize::MAX).saturating_mul(batch_size);
    CharLmJob::new(
        usual.with_batch_size(batch_size).with_windows_per_epoch(windows).with_valid_windows(batch_size),
    )
}

/// The largest where there is a GPU.
fn usual_size(backend: Backend) -> Size {
    let gpu = burn_trainer::environment::gpus().iter().any(|gpu| gpu.kind != Some(GpuKind::Cpu));
    if gpu && backend != Backend::Flex { Size::Gpt2Small } else { Size::Tiny }
}
