//! The `hardware` part: processors and memory, and the accelerators that `gpu.rs` finds.

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::gpu::{self, GpuDevice};

/// Processors, memory and accelerators of the machine, whatever share of them the process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// Number of logical processors.
    pub cpu_count: Option<u64>,
    /// Model of the first processor, as its vendor spells it.
    pub cpu_model: Option<String>,
    /// Physical memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Number of [`gpu_devices`](Self::gpu_devices), or `None` where nobody could look for any.
    pub gpu_count: Option<u64>,
    /// The GPUs that were found, in the driver's order.
    pub gpu_devices: Vec<GpuDevice>,
}

impl Hardware {
    /// Asks the operating system and the GPU drivers.
    pub(crate) fn collect() -> Self {
        // Neither load nor frequencies: those would be measured, and change from one moment to the
        // next.
        let system = System::new_with_specifics(
            RefreshKind::nothing()
                .with_cpu(CpuRefreshKind::nothing())
                .with_memory(MemoryRefreshKind::nothing().with_ram()),
        );
        let cpus = system.cpus();
        let model = cpus.first().map_or("", |cpu| cpu.brand().trim());
        let gpu_devices = gpu::devices();
        Self {
            // Where it knows nothing, `sysinfo` says zero or an empty name.
            cpu_count: (!cpus.is_empty()).then_some(cpus.len() as u64),
            cpu_model: (!model.is_empty()).then(|| model.to_owned()),
            memory_bytes: (system.total_memory() > 0).then(|| system.total_memory()),
            gpu_count: Some(gpu_devices.len() as u64),
            gpu_devices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of all lines `key : value` of a file under `/proc`.
    #[cfg(target_os = "linux")]
    fn proc_values(file: &str, key: &str) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let lines = lines.filter(|(name, _)| name.trim() == key);
        lines.map(|(_, value)| value.trim().to_owned()).collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_is_that_of_proc_meminfo() {
        let total = proc_values("/proc/meminfo", "MemTotal");
        let kibibytes: u64 = total[0].strip_suffix(" kB").unwrap().parse().unwrap();
        assert_eq!(Hardware::collect().memory_bytes, Some(kibibytes * 1024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_processors_are_those_of_proc_cpuinfo() {
        let hardware = Hardware::collect();
        let processors = proc_values("/proc/cpuinfo", "processor");
        assert_eq!(hardware.cpu_count, Some(processors.len() as u64));
        // Not every architecture has the line.
        if let Some(model) = proc_values("/proc/cpuinfo", "model name").into_iter().next() {
            assert_eq!(hardware.cpu_model, Some(model));
        }
    }

    #[test]
    fn the_number_of_gpus_is_that_of_the_devices_listed() {
        let hardware = Hardware::collect();
        assert_eq!(hardware.gpu_count, Some(hardware.gpu_devices.len() as u64));
    }
}
