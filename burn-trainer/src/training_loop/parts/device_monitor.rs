//! The devices as seen from beside the loop: whether one is lost, and when they are open, so that their GPUs
//! can be described.

use std::sync::Arc;

use burn_ckpt::plumbing::ReadTiming;
use burn_environment::EnvironmentProbe;

use super::multi_device::TrainingDevices;
use crate::process::environment_devices::EnvironmentDevices;
use crate::remote::device_watch::DeviceWatch;
use crate::remote::loss_diagnosis::LostDevices;

/// The devices of one call of `fit`.
pub(crate) struct DeviceMonitor {
    /// `None` when none is of another machine.
    watch: Option<DeviceWatch>,
    environment: EnvironmentDevices,
}

impl DeviceMonitor {
    /// A process that saves nothing has no probe of the environment.
    pub(crate) fn new(
        devices: &TrainingDevices,
        watch: Option<&DeviceWatch>,
        environment: Option<Arc<EnvironmentProbe>>,
    ) -> Self {
        let environment = EnvironmentDevices::new(environment, devices.all().to_vec());
        Self { watch: watch.cloned(), environment }
    }

    /// When saves read the devices. Those of another machine can be lost before the writer gets to it.
    pub(in crate::training_loop) fn read_timing(&self) -> ReadTiming {
        if self.watch.is_some() { ReadTiming::Now } else { ReadTiming::Later }
    }

    /// The devices are open. Tells the probe of the environment, once.
    pub(in crate::training_loop) fn report_in_use(&mut self) {
        self.environment.report();
    }

    /// The devices that are known to be lost.
    pub(in crate::training_loop) fn lost(&self) -> Option<LostDevices> {
        self.watch.as_ref().and_then(DeviceWatch::lost)
    }

    /// The same after a test of all devices.
    pub(in crate::training_loop) fn test_now(&self) -> Option<LostDevices> {
        self.watch.as_ref().and_then(DeviceWatch::test_now)
    }
}
