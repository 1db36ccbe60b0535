//! Passes the devices of a run to the probe that describes the environment, once they compute.

use std::sync::Arc;

use burn::tensor::Device;
use burn_environment::EnvironmentProbe;

/// The probe and the devices, until they are reported. A process that saves nothing has none.
#[derive(Default)]
pub(crate) struct EnvironmentDevices(Option<(Arc<EnvironmentProbe>, Vec<Device>)>);

impl EnvironmentDevices {
    pub(crate) fn new(probe: Option<Arc<EnvironmentProbe>>, devices: Vec<Device>) -> Self {
        Self(probe.map(|probe| (probe, devices)))
    }

    /// The devices have computed something: they are open, and the probe can look for their GPUs. Sends a message to the
    /// probe's thread, once.
    pub(crate) fn report(&mut self) {
        if let Some((probe, devices)) = self.0.take() {
            probe.devices(devices);
        }
    }
}
