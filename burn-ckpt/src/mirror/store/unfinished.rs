//! What killed uploads leave in a directory: files named `X#1`, which the library writes to before an object
//! gets its name, and which its listings hide.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::disk::storage;
use crate::error::{Error, Result};
use crate::mirror::store::connection::Store;

impl Store {
    /// Deletes the files of unfinished uploads below a name that are older than this. Returns their sizes.
    /// Only a directory has such files.
    pub(crate) fn remove_unfinished(
        &self,
        below: &str,
        now: Timestamp,
        older_than: SignedDuration,
    ) -> Result<Vec<u64>> {
        let Some(directory) = &self.inner.directory else { return Ok(Vec::new()) };
        let (mut directories, mut removed) = (vec![directory.join(below)], Vec::new());
        while let Some(directory) = directories.pop() {
            let paths = storage::list(&directory).map_err(Error::io("list", &directory))?;
            for path in paths.unwrap_or_default() {
                // Gone meanwhile: the upload has ended.
                let Some(entry) = storage::entry(&path).map_err(Error::io("read", &path))? else { continue };
                if entry.is_dir() {
                    directories.push(path);
                } else if entry.is_file() && is_unfinished(&path) {
                    let modified = entry.modified().map_err(Error::io("read the time of", &path))?;
                    let modified = Timestamp::try_from(modified).unwrap_or(Timestamp::MAX);
                    if now.duration_since(modified) > older_than && remove(&path)? {
                        removed.push(entry.len());
                    }
                }
            }
        }
        Ok(removed)
    }
}

fn remove(path: &PathBuf) -> Result<bool> {
    storage::remove_file(path).map_err(Error::io("remove", path))
}

/// The names that the library gives: an object's, and a number.
fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.rsplit_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
