//! The directories outside of a run's own in which it has saved: an absolute `dirpath`, one of a strategy of
//! the program's, or one that only an earlier start had.
//!
//! They are noted in `directories.json` in the run's directory before anything is written to them, so a start
//! knows all of them whatever it configures. Links do not say as much: a strategy can be without one, and a
//! kill can come before it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::directories::{is_directory, list, parent, real_path_if_there};
use crate::disk::staged_file::{Existing, write_whole};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::is_checkpoint;
use crate::format::container::json_file::read_json_file;
use crate::run_dir::layout::RunLayout;

/// The file's name.
pub const DIRECTORIES_FILE: &str = "directories.json";
/// Upper limit of the file in bytes: hundreds of long paths.
const MAX_BYTES: u64 = 1024 * 1024;
/// The most directories. A run that is started with another one each day has these after 11 years.
const MAX_DIRECTORIES: usize = 4096;
/// Values of JSON in the file: the directories, the list, and its key.
const MAX_VALUES: usize = MAX_DIRECTORIES + 8;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    /// Absolute paths.
    directories: Vec<PathBuf>,
}

/// The directories outside of a run's own to which its file says that it has saved, or to which one of its
/// links leads (for a run of an earlier version). Sorted. They need not exist any more.
///
/// # Errors
///
/// [`Error::Metadata`] when the file is invalid, [`Error::Io`] when it or the links cannot be read.
pub fn outside_directories(layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let mut found: BTreeSet<PathBuf> = noted(layout)?.into_iter().collect();
    found.extend(links_outside(layout)?.into_iter().map(|(_, directory)| directory));
    Ok(found.into_iter().collect())
}

/// The links of a run into directories outside of its own that are not there, each with the directory: on a
/// disk that is not mounted there can be checkpoints of the run.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be found out.
pub fn links_to_missing_directories(layout: &RunLayout) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut missing = Vec::new();
    for (link, directory) in links_outside(layout)? {
        if !is_directory(&directory)? {
            missing.push((link, directory));
        }
    }
    Ok(missing)
}

/// The links to checkpoints outside of a run's own directory, each with the directory that it leads to.
fn links_outside(layout: &RunLayout) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let directory = layout.checkpoint_dir();
    let Some(own) = real_path_if_there(&directory)? else { return Ok(found) };
    for link in list(&directory)?.into_iter().filter(|path| is_checkpoint(path)) {
        let target = storage::read_link(&link).map_err(Error::io("read the link", &link))?;
        let Some(target) = target.map(|target| own.join(target)) else { continue };
        match layout.strategy_dir(parent(&target)) {
            Ok(target) if target.starts_with(&directory) => {}
            Ok(target) => found.push((link, target)),
            // A link of the user's: no strategy saves there.
            Err(Error::Name { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Notes durably that a run saves into a directory outside of its own.
///
/// # Errors
///
/// As for [`outside_directories`], and [`Error::Io`] when the file cannot be written.
pub fn note_outside_directory(layout: &RunLayout, directory: &Path) -> Result<()> {
    let mut directories = noted(layout)?;
    if directories.iter().any(|noted| noted == directory) {
        return Ok(());
    }
    directories.push(directory.to_path_buf());
    let path = layout.run_dir().join(DIRECTORIES_FILE);
    if directories.len() > MAX_DIRECTORIES {
        let reason = format!("it has {MAX_DIRECTORIES} directories, and no more are allowed");
        return Err(Error::metadata(&path, reason, None));
    }
    let text = serde_json::to_string_pretty(&Noted { directories })
        .map_err(|error| Error::metadata(&path, "a path cannot be written as JSON", Some(error)))?;
    write_whole(&path, Existing::Replace, |file| {
        file.write_all(text.as_bytes()).map_err(Error::io("write", &path))
    })
}

fn noted(layout: &RunLayout) -> Result<Vec<PathBuf>> {
    let path = layout.run_dir().join(DIRECTORIES_FILE);
    let other_form = "it is not a list of directories: correct it, or remove it";
    let noted: Option<Noted> = read_json_file(&path, (MAX_BYTES, MAX_VALUES), other_form)?;
    let Noted { directories } = noted.unwrap_or_default();
    match directories.iter().find(|directory| !directory.is_absolute()) {
        Some(_) => {
            Err(Error::metadata(&path, "a path in it is not absolute: correct it, or remove it", None))
        }
        None => Ok(directories),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn directories_are_noted_once_and_a_file_that_is_none_of_ours_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let layout = RunLayout::at(root.path().join("r1"));
        assert_eq!(outside_directories(&layout).unwrap(), Vec::<PathBuf>::new());
        for directory in ["/b", "/a", "/b"] {
            note_outside_directory(&layout, Path::new(directory)).unwrap();
        }
        assert_eq!(outside_directories(&layout).unwrap(), ["/a", "/b"].map(PathBuf::from));

        let path = layout.run_dir().join(DIRECTORIES_FILE);
        let many: Vec<String> = (0..=MAX_DIRECTORIES + 8).map(|number| format!("/{number}")).collect();
        let many = serde_json::json!({ "directories": many }).to_string();
        let long = " ".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        for text in ["", "[]", r#"{"directories": ["a"]}"#, r#"{"directories": [1]}"#, &many, &long] {
            fs::write(&path, text).unwrap();
            assert_eq!(outside_directories(&layout).unwrap_err().kind(), ErrorKind::Damaged, "{text:.40}");
            assert_eq!(
                note_outside_directory(&layout, Path::new("/c")).unwrap_err().kind(),
                ErrorKind::Damaged
            );
        }
    }

    #[test]
    fn a_run_may_save_into_so_many_directories() {
        let root = tempfile::tempdir().unwrap();
        let layout = RunLayout::at(root.path().join("r1"));
        let most: Vec<String> = (0..MAX_DIRECTORIES).map(|number| format!("/{number}")).collect();
        fs::create_dir(layout.run_dir()).unwrap();
        let path = layout.run_dir().join(DIRECTORIES_FILE);
        fs::write(&path, serde_json::json!({ "directories": most }).to_string()).unwrap();
        assert_eq!(outside_directories(&layout).unwrap().len(), MAX_DIRECTORIES);
        let error = note_outside_directory(&layout, Path::new("/one/more")).unwrap_err();
        assert!(error.to_string().contains("no more are allowed"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_of_a_run_of_an_earlier_version_say_where_it_has_saved_also_if_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(root.path()).unwrap();
        let layout = RunLayout::at(real.join("logs/r1"));
        fs::create_dir_all(layout.checkpoint_dir().join("last")).unwrap();
        for (name, target) in [
            ("last.ckpt", "last/a.ckpt"),
            ("best_a.ckpt", "../../../there/a.ckpt"),
            ("best_b.ckpt", "/gone/b.ckpt"),
        ] {
            std::os::unix::fs::symlink(target, layout.checkpoint_dir().join(name)).unwrap();
        }
        let expected = [PathBuf::from("/gone"), real.join("there")];
        assert_eq!(outside_directories(&layout).unwrap(), expected);
        let missing = |layout: &RunLayout| -> Vec<PathBuf> {
            let missing = links_to_missing_directories(layout).unwrap();
            missing
                .into_iter()
                .map(|(link, _)| link.strip_prefix(layout.checkpoint_dir()).unwrap().into())
                .collect()
        };
        assert_eq!(missing(&layout), ["best_a.ckpt", "best_b.ckpt"].map(PathBuf::from));
        fs::create_dir(real.join("there")).unwrap();
        assert_eq!(missing(&layout), [PathBuf::from("best_b.ckpt")]);
    }
}
