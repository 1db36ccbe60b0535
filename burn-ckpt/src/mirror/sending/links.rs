//! Links in a mirror: small objects that name their checkpoint. They are replaced after the checkpoint that
//! they name is there.

use std::path::Path;

use crate::disk::directories::list;
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::is_checkpoint;
use crate::mirror::commit_object::MIRROR_VERSION;
use crate::mirror::object_names::link;
use crate::mirror::reading::mirrored_run::{LINK_FORMAT, LinkObject};
use crate::mirror::sending::run_mirror::RunMirror;
use crate::run_dir::catalog::file_name;
use crate::run_dir::layout::RunLayout;

impl RunMirror {
    /// Makes a link (`last.ckpt`, `best_val_loss.ckpt`) name a checkpoint that is in the mirror.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when that checkpoint is not there; [`Error::MirrorInUse`]; [`Error::Mirror`].
    pub fn point(&mut self, link_name: &str, checkpoint: &str) -> Result<()> {
        if !self.checkpoints.iter().any(|there| there.name == checkpoint) {
            return Err(Error::NotFound {
                path: self.store.shown(&self.run_id).into(),
                wanted: checkpoint.to_owned(),
                hint: "send it before a link names it".to_owned(),
            });
        }
        self.lease.keep()?;
        let object = LinkObject {
            format: LINK_FORMAT.to_owned(),
            version: MIRROR_VERSION,
            target: checkpoint.to_owned(),
        };
        let json = serde_json::to_string(&object)
            .map_err(|error| Error::snapshot("the link cannot be written as JSON", error))?;
        self.store.put(&link(&self.run_id, link_name), (json + "\n").as_bytes())?;
        self.links.insert(link_name.to_owned(), checkpoint.to_owned());
        Ok(())
    }

    /// Makes the links of the mirror those of the run, as far as the checkpoints are in the mirror that they
    /// lead to. Links that say so already are left as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the run's links cannot be read; those of [`RunMirror::point`].
    pub fn send_links(&mut self, run: &RunLayout) -> Result<()> {
        for path in list(&run.checkpoint_dir())? {
            let Some(target) = link_target(&path)? else { continue };
            let (name, is_there) =
                (file_name(&path), self.checkpoints.iter().any(|checkpoint| checkpoint.name == target));
            if is_there && self.links.get(&name) != Some(&target) {
                self.point(&name, &target)?;
            }
        }
        Ok(())
    }
}

/// The checkpoint that a link on disk leads to, relative to its directory.
fn link_target(path: &Path) -> Result<Option<String>> {
    if !is_checkpoint(path) {
        return Ok(None);
    }
    let target = storage::read_link(path).map_err(Error::io("read the link", path))?;
    let parts = target
        .as_deref()
        .and_then(|target| target.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>());
    Ok(parts.map(|parts| parts.join("/")))
}
