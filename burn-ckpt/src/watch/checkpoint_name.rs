//! The checkpoint that a name of the run leads to.

use std::path::PathBuf;

use crate::disk::directories::list;
use crate::error::{Error, Result};
use crate::file_names::{CHECKPOINT_SUFFIX, is_checkpoint};
use crate::run_dir::catalog::file_name;
use crate::run_dir::layout::RunLayout;
use crate::run_dir::locate::{resolve, several_best};
use crate::watch::run_checkpoints::{FileStamp, follow_links};

/// The file that a name of the run leads to.
pub(super) fn checkpoint_of_name(layout: &RunLayout, name: &str) -> Result<Option<(PathBuf, FileStamp)>> {
    if let Some(error) = several_best(layout, name)? {
        return Err(error);
    }
    let located = match name.strip_prefix("best_") {
        Some(metric) => resolve(layout, "best", Some(metric)),
        None => resolve(layout, name, None),
    };
    let located = match located {
        Ok(located) => located,
        // Not yet.
        Err(Error::NotFound { .. }) if name == "last" || name.starts_with("best") => return Ok(None),
        Err(error) => return Err(error),
    };
    follow_links(&located)
}

/// The error for a name that leads to no checkpoint of a run that has ended, with the names that there are.
pub(super) fn name_not_found(layout: &RunLayout, name: &str) -> Result<Error> {
    let path = layout.checkpoint_dir();
    let names = list(&path)?.into_iter().filter(|path| is_checkpoint(path));
    let names: Vec<String> = names
        .map(|path| file_name(&path))
        .map(|name| name.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(&name).to_owned())
        .collect();
    let hint = match names.is_empty() {
        true => "the run has ended, and saved none under that name".to_owned(),
        false => format!("the run has ended, and has {}", names.join(", ")),
    };
    Ok(Error::NotFound { path, wanted: name.to_owned(), hint })
}
