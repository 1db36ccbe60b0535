//! A mirror in a directory that is the run's own: its objects have the names of the run's files.

use std::path::{Path, PathBuf};

use crate::disk::directories::real_path_if_there;
use crate::error::mirror_failure::WrongMirror;
use crate::error::{Error, Result};
use crate::mirror::address::MirrorAddress;
use crate::mirror::object_names::METRICS_DIR;
use crate::run_dir::layout::{CHECKPOINT_DIR, RunLayout};

impl MirrorAddress {
    /// Fails for a directory in which what is sent of a run would be among the run's own files.
    ///
    /// # Errors
    ///
    /// [`Error::WrongMirror`]; [`Error::Io`] when a path cannot be resolved.
    #[doc(hidden)]
    pub fn check_is_apart_from(&self, run: &RunLayout) -> Result<()> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let (own, sent) = (resolved(run.run_dir())?, resolved(&directory)?.join(run.run_id()));
        let is_in_sent = |name: &str| own.starts_with(sent.join(name));
        match sent.starts_with(&own) || is_in_sent(CHECKPOINT_DIR) || is_in_sent(METRICS_DIR) {
            true => Err(Error::WrongMirror(WrongMirror::OwnDirectory)),
            false => Ok(()),
        }
    }
}

/// A path without links, also if its last parts are not there yet.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(Error::io("resolve", path))?;
    for above in path.ancestors() {
        if let Some(real) = real_path_if_there(above)? {
            let missing = path.strip_prefix(above).unwrap_or(Path::new(""));
            return Ok(real.join(missing));
        }
    }
    Ok(path)
}
