//! What a report shows of each start of a run.

use serde::Serialize;

use crate::format::run_start::RunStart;
use crate::start_changes::{SettingChange, changes_of};

/// A start of a run, without its configuration, which the page shows as that of the newest checkpoint.
#[derive(Debug, Serialize)]
pub(super) struct StartData {
    #[serde(flatten)]
    start: RunStart,
    /// The settings that it changed, in words.
    changed: Vec<String>,
}

impl StartData {
    pub(super) fn all(starts: Vec<RunStart>) -> Vec<Self> {
        let changes = changes_of(&starts);
        let data = |(start, changes): (RunStart, Vec<SettingChange>)| Self {
            start: RunStart { trainer_config: None, hparams: None, ..start },
            changed: changes.iter().map(SettingChange::in_words).collect(),
        };
        starts.into_iter().zip(changes).map(data).collect()
    }
}
