//! Evaluations that are kept after training: they are sent to the mirror then, as its thread has ended.

use std::path::Path;

use burn_ckpt::mirror::RunMirror;
use burn_ckpt::{RunLayout, chain};

use super::at_start::{connect, writer};
use crate::config::{MirrorConfig, TrainerConfig};
use crate::process::console::warn;

/// Sends the evaluations that are kept beside the run's checkpoints to the mirror, if the run has one. Says
/// so where that fails.
pub(super) fn send(config: &TrainerConfig, run_dir: &Path) {
    let Some(settings) = &config.mirror else { return };
    if let Err(error) = try_to_send(settings, &RunLayout::at(run_dir)) {
        warn(&format!(
            "the evaluation is not in the mirror: {}. The next start that resumes the run sends it",
            chain(&error)
        ));
    }
}

fn try_to_send(settings: &MirrorConfig, layout: &RunLayout) -> burn_ckpt::Result<()> {
    let mut mirror =
        RunMirror::open(&connect(&settings.address.parse()?)?, layout.run_id(), &writer(settings))?;
    let sent = mirror.send_evaluations(layout);
    // The first error counts. A lease that is not given back ends by itself.
    let closed = mirror.close();
    sent?;
    closed
}
