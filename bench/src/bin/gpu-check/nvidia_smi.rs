//! The GPUs that a run's metadata would have, beside those of `nvidia-smi`.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bench::Table;
use burn_trainer::environment::{Environment, GpuDevice, gpus};

/// What is compared, as `nvidia-smi` calls it.
const FIELDS: [&str; 6] = ["name", "uuid", "pci.bus_id", "memory.total", "driver_version", "compute_cap"];
/// A driver that hangs does not answer at all.
const LIMIT: Duration = Duration::from_secs(10);

/// The lines that `nvidia-smi` prints for a query, its values without units; `None` where it has no answer.
pub fn query(fields: &str) -> Option<Vec<String>> {
    let mut command = Command::new("nvidia-smi");
    command.args([&format!("--query-gpu={fields}"), "--format=csv,noheader,nounits"]);
    let output = burn_environment::plumbing::output_of(command, Instant::now() + LIMIT).ok()?;
    let text = String::from_utf8_lossy(&output).into_owned();
    Some(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Prints the machine and both lists. Fails where they differ.
pub fn compare_and_print() -> ExitCode {
    let Environment { hardware, os, .. } = Environment::collect();
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let gigabytes = hardware.memory_bytes.unwrap_or_default() as f64 / 1e9;
    let processors = hardware.cpu_count.unwrap_or_default();
    println!("- processor: {}, {processors} logical; memory: {gigabytes:.1} GB", known(&hardware.cpu_model));
    println!("- system: {} {}, kernel {}\n", known(&os.name), known(&os.version), known(&os.kernel));
    let gpus = gpus();
    gpus.iter().for_each(|gpu| println!("- {gpu}"));
    let ours: Vec<String> = gpus.iter().filter(|gpu| is_card_of_nvidia(gpu)).map(line).collect();
    let Some(theirs) = query(&FIELDS.join(",")) else {
        println!("\nnvidia-smi does not answer: nothing to compare these {} with.", gpus.len());
        return ExitCode::SUCCESS;
    };
    let mut table = Table::new(&["the metadata's card", "nvidia-smi's", "same"]);
    let mut all_same = ours.len() == theirs.len();
    for index in 0..ours.len().max(theirs.len()) {
        let (ours, theirs) = (ours.get(index), theirs.get(index));
        all_same &= ours == theirs;
        let cell = |line: Option<&String>| line.cloned().unwrap_or_else(|| "none".to_owned());
        table.row([cell(ours), cell(theirs), if ours == theirs { "yes" } else { "no" }.to_owned()]);
    }
    println!("\n{table}");
    if all_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether it is one that NVIDIA's library lists: a card, and not a part of one.
fn is_card_of_nvidia(gpu: &GpuDevice) -> bool {
    gpu.uuid.as_ref().is_some_and(|uuid| uuid.starts_with("GPU-")) && gpu.vendor.as_deref() == Some("NVIDIA")
}

/// A card in `nvidia-smi`'s form: it writes the domain of an address with eight digits, and mebibytes.
fn line(gpu: &GpuDevice) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "[N/A]".to_owned());
    let address = gpu
        .pci_address
        .as_ref()
        .map_or_else(String::new, |address| format!("0000{}", address.to_uppercase()));
    let mebibytes = gpu.memory_bytes.map_or_else(|| "[N/A]".to_owned(), |bytes| (bytes >> 20).to_string());
    [
        text(&gpu.name),
        text(&gpu.uuid),
        address,
        mebibytes,
        text(&gpu.driver_version),
        text(&gpu.compute_capability),
    ]
    .join(", ")
}
