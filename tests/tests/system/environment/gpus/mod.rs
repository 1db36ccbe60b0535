//! The GPUs in a run's metadata: each once, every value as another program says it, and which of them the run
//! used.
//!
//! What is compared depends on the machine: NVIDIA's cards with `nvidia-smi`, and with the feature `wgpu` the
//! adapters with `vulkaninfo`, for which software Vulkan is enough.

#[cfg(feature = "wgpu")]
mod vulkan;

use std::path::Path;
use std::process::Command;

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::metric::LossMetric;
use burn::train::{ExecutionStrategy, Learner, MultiDeviceOptim};
use burn_trainer::Trainer;
use burn_trainer::config::ValidateAtStart;
use burn_trainer::environment::{GpuDevice, gpus};
use burn_trainer::strategy::{Best, TopK};
use serde_json::{Value, json};
use system_tests::backend;
use system_tests::models::small::{Model, Script, loader, train_on_devices};
use system_tests::programs::commands::{burn_ckpt_command, stderr, stdout};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::run_files::{checkpoints, hardware, metadata};
use system_tests::{config, train, train_scripted};
use tempfile::TempDir;

/// The device of the tests, as the metadata calls it.
fn device_name() -> &'static str {
    if backend::is_flex() { "Flex" } else { "Wgpu(DefaultDevice)" }
}

fn learner_on(device: &Device) -> Learner<Model> {
    let model = Model::new(Script::default(), &device.clone().autodiff());
    Learner::new(model, AdamConfig::new().init(), 1e-2)
}

#[test]
fn a_run_on_the_processor_uses_no_gpu_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    train_on_devices(root.path(), &[Device::flex()]).unwrap();
    let hardware = hardware(root.path());
    assert_eq!(hardware["devices_used"], json!(["Flex"]));
    // The list is that of this machine, as everybody else in this program sees it.
    assert_eq!(hardware["gpu_devices"], serde_json::to_value(gpus()).unwrap());
    assert_eq!(hardware["gpu_count"], gpus().len());
    assert!(gpus().iter().all(|gpu| !gpu.used));
}

#[test]
fn a_state_that_is_saved_before_the_first_step_names_its_devices_too() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1).with_primary_metric("val_loss");
    let config = config.with_validate_at_start(ValidateAtStart::Whole);
    train_scripted(config.with_best(Best::new().with_topk(TopK::All)), Script::default()).unwrap();
    let first = metadata(&checkpoints(root.path()).join("best/epoch=0-step=0.ckpt"));
    assert_eq!(first["environment"]["hardware"]["devices_used"], json!([device_name()]));
}

#[test]
fn every_device_of_a_run_is_named() {
    let root = tempfile::tempdir().unwrap();
    train_on_devices(root.path(), &[Device::flex(), Device::flex()]).unwrap();
    assert_eq!(hardware(root.path())["devices_used"], json!(["Flex", "Flex"]));
}

#[test]
fn the_devices_of_a_loop_of_burns_are_named() {
    let root = tempfile::tempdir().unwrap();
    let script = Script::default();
    let trainer = Trainer::new(config(root.path(), 1), &script.hparams()).unwrap();
    let training = trainer.training(loader(&script), loader(&script)).metrics((LossMetric::new(),));
    let devices = vec![Device::flex().autodiff(), Device::flex().autodiff()];
    let strategy = ExecutionStrategy::multi(devices, MultiDeviceOptim::OptimMainDevice);
    trainer.fit_with(training, learner_on(&Device::flex()), strategy).unwrap();
    assert_eq!(hardware(root.path())["devices_used"], json!(["Flex", "Flex"]));
}

#[test]
fn a_run_that_fails_before_its_first_save_names_its_devices_too() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1);
    let script = Script { panic_in_step: Some(2), ..Script::default() };
    assert!(train_scripted(config, script).is_err());
    let directory = checkpoints(root.path()).join("on_exception");
    let saved = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let saved: Vec<_> = saved.filter(|path| path.extension().is_some_and(|end| end == "ckpt")).collect();
    let hardware = &metadata(&saved[0])["environment"]["hardware"];
    assert_eq!((&hardware["devices_used"], saved.len()), (&json!([device_name()]), 1));
    assert_eq!(hardware["gpu_count"], gpus().len());
}

#[test]
fn processors_and_memory_are_what_other_programs_say() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let hardware = hardware(root.path());
    let says = |program: &str, arguments: &[&str]| {
        stdout(&Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap())
    };
    assert_eq!(hardware["cpu_count"].to_string(), says("nproc", &["--all"]).trim());
    // A line a logical processor, with the core that it is on.
    let cores = says("lscpu", &["--parse=CORE"]);
    let cores: std::collections::BTreeSet<&str> =
        cores.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(hardware["cpu_core_count"], cores.len());
    let model = says("lscpu", &[]);
    let model = model.lines().find_map(|line| line.trim().strip_prefix("Model name:")).unwrap();
    assert_eq!(hardware["cpu_model"], model.trim());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kibibytes: u64 = total.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert_eq!(hardware["memory_bytes"], kibibytes * 1024);
}

/// Where there is no driver, no card is made up.
#[test]
fn the_cards_of_nvidia_are_those_that_nvidia_smi_lists() {
    let query = "--query-gpu=name,uuid,pci.bus_id,memory.total,driver_version,compute_cap";
    let listed = Command::new("nvidia-smi").args([query, "--format=csv,noheader,nounits"]).output();
    let cards: Vec<GpuDevice> = gpus().into_iter().filter(is_listed_by_nvml).collect();
    match listed {
        Ok(output) if output.status.success() => {
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            let of_a_card = |gpu: &GpuDevice| {
                // It writes the domain with eight digits.
                let pci = gpu.pci_address.clone().unwrap_or_default().to_uppercase();
                let mebibytes = gpu.memory_bytes.unwrap_or_default() >> 20;
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                let (name, uuid) = (text(&gpu.name), text(&gpu.uuid));
                let (driver, capability) = (text(&gpu.driver_version), text(&gpu.compute_capability));
                format!("{name}, {uuid}, 0000{pci}, {mebibytes}, {driver}, {capability}")
            };
            let found: Vec<String> = cards.iter().map(of_a_card).collect();
            assert_eq!(found, listed.lines().map(str::trim).collect::<Vec<_>>());
        }
        // A container can have the driver without the tool; the driver's own files name the cards then.
        _ => {
            let known = std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten();
            let known: Vec<String> =
                known.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            for card in cards {
                assert!(known.contains(&card.pci_address.clone().unwrap_or_default()), "{card:?}");
            }
        }
    }
}

fn is_listed_by_nvml(gpu: &GpuDevice) -> bool {
    gpu.uuid.as_ref().is_some_and(|uuid| uuid.starts_with("GPU-"))
}

/// A directory with a small library in C in the place of NVIDIA's, for the linker's search path.
fn library(options: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/environment/gpus/nvml.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror"]).args(options).arg("-o");
    compiler.arg(directory.path().join("libnvidia-ml.so.1")).arg(&source);
    stdout(&compiler.output().unwrap());
    directory
}

#[test]
fn a_driver_that_hangs_costs_neither_training_nor_checkpoints_and_the_program_ends() {
    let (library, root) = (library(&["-DHANGS"]), tempfile::tempdir().unwrap());
    let mut command = warmup(root.path(), "--run-id r1 --epochs 2");
    command.env("LD_LIBRARY_PATH", library.path());
    costs_nothing(&Running::start(command).end_well(), root.path());
}

/// The drivers were given up, said once, and the rest of the environment is known.
fn costs_nothing(ended: &Ended, root: &Path) {
    let environment = &metadata(&checkpoints(root).join("last.ckpt"))["environment"];
    let hardware = &environment["hardware"];
    assert_eq!((&hardware["gpu_count"], &hardware["gpu_devices"]), (&Value::Null, &json!([])));
    assert!(hardware["cpu_count"].is_u64() && environment["os"]["name"].is_string(), "{environment}");
    let said = ended.stderr.matches("the drivers of GPUs did not answer").count();
    assert_eq!(said, 1, "{}", ended.stderr);
}

/// Also of a library that hangs while it is loaded, which keeps a process from ending, and of one that
/// crashes.
#[test]
fn a_driver_that_hangs_or_crashes_is_given_up_by_env() {
    std::thread::scope(|scope| {
        for (fault, said) in [
            ("-DHANGS", "given up"),
            ("-DHANGS_LOADING", "given up"),
            ("-DCRASHES", "the drivers of GPUs cannot be asked"),
        ] {
            scope.spawn(move || {
                let library = library(&[fault]);
                let env = |more: &[&str]| {
                    let mut command = burn_ckpt_command();
                    command.arg("env").args(more).env("LD_LIBRARY_PATH", library.path()).output().unwrap()
                };
                let output = env(&["--json"]);
                let environment: Value = serde_json::from_str(&stdout(&output)).unwrap();
                let hardware = &environment["hardware"];
                assert_eq!(
                    (&hardware["gpu_count"], &hardware["gpu_devices"]),
                    (&Value::Null, &json!([])),
                    "{fault}"
                );
                assert!(
                    hardware["cpu_count"].is_u64() && environment["os"]["name"].is_string(),
                    "{environment}"
                );
                assert!(stderr(&output).contains(said), "{fault}: {}", stderr(&output));
                if fault == "-DCRASHES" {
                    let table = stdout(&env(&[]));
                    let unknown = |line: &str| line.split_whitespace().eq(["gpu_count", "-"]);
                    assert!(table.lines().any(unknown), "{table}");
                }
            });
        }
    });
}

/// The facts are those of the library in C.
#[test]
fn what_nvidias_library_says_is_what_is_listed_also_of_a_card_that_is_lost() {
    let library = library(&[]);
    let output =
        burn_ckpt_command().args(["env", "--json"]).env("LD_LIBRARY_PATH", library.path()).output().unwrap();
    let environment: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let listed = environment["hardware"]["gpu_devices"].as_array().unwrap();
    let common = json!({
        "name": null,
        "vendor": "NVIDIA",
        "type": "discrete",
        "memory_bytes": null,
        "pci_address": null,
        "uuid": null,
        "driver": "NVIDIA",
        "driver_version": "550.54.15",
        "apis": [{ "name": "cuda", "version": "12.4" }],
        "compute_capability": null,
        "burn_devices": [],
        "used": false,
    });
    let with = |facts: &[(&str, Value)]| {
        let mut card = common.clone();
        facts.iter().for_each(|(key, value)| card[*key] = value.clone());
        card
    };
    let card = with(&[
        ("name", json!("NVIDIA H100 80GB HBM3")),
        ("memory_bytes", json!(85_520_809_984_u64)),
        ("pci_address", json!("0000:3b:00.0")),
        ("uuid", json!("GPU-8b3c1a52-77aa-4c3c-9d1e-0a1b2c3d4e5f")),
        ("compute_capability", json!("9.0")),
    ]);
    let share = with(&[
        ("name", json!("GRID A100-4C")),
        ("type", json!("virtual")),
        ("memory_bytes", json!(4_294_967_296_u64)),
        ("pci_address", json!("0000:02:01.0")),
        ("uuid", json!("GPU-11111111-2222-3333-4444-555555555555")),
        ("compute_capability", json!("8.0")),
    ]);
    // Those of Vulkan, if any, come after them.
    assert_eq!(listed[..3], [card, common, share]);
    assert_eq!(environment["hardware"]["gpu_count"], listed.len());
}
