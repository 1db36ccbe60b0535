//! The `hardware` part: processors and memory, and the accelerators that `gpu` finds.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::gpu::{GpuDevice, UsedDevice, mark_used, wait_for_gpus};

/// Processors, memory and accelerators of the machine, whatever share of them the process may use.
///
/// The [crate's page](crate) has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Hardware {
    /// Number of logical processors.
    pub cpu_count: Option<u64>,
    /// Number of cores, each of which can be several logical processors.
    pub cpu_core_count: Option<u64>,
    /// Model of the first processor, as its vendor spells it.
    pub cpu_model: Option<String>,
    /// Physical memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Number of [`gpu_devices`](Self::gpu_devices), or `None` where no driver could be asked.
    pub gpu_count: Option<u64>,
    /// The GPUs that were found, each once.
    pub gpu_devices: Vec<GpuDevice>,
    /// The devices of burn that the run computed on, by the calls that make them: `Flex`, `Cuda(0)`.
    pub devices_used: Vec<String>,
}

impl Hardware {
    /// Asks the operating system; the GPUs stay unknown.
    pub(crate) fn without_gpus() -> Self {
        // Neither load nor frequencies: those would be measured, and change from one moment to the
        // next.
        let system = System::new_with_specifics(
            RefreshKind::nothing()
                .with_cpu(CpuRefreshKind::nothing())
                .with_memory(MemoryRefreshKind::nothing().with_ram()),
        );
        let cpus = system.cpus();
        let model = cpus.first().map_or("", |cpu| cpu.brand().trim());
        Self {
            // Where it knows nothing, `sysinfo` says zero or an empty name.
            cpu_count: (!cpus.is_empty()).then_some(cpus.len() as u64),
            cpu_core_count: System::physical_core_count()
                .filter(|cores| *cores > 0)
                .map(|cores| cores as u64),
            cpu_model: (!model.is_empty()).then(|| model.to_owned()),
            memory_bytes: (system.total_memory() > 0).then(|| system.total_memory()),
            ..Self::default()
        }
    }

    /// Adds the GPUs, and which of them the run computed on.
    pub(crate) fn add(&mut self, gpus: GpusOfRun) {
        self.gpu_count = Some(gpus.devices.len() as u64);
        self.gpu_devices = gpus.devices;
        self.devices_used = gpus.used;
    }
}

/// The GPUs of the machine as a run sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct GpusOfRun {
    pub(crate) devices: Vec<GpuDevice>,
    /// The names of all devices that it computed on.
    pub(crate) used: Vec<String>,
}

impl GpusOfRun {
    /// Asks the drivers, and burn of the devices, which are open. Hangs if a driver hangs.
    pub(crate) fn look(used: &[Device]) -> Self {
        let used: Vec<UsedDevice> = used.iter().map(UsedDevice::of).collect();
        Self {
            devices: mark_used(wait_for_gpus(), &used),
            used: used.into_iter().map(|device| device.name).collect(),
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
        assert_eq!(Hardware::without_gpus().memory_bytes, Some(kibibytes * 1024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_processors_are_those_of_proc_cpuinfo() {
        let hardware = Hardware::without_gpus();
        let processors = proc_values("/proc/cpuinfo", "processor");
        assert_eq!(hardware.cpu_count, Some(processors.len() as u64));
        // Not every architecture has the line.
        if let Some(model) = proc_values("/proc/cpuinfo", "model name").into_iter().next() {
            assert_eq!(hardware.cpu_model, Some(model));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_cores_are_those_of_proc_cpuinfo() {
        let (packages, cores) =
            (proc_values("/proc/cpuinfo", "physical id"), proc_values("/proc/cpuinfo", "core id"));
        // Not every architecture has the lines.
        if !cores.is_empty() {
            let different: std::collections::BTreeSet<_> = packages.into_iter().zip(cores).collect();
            assert_eq!(Hardware::without_gpus().cpu_core_count, Some(different.len() as u64));
        }
    }

    #[test]
    fn the_number_of_gpus_is_that_of_the_devices_listed() {
        let mut hardware = Hardware::without_gpus();
        assert_eq!(hardware.gpu_count, None);
        hardware.add(GpusOfRun { devices: vec![GpuDevice::default(); 2], used: vec!["Cuda(0)".to_owned()] });
        assert_eq!((hardware.gpu_count, hardware.gpu_devices.len()), (Some(2), 2));
        assert_eq!(hardware.devices_used, ["Cuda(0)"]);
    }
}
