//! The memory of a trial: measured where that can be done, and predicted for a larger batch.
//!
//! A GPU without memory fails the step, which the search can catch. Main memory that runs out ends the
//! process: the allocator aborts, or the kernel kills. So there the search does not try a size that would be
//! above the limit.

use burn::tensor::Device;
use burn_environment::{ProcessMemory, available_memory, device_name};

/// How burn's backends for main memory are called.
const HOST: [&str; 2] = ["Flex", "NdArray"];
/// The part of the main memory that is used by default, in percent. The rest is for a run's saves,
/// validations and averages, and for other processes.
pub(super) const DEFAULT_PERCENT: u64 = 80;

/// Where the memory of the devices is measured.
#[derive(Debug)]
pub(super) enum Gauge {
    /// What burn's allocator holds on each device; the largest counts.
    Devices(Vec<Device>),
    /// The memory of this process.
    Process,
    /// Nowhere: of a device of another machine, of other backends, and of main memory elsewhere than on
    /// Linux.
    Unknown {
        /// Whether a batch that does not fit ends the process.
        is_host: bool,
    },
}

impl Gauge {
    pub(super) fn of(devices: &[Device]) -> Self {
        let devices: Vec<Device> = devices.iter().map(|device| device.clone().inner()).collect();
        let is_host = devices.iter().any(|device| HOST.contains(&device_name(device).as_str()));
        match is_host {
            true if ProcessMemory::now().is_some() => Self::Process,
            false if devices.iter().all(|device| device.memory_pool_usage().is_some()) => {
                Self::Devices(devices)
            }
            is_host => Self::Unknown { is_host },
        }
    }

    /// The limit where none is set: of main memory, as it cannot be tried out.
    pub(super) fn default_limit(&self) -> Option<u64> {
        let Self::Process = self else { return None };
        let all = ProcessMemory::now()?.resident.saturating_add(available_memory()?);
        Some(all / 100 * DEFAULT_PERCENT)
    }

    /// What is used before anything is tried.
    pub(super) fn used(&self) -> Option<u64> {
        let Self::Process = self else { return None };
        ProcessMemory::now().map(|memory| memory.resident)
    }

    pub(super) fn begin(&self) -> Measurement<'_> {
        let mut before = 0;
        match self {
            Self::Devices(devices) => free(devices),
            Self::Process => {
                ProcessMemory::begin_peak();
                before = ProcessMemory::now().map_or(0, |memory| memory.peak);
            }
            Self::Unknown { .. } => {}
        }
        Measurement { gauge: self, before }
    }
}

/// Gives memory back that no tensor uses.
pub(super) fn free(devices: &[Device]) {
    for device in devices {
        // An error of the last trial is known already.
        let _ = device.sync();
        device.memory_cleanup();
    }
}

/// A measurement that has begun.
pub(super) struct Measurement<'a> {
    gauge: &'a Gauge,
    /// The peak of the process at the beginning.
    before: u64,
}

impl Measurement<'_> {
    /// The most that was used. `None` where it is not measured, and for a process that used no more than
    /// before: its allocator keeps what was freed, and how much of that was used again is not known.
    pub(super) fn end(self) -> Option<u64> {
        match self.gauge {
            Gauge::Devices(devices) => {
                let reserved = |device: &Device| Some(device.memory_pool_usage()?.bytes_reserved);
                devices.iter().filter_map(reserved).max()
            }
            Gauge::Process => Some(ProcessMemory::now()?.peak).filter(|peak| *peak > self.before),
            Gauge::Unknown { .. } => None,
        }
    }
}

/// The memory of the sizes that were measured. What a step keeps grows by the same with each item of the
/// batch.
#[derive(Debug, Default)]
pub(super) struct MemoryCurve(Vec<(usize, u64)>);

impl MemoryCurve {
    pub(super) fn add(&mut self, size: usize, memory: u64) {
        let place = self.0.partition_point(|(other, _)| *other < size);
        self.0.insert(place, (size, memory));
    }

    /// The memory of a size between two others, or above all. There it grows with each item as it has grown
    /// most since one of the others, as an allocator that uses freed memory again hides a part of the growth.
    /// `None` without two, and below the first.
    pub(super) fn predict(&self, size: usize) -> Option<u64> {
        let above = self.0.partition_point(|(other, _)| *other < size);
        let slope = |low: &(usize, u64), high: &(usize, u64)| {
            high.1.saturating_sub(low.1) as f64 / (high.0 - low.0).max(1) as f64
        };
        let low = self.0[..above].last()?;
        let each = match self.0.get(above) {
            Some(high) => slope(low, high),
            None => self.0[..above - 1].iter().map(|other| slope(other, low)).reduce(f64::max)?,
        };
        Some(low.1.saturating_add((each * (size - low.0) as f64) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_predicted_on_the_steepest_line_and_between_two_sizes() {
        let mut curve = MemoryCurve::default();
        assert_eq!(curve.predict(4), None);
        curve.add(2, 120);
        assert_eq!(curve.predict(4), None);
        curve.add(4, 140);
        assert_eq!((curve.predict(8), curve.predict(3), curve.predict(1)), (Some(180), Some(130), None));
        // More than the first sizes had said, and a size in between.
        curve.add(8, 220);
        assert_eq!((curve.predict(16), curve.predict(6)), (Some(380), Some(180)));
        // Less for more items: an error of the measurement.
        curve.add(16, 200);
        assert_eq!(curve.predict(32), Some(200 + 16 * 80 / 14));
    }

    #[test]
    fn main_memory_is_measured_and_limited() {
        let gauge = Gauge::of(&[Device::flex()]);
        if cfg!(target_os = "linux") {
            assert!(matches!(gauge, Gauge::Process), "{gauge:?}");
            let all = ProcessMemory::now().unwrap().resident + available_memory().unwrap();
            let limit = gauge.default_limit().unwrap();
            assert!(limit > 0 && limit < all, "{limit} of {all}");
            let measurement = gauge.begin();
            let used = std::hint::black_box(vec![1_u8; 64 << 20]);
            assert!(measurement.end().unwrap() > 60 << 20);
            drop(used);
        } else {
            assert!(matches!(gauge, Gauge::Unknown { is_host: true }), "{gauge:?}");
        }
    }
}
