//! Links in a mirror: small objects that name their checkpoint. They are replaced after the checkpoint that
//! they name is there.

use std::path::{Component, Path};

use crate::disk::directories::{list, real_path};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::is_checkpoint;
use crate::format::metadata::Metadata;
use crate::mirror::commit_object::{MIRROR_VERSION, MirroredCheckpoint};
use crate::mirror::object_names::link;
use crate::mirror::reading::links::{LINK_FORMAT, LinkObject};
use crate::mirror::sending::local_names::{OUTSIDE_DIR, name_in_mirror};
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
        self.write_link(link_name, checkpoint)?;
        self.links.insert(link_name.to_owned(), checkpoint.to_owned());
        Ok(())
    }

    /// Before a checkpoint takes the place of another directory's, which has its name: the links to that one
    /// lead nowhere from then on. Those that lead to the new one are sent after it. They are not deleted, as
    /// the credentials may not allow that.
    pub(super) fn empty_links_to_other_state(&mut self, new: &MirroredCheckpoint) -> Result<()> {
        let is_other = |there: &MirroredCheckpoint| there.name == new.name && there.state() != new.state();
        if !Path::new(&new.name).starts_with(OUTSIDE_DIR) || !self.checkpoints.iter().any(is_other) {
            return Ok(());
        }
        let stale = self.links.iter().filter(|(_, target)| **target == new.name);
        for name in stale.map(|(name, _)| name.clone()).collect::<Vec<String>>() {
            self.write_link(&name, "")?;
            self.links.remove(&name);
        }
        Ok(())
    }

    fn write_link(&self, name: &str, checkpoint: &str) -> Result<()> {
        let object = LinkObject {
            format: LINK_FORMAT.to_owned(),
            version: MIRROR_VERSION,
            target: checkpoint.to_owned(),
        };
        let json = serde_json::to_string(&object)
            .map_err(|error| Error::snapshot("the link cannot be written as JSON", error))?;
        self.store.put(&link(&self.run_id, name), (json + "\n").as_bytes())
    }

    /// Makes the links of the mirror those of the run, as far as the checkpoints are in the mirror that they
    /// lead to, in directories outside of the run's too. Links that say so already are left as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the run's links cannot be read; those of [`RunMirror::point`].
    pub fn send_links(&mut self, run: &RunLayout) -> Result<()> {
        for path in list(&run.checkpoint_dir())? {
            let Some(target) = self.mirrored_target(run, &path)? else { continue };
            let name = file_name(&path);
            if self.links.get(&name) != Some(&target) {
                self.point(&name, &target)?;
            }
        }
        Ok(())
    }

    /// The checkpoint in the mirror that a link on disk leads to. `None` for what is not such a link, and
    /// while the mirror does not have it.
    fn mirrored_target(&self, run: &RunLayout, path: &Path) -> Result<Option<String>> {
        if !is_checkpoint(path) {
            return Ok(None);
        }
        let target = storage::read_link(path).map_err(Error::io("read the link", path))?;
        let Some(target) = target else { return Ok(None) };
        let is_below = target.components().all(|part| matches!(part, Component::Normal(_)));
        let found = match is_below {
            true => {
                let parts = target.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>();
                let name = parts.map(|parts| parts.join("/"));
                self.checkpoints.iter().find(|there| Some(&there.name) == name.as_ref())
            }
            false => self.outside_target(run, path),
        };
        Ok(found.map(|there| there.name.clone()))
    }

    /// The same of a link to a directory outside of the run's. Two of these can each have a checkpoint of one
    /// name: which of them the mirror has, the state says. A link that cannot be followed leads to none.
    fn outside_target(&self, run: &RunLayout, link: &Path) -> Option<&MirroredCheckpoint> {
        let Ok(real) = real_path(link) else { return None };
        let (Ok(name), Ok(metadata)) = (name_in_mirror(run, &real), Metadata::of_checkpoint(&real)) else {
            return None;
        };
        let state = (metadata.checkpoint_timestamp, metadata.global_step);
        self.checkpoints.iter().find(|there| there.name == name && there.state() == state)
    }
}
