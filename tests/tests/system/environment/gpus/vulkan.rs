//! The adapters of Vulkan, and a run on one of them. They are compared with `vulkaninfo`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::{Device, DeviceKind};
use burn_trainer::environment::{GpuDevice, GpuKind, gpus};
use serde_json::{Value, json};
use system_tests::models::small::train_on_devices;
use system_tests::programs::commands::{burn_ckpt_command, stderr, stdout};
use system_tests::programs::running::{Running, digits};
use system_tests::programs::test_alone::run_alone;
use system_tests::run_files::hardware;
use tempfile::TempDir;

use super::costs_nothing;

/// Where a run of a process of its own goes.
const ROOT: &str = "SYSTEM_TESTS_GPU_ROOT";

fn vulkaninfo(arguments: &[&str]) -> String {
    let output = Command::new("vulkaninfo").args(arguments).output();
    stdout(&output.expect("these tests need vulkaninfo (package vulkan-tools)"))
}

/// What `vulkaninfo --summary` says of each device.
fn summary() -> Vec<BTreeMap<String, String>> {
    let text = vulkaninfo(&["--summary"]);
    let (_, devices) = text.split_once("Devices:\n").expect("a list of devices");
    let mut found: Vec<BTreeMap<String, String>> = Vec::new();
    for line in devices.lines() {
        match line.split_once(" = ") {
            Some((key, value)) => {
                let device = found.last_mut().expect("a line GPU0: before");
                device.insert(key.trim().to_owned(), value.trim().to_owned());
            }
            None if line.starts_with("GPU") => found.push(BTreeMap::new()),
            None => {}
        }
    }
    found
}

/// The size of each device's largest heap of its own.
fn memory() -> Vec<u64> {
    let text = vulkaninfo(&[]);
    let mut found = Vec::new();
    for part in text.split("memoryHeaps: count =").skip(1) {
        let heaps = part.split("memoryTypes: count =").next().unwrap();
        let own = heaps.split("memoryHeaps[").filter(|heap| heap.contains("DEVICE_LOCAL_BIT"));
        let size = |heap: &str| {
            let size = heap.lines().find_map(|line| line.trim().strip_prefix("size")).unwrap().to_owned();
            size.trim_start_matches([' ', '=']).split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        found.push(own.map(size).max().unwrap());
    }
    found
}

fn without_use(gpus: &[GpuDevice]) -> Vec<GpuDevice> {
    let unused = |gpu: &GpuDevice| {
        let mut gpu = gpu.clone();
        (gpu.used, gpu.burn_devices) = (false, Vec::new());
        gpu
    };
    gpus.iter().map(unused).collect()
}

fn version_of_vulkan(gpu: &GpuDevice) -> Option<&str> {
    gpu.apis.iter().find(|api| api.name == "vulkan")?.version.as_deref()
}

#[test]
fn every_value_of_an_adapter_is_what_vulkaninfo_says_and_each_is_listed_once() {
    let (expected, memory) = (summary(), memory());
    assert!(!expected.is_empty(), "no Vulkan device: software Vulkan is enough (mesa-vulkan-drivers)");
    assert_eq!(expected.len(), memory.len());
    let listed = gpus();
    let by_vulkan: Vec<&GpuDevice> = listed.iter().filter(|gpu| version_of_vulkan(gpu).is_some()).collect();
    assert_eq!(by_vulkan.len(), expected.len(), "{listed:#?}");
    for (device, memory) in expected.iter().zip(memory) {
        let same = listed.iter().filter(|gpu| gpu.name.as_ref() == Some(&device["deviceName"]));
        let bare = |uuid: &str| uuid.trim_start_matches("GPU-").to_owned();
        let same = same.filter(|gpu| gpu.uuid.as_deref().map(bare).as_ref() == Some(&device["deviceUUID"]));
        let [gpu] = same.collect::<Vec<_>>()[..] else { panic!("not once: {device:#?} in {listed:#?}") };
        let kind = match device["deviceType"].as_str() {
            "PHYSICAL_DEVICE_TYPE_DISCRETE_GPU" => GpuKind::Discrete,
            "PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU" => GpuKind::Integrated,
            "PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU" => GpuKind::Virtual,
            "PHYSICAL_DEVICE_TYPE_CPU" => GpuKind::Cpu,
            _ => GpuKind::Other,
        };
        assert_eq!(gpu.kind, Some(kind));
        assert_eq!(gpu.driver.as_ref(), Some(&device["driverName"]));
        assert_eq!(gpu.driver_version.as_ref(), Some(&device["driverInfo"]));
        assert_eq!(version_of_vulkan(gpu), Some(device["apiVersion"].as_str()));
        let vendor = match device["vendorID"].as_str() {
            "0x10005" => "Mesa",
            "0x10de" => "NVIDIA",
            "0x1002" => "AMD",
            "0x8086" => "Intel",
            number => number,
        };
        assert_eq!(gpu.vendor.as_deref(), Some(vendor));
        if gpu.compute_capability.is_none() {
            // NVIDIA's library counts what Vulkan holds back.
            assert_eq!(gpu.memory_bytes, Some(memory));
        }
        if kind == GpuKind::Cpu {
            assert_eq!((gpu.pci_address.as_ref(), gpu.compute_capability.as_ref()), (None, None));
        }
    }
}

#[test]
fn burns_devices_are_each_on_one_gpu() {
    let listed = gpus();
    let count =
        |name: &str| listed.iter().filter(|gpu| gpu.burn_devices.iter().any(|own| own == name)).count();
    let burns = Device::enumerate(burn::tensor::DeviceType::Wgpu);
    assert!(!burns.is_empty());
    let named: usize = listed.iter().map(|gpu| gpu.burn_devices.len()).sum();
    assert_eq!(named, burns.len(), "{listed:#?}");
    for gpu in listed.iter().flat_map(|gpu| &gpu.burn_devices) {
        assert_eq!(count(gpu), 1);
    }
}

/// In a process of its own, where nothing has looked for GPUs before the run: that is the order of a real
/// one.
#[test]
fn a_run_lists_the_adapter_that_it_computed_on_once_as_used() {
    if let Some(root) = std::env::var_os(ROOT) {
        let root = std::path::PathBuf::from(root);
        train_on_devices(&root, &[Device::wgpu(DeviceKind::DefaultDevice)]).unwrap();
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let name = "a_run_lists_the_adapter_that_it_computed_on_once_as_used";
    run_alone(module_path!(), name, ROOT, root.path());

    let hardware = hardware(root.path());
    assert_eq!(hardware["devices_used"], json!(["Wgpu(DefaultDevice)"]));
    assert_eq!(hardware["gpu_count"], gpus().len());
    let listed: Vec<GpuDevice> = serde_json::from_value(hardware["gpu_devices"].clone()).unwrap();
    assert_eq!(without_use(&listed), without_use(&gpus()));
    let used: Vec<&GpuDevice> = listed.iter().filter(|gpu| gpu.used).collect();
    assert_eq!(used.len(), 1, "{listed:#?}");
    assert!(used[0].burn_devices.iter().any(|device| device == "Wgpu(DefaultDevice)"));
    assert!(used[0].burn_devices.len() > 1, "the device is also one that burn lists: {:?}", used[0]);
}

/// A directory with a Vulkan driver that never answers, and its manifest as the only one of a command.
fn with_hanging_driver(command: &mut Command) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/environment/gpus/hanging_vulkan.c");
    let (library, manifest) = (directory.path().join("libhangs.so"), directory.path().join("hangs.json"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
    stdout(&compiler.output().unwrap());
    let driver = json!({ "library_path": library, "api_version": "1.3.0" });
    let text = json!({ "file_format_version": "1.0.0", "ICD": driver }).to_string();
    std::fs::write(&manifest, text).unwrap();
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        command.env(variable, &manifest);
    }
    directory
}

/// Both wait as long as a driver may take, at the same time. The training is that of a build with wgpu whose
/// run computes on flex: it has no device there, and needs no driver.
#[test]
fn a_vulkan_driver_that_hangs_is_given_up_by_env_and_costs_neither_training_on_flex_nor_checkpoints() {
    let root = tempfile::tempdir().unwrap();
    let flags = "--run-id r1 --epochs 1 --set limit_train_batches=2 --set limit_valid_batches=1";
    let mut training = digits(root.path(), &format!("{flags} --backend flex"));
    let mut env = burn_ckpt_command();
    let _drivers = [with_hanging_driver(&mut training), with_hanging_driver(&mut env)];
    let training = Running::start(training);
    is_given_up(&env.args(["env", "--json"]).output().unwrap());
    costs_nothing(&training.end_well(), root.path());
}

fn is_given_up(output: &Output) {
    let environment: Value = serde_json::from_str(&stdout(output)).unwrap();
    let hardware = &environment["hardware"];
    assert_eq!((&hardware["gpu_count"], &hardware["gpu_devices"]), (&Value::Null, &json!([])));
    assert!(hardware["cpu_count"].is_u64() && stderr(output).contains("given up"), "{}", stderr(output));
}
