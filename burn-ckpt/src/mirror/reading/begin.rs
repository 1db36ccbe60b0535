//! When a run has begun, by which two runs of one id are told apart: each resume copies that time from the
//! checkpoint that it begins with.

use jiff::Timestamp;

use crate::error::mirror_failure::WrongMirror;
use crate::error::{Error, Result};
use crate::format::metadata::Metadata;
use crate::mirror::reading::checkpoint_files::CheckpointFiles;
use crate::mirror::reading::mirrored_run::MirroredRun;
use crate::run_dir::catalog::Catalog;
use crate::run_dir::layout::RunLayout;

/// When the run on disk has begun, as its newest checkpoint says. `None` where none was saved by a trainer.
#[must_use]
pub fn begin_on_disk(run: &RunLayout, present: &Catalog) -> Option<Timestamp> {
    // A directory outside can have those of other runs.
    let own = |place: &&crate::CatalogEntry| place.metadata.run_id == run.run_id();
    present.entries.iter().rev().filter(own).find_map(|entry| begin(&entry.metadata))
}

/// `None` for what was not saved by a trainer: there each checkpoint has a time of its own.
fn begin(metadata: &Metadata) -> Option<Timestamp> {
    (!metadata.starts.is_empty()).then_some(metadata.start_timestamp)
}

impl MirroredRun {
    /// Fails if the run here is another one than that on disk, which has begun at this time: each would
    /// delete the other's checkpoints. Reads the metadata of the newest checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::WrongMirror`]; [`Error::Mirror`] when the metadata cannot be read.
    #[doc(hidden)]
    pub fn check_is_run_on_disk(&self, begin_on_disk: Option<Timestamp>) -> Result<()> {
        let (Some(on_disk), Some(newest)) = (begin_on_disk, self.newest()) else { return Ok(()) };
        match self.begin()? {
            Some(start) if start != on_disk => Err(Error::WrongMirror(WrongMirror::AnotherRun {
                address: self.store.address().to_string(),
                run_id: self.run_id.clone(),
                start,
                step: newest.global_step,
            })),
            _ => Ok(()),
        }
    }

    /// When the run has begun, as the newest checkpoint says whose metadata is whole.
    fn begin(&self) -> Result<Option<Timestamp>> {
        for checkpoint in self.checkpoints().iter().rev() {
            match CheckpointFiles::of(&self.store, &self.run_id, checkpoint).metadata() {
                Ok(metadata) => return Ok(begin(&metadata)),
                Err(error @ Error::Mirror { .. }) => return Err(error),
                Err(error) => log::warn!("{} in the mirror: {}", checkpoint.name, crate::chain(&error)),
            }
        }
        Ok(None)
    }
}
