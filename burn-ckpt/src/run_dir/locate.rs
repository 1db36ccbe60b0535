//! Finding the checkpoint that a user names: by its path, by a link, or as `best` or `last` of a run.

use std::path::{Path, PathBuf};

use crate::disk::directories::{is_directory, is_symlink, is_there, list, parent, real_path_if_there, stat};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::{CHECKPOINT_SUFFIX, checkpoint_of_metadata, is_checkpoint, link_name};
use crate::format::metadata::Metadata;
use crate::run_dir::catalog::file_name;
use crate::run_dir::layout::{BEST_DIR, CHECKPOINT_DIR, LAST_DIR, RunLayout};
use crate::run_dir::locate_without_links::{self, Located};

/// How far above a checkpoint its run's directory is, unless a strategy saves in a directory below a
/// directory: `RUN/checkpoint/last/X.ckpt`.
const CHECKPOINT_DEPTH: usize = 3;

/// The checkpoint that a path names. The path may be:
///
/// | path | checkpoint |
/// |---|---|
/// | `runs/a/checkpoint/last/epoch=9-step=500.ckpt` | that file |
/// | `runs/a/checkpoint/best_val_loss.ckpt` | that link |
/// | `runs/a/last`, `runs/a/best_val_loss` | the link of that name in the run `runs/a` |
/// | `runs/a/best` | the run's only link `best_<metric>.ckpt` |
///
/// In a run without such a link, as a copy can be, it is the checkpoint that says of itself that it was saved
/// as `last`, or as the best by that metric. Otherwise it reads no file. It does not follow links.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// let best = burn_ckpt::locate("runs/a/best")?;
/// assert_eq!(best.to_str(), Some("runs/a/checkpoint/best_val_loss.ckpt"));
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`Error::NotACheckpoint`] for a directory and for a metadata file, saying what to name instead;
/// [`Error::NotFound`] when a run has no such link, or the link points to a missing file; [`Error::Io`] when
/// there is no such file.
pub fn locate(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_there = is_there(path)?;
    if let Some(run) = run_with(path)? {
        // In a run's directory the names take precedence: `checkpoint/best` is a directory, but the best
        // checkpoint is meant.
        if [BEST_DIR, LAST_DIR].contains(&name.as_ref()) && (!is_there || is_directory(path)?) {
            return resolve(&run, &name, None);
        }
        if !is_there {
            return named_link(&run, &name);
        }
    }
    match stat(path)? {
        Some(stat) if stat.is_dir() => Err(Error::not_a_checkpoint(path, directory_hint(path)?)),
        Some(_) => match checkpoint_of_metadata(path) {
            Some(checkpoint) => {
                let reason =
                    format!("it is a metadata file; name {}, which it describes", checkpoint.display());
                Err(Error::not_a_checkpoint(path, reason))
            }
            None => Ok(path.to_path_buf()),
        },
        None if is_symlink(path)? => Err(Error::NotFound {
            path: parent(path).to_path_buf(),
            wanted: name.into_owned(),
            hint: "the link points to a missing file".to_owned(),
        }),
        None => Err(Error::io("open", path)(storage::not_found())),
    }
}

/// The run's `"last"` or `"best"` checkpoint: the link to it, or, where there is no such link, the checkpoint
/// that was saved as such. Without a metric, `"best"` is that of the only metric there is.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none, or several; the message names those there are.
pub fn resolve(layout: &RunLayout, wanted: &str, metric: Option<&str>) -> Result<PathBuf> {
    let directory = layout.checkpoint_dir();
    let not_found =
        |hint: String| Error::NotFound { path: directory.clone(), wanted: wanted.to_owned(), hint };
    let link = match (wanted, metric) {
        ("last", _) => Some(directory.join(link_name("last")?)),
        ("best", Some(metric)) => Some(directory.join(link_name(&format!("best_{metric}"))?)),
        ("best", None) => only_best_link(&directory)?.map_err(not_found)?,
        _ => {
            return Err(not_found("the names are \"last\" and \"best\"; anything else is a path".to_owned()));
        }
    };
    if let Some(link) = &link
        && stat(link)?.is_some()
        && !locate_without_links::is_copy_without_shards(link)?
    {
        return Ok(link.clone());
    }
    let found = if wanted == "last" {
        locate_without_links::last(layout)?
    } else {
        locate_without_links::best(layout, metric)?
    };
    match found {
        Located::One(path) => Ok(path),
        Located::Several(hint) => Err(not_found(hint)),
        Located::Nothing => Err(not_found(match link {
            Some(link) if is_symlink(&link)? => {
                format!("the link {} points to a missing file", file_name(&link))
            }
            Some(link) => {
                format!("there is no link {}, and no checkpoint that was saved for it", file_name(&link))
            }
            None => {
                "it has no link named best_<metric>.ckpt, and no checkpoint that was saved for one".to_owned()
            }
        })),
    }
}

/// What a file that is not a symbolic link says of the link whose place it has, as on a system without such
/// links or in a copy in which they are followed.
#[derive(Debug)]
pub struct LinkReplacement(Metadata);

impl LinkReplacement {
    /// Reads a file's metadata. `None` if it cannot be read, or names this file: then it replaces no link.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let metadata = Metadata::of_checkpoint(path).ok()?;
        (metadata.checkpoint_path != file_name(path)).then_some(Self(metadata))
    }

    /// Whether the link led to a checkpoint: the metadata names its file, and is of its state.
    #[must_use]
    pub fn led_to(&self, checkpoint: &Path, metadata: &Metadata) -> bool {
        self.0.checkpoint_path == file_name(checkpoint)
            && self.0.checkpoint_timestamp == metadata.checkpoint_timestamp
            && self.0.checkpoint_checksum == metadata.checkpoint_checksum
            && self.0.reason == metadata.reason
    }
}

/// The error of `best` for a run with several best checkpoints, which another look does not change. `None`
/// for any other run or name.
pub(crate) fn several_best(layout: &RunLayout, name: &str) -> Result<Option<Error>> {
    if name != "best" {
        return Ok(None);
    }
    let path = layout.checkpoint_dir();
    let several = only_best_link(&path)?.err();
    Ok(several.map(|hint| Error::NotFound { path, wanted: name.to_owned(), hint }))
}

/// The run's only link to a best checkpoint. The inner error is a hint that names them where there are
/// several.
fn only_best_link(directory: &Path) -> Result<std::result::Result<Option<PathBuf>, String>> {
    let mut links: Vec<PathBuf> = list(directory)?
        .into_iter()
        .filter(|path| is_checkpoint(path) && file_name(path).starts_with("best_"))
        .collect();
    if links.len() > 1 {
        let names: Vec<String> = links.iter().map(|path| file_name(path)).collect();
        return Ok(Err(format!("name one of {}", names.join(", "))));
    }
    Ok(Ok(links.pop()))
}

/// The run of a path that is directly in the run's directory or in its `checkpoint` directory.
fn run_with(path: &Path) -> Result<Option<RunLayout>> {
    run_at(parent(path))
}

/// The run whose directory, or `checkpoint` directory, this is, also by a link. `None` if it is another one,
/// or there is nothing.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be found out.
pub fn run_at(directory: &Path) -> Result<Option<RunLayout>> {
    if is_directory(&directory.join(CHECKPOINT_DIR))? {
        return Ok(Some(RunLayout::at(directory)));
    }
    if is_checkpoint_dir(directory)? {
        return Ok(Some(RunLayout::at(parent(directory))));
    }
    // `.` has no name, and a link has another one.
    match real_path_if_there(directory)? {
        Some(real) if is_checkpoint_dir(&real)? => Ok(Some(RunLayout::at(parent(&real)))),
        _ => Ok(None),
    }
}

/// The run that a checkpoint is in, by its path. `None` if no directory above it is a run's.
#[must_use]
pub fn run_of_checkpoint(checkpoint: &Path) -> Option<RunLayout> {
    let above = checkpoint.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
    // One that cannot be read is not known to be a run's. Further above, a directory that has one named
    // `checkpoint` need not be the run's.
    let mut runs = above.enumerate().filter_map(|(depth, path)| match depth < CHECKPOINT_DEPTH {
        true => run_at(path).ok().flatten(),
        false => is_checkpoint_dir(path).ok()?.then(|| RunLayout::at(parent(path))),
    });
    runs.next()
}

fn is_checkpoint_dir(path: &Path) -> Result<bool> {
    Ok(path.file_name().is_some_and(|name| name == CHECKPOINT_DIR) && is_directory(path)?)
}

fn named_link(run: &RunLayout, name: &str) -> Result<PathBuf> {
    let link = run.checkpoint_dir().join(format!("{name}{CHECKPOINT_SUFFIX}"));
    if stat(&link)?.is_some() && !locate_without_links::is_copy_without_shards(&link)? {
        return Ok(link);
    }
    if let Some(metric) = name.strip_prefix("best_")
        && let Located::One(path) = locate_without_links::best(run, Some(metric))?
    {
        return Ok(path);
    }
    let names = link_names(run)?;
    let hint = if names.is_empty() { "it has no links".to_owned() } else { names.join(", ") + " are there" };
    Err(Error::NotFound { path: run.checkpoint_dir(), wanted: name.to_owned(), hint })
}

/// The names of a run's links, without ending.
///
/// # Errors
///
/// [`Error::Io`] when the directory cannot be listed.
pub fn link_names(run: &RunLayout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in list(&run.checkpoint_dir())? {
        if is_checkpoint(&path)
            && let Some(name) = file_name(&path).strip_suffix(CHECKPOINT_SUFFIX)
            && stat(&path)?.is_some_and(|stat| stat.is_file())
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// What to name instead of a directory.
fn directory_hint(path: &Path) -> Result<String> {
    let Some(run) = run_at(path)? else {
        return Ok("it is a directory; name a checkpoint in it".to_owned());
    };
    let names: Vec<String> =
        link_names(&run)?.iter().map(|name| path.join(name).display().to_string()).collect();
    Ok(match names.is_empty() {
        true => "it is the directory of a run without links to checkpoints".to_owned(),
        false => format!("it is a run's directory; name one of its checkpoints: {}", names.join(", ")),
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_run_is_found_by_its_directory_by_that_of_its_checkpoints_and_by_links_to_them() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (run, other) = (root.join("r1"), root.join("other"));
        fs::create_dir_all(run.join("checkpoint/best")).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(root.join("checkpoint"), "a file").unwrap();
        for (link, target) in [("to-run", run.clone()), ("to-checkpoints", run.join("checkpoint"))] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(run.join("checkpoint"), other.join("checkpoint")).unwrap();
        for (path, expected) in [
            ("r1", Some(run.clone())),
            ("r1/checkpoint", Some(run.clone())),
            ("r1/checkpoint/best/..", Some(run)),
            ("to-run", Some(root.join("to-run"))),
            ("to-run/checkpoint", Some(root.join("to-run"))),
            ("to-checkpoints", Some(root.join("r1"))),
            ("other/checkpoint", Some(other)),
            ("r1/checkpoint/best", None),
            ("checkpoint", None),
            ("missing", None),
        ] {
            let found = run_at(&root.join(path)).unwrap();
            assert_eq!(found.map(|run| run.run_dir().to_path_buf()), expected, "{path}");
        }
        for (checkpoint, is_of_run) in [
            ("r1/checkpoint/best/x.ckpt", true),
            ("r1/checkpoint/kept/for/later/x.ckpt", true),
            ("r1/x.ckpt", true),
            ("r1/one/two/three/x.ckpt", false),
            ("x.ckpt", false),
        ] {
            let found = run_of_checkpoint(&root.join(checkpoint));
            let expected = is_of_run.then(|| root.join("r1"));
            assert_eq!(found.map(|run| run.run_dir().to_path_buf()), expected, "{checkpoint}");
        }
    }
}
