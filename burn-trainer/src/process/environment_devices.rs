//! The environment of a run: passes its devices to the probe that describes it, once they are open, and says
//! once if a driver does not answer.

use std::sync::{Arc, Once};

use burn::tensor::Device;
use burn_environment::EnvironmentProbe;
use serde_json::Value;

use crate::process::console::{note, warn};

/// Characters of a commit that are shown.
const SHORT_COMMIT: usize = 10;

/// The probe and the devices, until they are reported. A process that saves nothing has none.
#[derive(Default)]
pub(crate) struct EnvironmentDevices(Option<(Arc<EnvironmentProbe>, Vec<Device>)>);

impl EnvironmentDevices {
    pub(crate) fn new(probe: Option<Arc<EnvironmentProbe>>, devices: Vec<Device>) -> Self {
        Self(probe.map(|probe| (probe, devices)))
    }

    /// The devices are open, and the probe can look for their GPUs. Sends a message to the probe's thread,
    /// once.
    pub(crate) fn report(&mut self) {
        if let Some((probe, devices)) = self.0.take() {
            probe.devices(devices);
        }
    }
}

/// The function that describes the environment in a checkpoint's metadata. It says once if the program's
/// commit is another than in the checkpoint that the run resumes from, and if GPUs are unknown, since a
/// driver hangs or crashes.
pub(crate) fn described_by(
    probe: Arc<EnvironmentProbe>,
    commit_before: Option<String>,
) -> Box<dyn Fn() -> Value + Send + Sync> {
    let (compared, unknown) = (Once::new(), Once::new());
    Box::new(move || {
        let environment = probe.get();
        let commit = environment.git.as_ref().and_then(|git| git.commit.as_ref());
        if let (Some(now), Some(before)) = (commit, &commit_before)
            && now != before
        {
            compared.call_once(|| note(&changed_commit(now, before)));
        }
        if environment.hardware.gpu_count.is_none() {
            unknown.call_once(|| {
                warn("the drivers of GPUs did not answer in time: checkpoints have no list of GPUs until they do");
            });
        }
        serde_json::to_value(environment).unwrap_or_default()
    })
}

fn changed_commit(now: &str, before: &str) -> String {
    let short = |commit: &str| commit.get(..SHORT_COMMIT).unwrap_or(commit).to_owned();
    format!("the program's commit is {}, was {} in the checkpoint", short(now), short(before))
}
