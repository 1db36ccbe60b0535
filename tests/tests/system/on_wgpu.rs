//! burn's wgpu backend beside flex: a run that is killed and resumed, checkpoints that are loaded on the
//! other backend, a backend that cannot start, and what waits for a device. `cargo xtask test` runs these
//! tests where it runs the others on wgpu.

mod gradient_guard;

use std::path::Path;
use std::process::Command;

use backend::Backend;
use burn::data::dataset::Dataset;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_ckpt::{Checkpoint, Contents, FromCheckpoint, Metadata, Section};
use burn_trainer::{FitResult, Result, Trainer, TrainerConfig};
use digits::{Data, Digits, Image};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::Value;
use system_tests::config;
use system_tests::models::small::{BATCH, Model, Script, shuffling};
use system_tests::programs::commands::build;
use system_tests::programs::running::{Running, digits};
use system_tests::run_files::{checkpoints, metadata, run_dir};
use system_tests::soak::{Signal, Soak, Which};

/// Largest difference of a probability between two backends.
const SAME: f32 = 1e-4;

fn device(backend: Backend) -> Device {
    backend.device().unwrap()
}

/// What every tensor of a checkpoint is: type, shape and digest, of the verified file.
fn tensors(path: &Path) -> IndexMap<String, Value> {
    let tensors = Checkpoint::open(path).unwrap().verify().unwrap().tensors;
    tensors.into_iter().map(|(name, info)| (name, serde_json::to_value(info).unwrap())).collect()
}

fn of_the_model(path: &Path) -> IndexMap<String, Value> {
    tensors(path).into_iter().filter(|(name, _)| name.starts_with("model.")).collect()
}

/// Trains the small model on a device.
fn train(config: TrainerConfig, backend: Backend) -> Result<FitResult<Model>> {
    let script = Script::default();
    let trainer = Trainer::new(config, &script.hparams())?;
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    let model = Model::new(script, &device(backend).autodiff());
    trainer.fit(training, Learner::new(model, AdamConfig::new().init(), 1e-2))
}

#[test]
fn digits_is_killed_on_wgpu_and_resumed_and_predicts_the_same_on_flex() {
    let root = tempfile::tempdir().unwrap();
    // An epoch has 20 steps of a small model.
    let flags = "--backend wgpu --run-id r1 --save-every-steps 4 --predictions p.csv \
                 --set limit_train_batches=20 --set limit_valid_batches=2 --set channels=4 --set hidden=16";
    let start = |more: &str| {
        let mut command = digits(root.path(), &format!("{flags} {more}"));
        command.current_dir(root.path());
        Running::start(command)
    };
    // It cannot end before it is killed.
    let mut running = start("--epochs 1000000");
    let last = checkpoints(root.path()).join("last.ckpt");
    running.wait_for("a checkpoint", |_| last.exists());
    running.send("KILL");
    assert_eq!(running.end().signal(), Some(9));
    let epochs = metadata(&last)["epoch"].as_u64().unwrap() + 2;

    let ended = start(&format!("--epochs {epochs} --ckpt-path auto")).end_well();
    assert!(ended.stdout.contains(&format!("steps {}", 20 * epochs)), "{}", ended.stdout);
    let text = std::fs::read_to_string(root.path().join("p.csv")).unwrap();
    let on_wgpu: Vec<Vec<f32>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(1).map(|number| number.parse().unwrap()).collect())
        .collect();

    let (_, valid) = digits::load(Data::Digits).unwrap();
    let images: Vec<Image> = valid.iter().map(|item| item.unwrap().image).collect();
    let model = Digits::from_checkpoint(run_dir(root.path()).join("last"), &device(Backend::Flex)).unwrap();
    let on_flex = model.classify(&images);
    assert_eq!(on_wgpu.len(), on_flex.len());
    let differences = on_wgpu.iter().flatten().zip(on_flex.iter().flatten()).map(|(a, b)| (a - b).abs());
    let most = differences.fold(0.0, f32::max);
    assert!(most < SAME, "{most}");
}

#[test]
fn a_run_that_is_killed_on_wgpu_ends_with_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Which::Warmup.program(&build(&[Which::Warmup.name()]), 2, 1);
    // An epoch has four optimizer steps.
    program
        .arguments
        .extend(["--set", "limit_train_batches=16", "--set", "limit_valid_batches=2"].map(str::to_owned));
    let (kills, signal, directory) = (2, Signal::Kill, directory.path().join("soak"));
    let report =
        Soak { program, kills, signal, seed: 1, directory }.run().unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(report.kills.total(), kills, "{report}");
}

#[test]
fn a_checkpoint_of_one_backend_has_the_same_bits_on_the_other() {
    for (from, to) in [(Backend::Wgpu, Backend::Flex), (Backend::Flex, Backend::Wgpu)] {
        let root = tempfile::tempdir().unwrap();
        train(config(root.path(), 1), from).unwrap();
        let trained = checkpoints(root.path()).join("last.ckpt");
        let loaded = Model::from_checkpoint(&trained, &device(to)).unwrap();
        assert_eq!(loaded.devices(), [device(to)]);
        let again = root.path().join("again.ckpt");
        let mut contents = Contents::default();
        contents.sections.insert(Section::MODEL.to_owned(), Section::from_module(&loaded));
        contents.save(&again, Metadata::new(Timestamp::now())).unwrap();
        assert_eq!(of_the_model(&again), of_the_model(&trained), "from {from} to {to}");
    }
}

#[test]
fn a_run_resumes_on_the_other_backend_with_its_optimizer() {
    for (from, to) in [(Backend::Wgpu, Backend::Flex), (Backend::Flex, Backend::Wgpu)] {
        let (root, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(config(root.path(), 1), from).unwrap();
        let result = train(config(root.path(), 2).with_ckpt_path("last"), to).unwrap();
        assert_eq!((result.epochs, result.global_step), (2, 20));
        // Two backends round in different ways, and 10 steps of Adam make less than a thousandth of that.
        train(config(whole.path(), 2), from).unwrap();
        let loss = |root: &Path| {
            metadata(&checkpoints(root).join("last.ckpt"))["metrics"]["val_loss"].as_f64().unwrap()
        };
        let (here, there) = (loss(root.path()), loss(whole.path()));
        assert!((here - there).abs() < 1e-2 * there, "from {from} to {to}: {here} {there}");
    }
}

#[test]
fn a_program_with_both_backends_trains_and_resumes_on_flex_where_wgpu_finds_no_driver() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--backend flex --run-id r1 --set limit_train_batches=5 --set limit_valid_batches=2";
    for more in [
        "--epochs 1",
        "--epochs 2 --ckpt-path last --evaluate best",
        // From within an epoch, and on several devices.
        "--epochs 3 --ckpt-path last --save-every-steps 3 --device cpu --device cpu",
        "--epochs 4 --ckpt-path auto --predictions p.csv",
    ] {
        let mut command = digits(root.path(), &format!("{flags} {more}"));
        command.current_dir(root.path());
        ends_well_without_drivers(command);
    }
    let last = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert!(last["global_step"].as_u64().unwrap() > 10, "{last}");
    let mut finders = digits(root.path(), "--find-lr lr.csv --find-batch-size b.csv --memory-limit 400MiB");
    finders.current_dir(root.path()).args(["--set", "channels=2"]);
    ends_well_without_drivers(finders);
}

/// burn's default device, the first backend that the program was built with, cannot be used there.
fn ends_well_without_drivers(mut command: Command) {
    without_drivers(&mut command);
    let ended = Running::start(command).end_well();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// Hides every driver of a GPU, of software too.
fn without_drivers(command: &mut Command) {
    for variable in
        ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LIBGL_DRIVERS_PATH", "__EGL_VENDOR_LIBRARY_FILENAMES"]
    {
        command.env(variable, "/nowhere");
    }
    command.env("RUST_BACKTRACE", "1");
}

#[test]
fn a_backend_that_cannot_start_is_one_line_that_names_what_was_found() {
    let root = tempfile::tempdir().unwrap();
    let mut command = digits(root.path(), "--backend wgpu --run-id r1");
    without_drivers(&mut command);
    let ended = Running::start(command).end();
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    let ours: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error: Wgpu")).collect();
    assert_eq!(ours.len(), 1, "{}", ended.stderr);
    assert!(ours[0].contains("cannot be started"), "{}", ended.stderr);
    assert!(ours[0].contains("no GPU was found on this machine"), "{}", ended.stderr);
    for of_a_panic in ["panicked", "backtrace", "RecvError"] {
        assert!(!ended.stderr.contains(of_a_panic), "{}", ended.stderr);
    }
    assert!(!run_dir(root.path()).exists());
}

/// The metadata is the judge: there the adapter that the run used is of the type `cpu`, or is not.
#[test]
fn a_renderer_in_software_is_named_in_the_first_lines_and_a_gpu_is_not() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--run-id r1 --epochs 1 --set limit_train_batches=2 --set limit_valid_batches=1";
    let ended = Running::start(digits(root.path(), &format!("{flags} --backend wgpu"))).end_well();
    let hardware = metadata(&checkpoints(root.path()).join("last.ckpt"))["environment"]["hardware"].clone();
    let used = hardware["gpu_devices"].as_array().unwrap().iter().find(|gpu| gpu["used"] == true).unwrap();
    // Mesa's choice of a device asks for a display, and Wayland says where there is none.
    let lines: Vec<&str> =
        ended.stderr.lines().filter(|line| !line.starts_with("error: XDG_RUNTIME_DIR is ")).collect();
    let named: Vec<usize> = (0..lines.len()).filter(|it| lines[*it].contains("is not a GPU but")).collect();
    if used["type"] == "cpu" {
        assert!(matches!(named[..], [first] if first < 3), "{}", ended.stderr);
        assert!(lines[named[0]].contains(used["name"].as_str().unwrap()), "{}", ended.stderr);
    } else {
        assert!(named.is_empty(), "{}", ended.stderr);
    }
    // The processor itself is not named.
    let ended = Running::start(digits(root.path(), &flags.replace("r1", "r2"))).end_well();
    assert!(!ended.stderr.contains("is not a GPU but"), "{}", ended.stderr);
}

#[test]
fn a_program_that_is_told_no_backend_says_once_why_it_uses_no_gpu_and_trains_and_resumes_without() {
    let root = tempfile::tempdir().unwrap();
    for epochs in ["1", "2"] {
        let few = "--set limit_train_batches=2 --set limit_valid_batches=1 --ckpt-path auto --run-id r1";
        let mut command = digits(root.path(), &format!("{few} --epochs {epochs}"));
        without_drivers(&mut command);
        let ended = Running::start(command).end_well();
        let said: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("no GPU is used")).collect();
        let why = "note: no GPU is used (this machine has none, or no driver for it; built for ";
        assert!(matches!(said[..], [line] if line.starts_with(why)), "{}", ended.stderr);
    }
    let last = metadata(&checkpoints(root.path()).join("last.ckpt"));
    assert_eq!(last["global_step"], 4);
}
