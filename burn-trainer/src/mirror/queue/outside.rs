//! Checkpoints of directories outside of the run's, which are in one directory of the mirror: of two with one
//! name it has the later one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_ckpt::Metadata;
use burn_ckpt::mirror::OUTSIDE_DIR;

use super::Queue;
use crate::process::console::warn;

/// What was sent last of each name.
#[derive(Debug, Default)]
pub(in crate::mirror) struct SentFromOutside {
    /// By their names in the mirror.
    last: BTreeMap<String, PathBuf>,
    has_warned: bool,
}

impl SentFromOutside {
    /// Notes a checkpoint that was sent. Warns, the first time, where it has taken the place of another
    /// directory's, which is another state and still on disk.
    pub(in crate::mirror) fn note(&mut self, name: &str, path: &Path, queue: &Queue) {
        if !Path::new(name).starts_with(OUTSIDE_DIR) {
            return;
        }
        let before = self.last.insert(name.to_owned(), path.to_path_buf());
        let Some(other) = before.filter(|before| before != path) else { return };
        let state = |path: &Path| {
            let metadata = Metadata::of_checkpoint(path);
            metadata.map(|metadata| (metadata.checkpoint_timestamp, metadata.global_step))
        };
        // One that was deleted meanwhile is not missed.
        if let (Ok(new), Ok(old)) = (state(path), state(&other))
            && new != old
        {
            let message = queue.hides(path, &other);
            match std::mem::replace(&mut self.has_warned, true) {
                false => warn(&message),
                true => log::warn!("{message}"),
            }
        }
    }
}
