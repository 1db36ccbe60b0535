//! Which states of the disk a loss of power can leave, from a record of what was done.
//!
//! As ALICE (Pillai et al., OSDI 2014) and CrashMonkey (Mohan et al., OSDI 2018) do: what was synced is
//! there. Of what was not, any part can be there and any part can be missing, each on its own: a name, the
//! length of a file, its data. A rename is one step. From the many combinations those are made in which
//! nothing is there, everything, one thing alone, and everything but one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage::observer::FileId;

use super::record::Step;

/// A state of the disk after a loss of power.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CrashState {
    names: BTreeMap<PathBuf, Content>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Content {
    Directory,
    Link(PathBuf),
    Data(Vec<u8>),
}

impl CrashState {
    /// Writes the state to an empty directory.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_to(&self, root: &Path) {
        // Sorted by path: a directory comes before what is in it.
        for (path, content) in &self.names {
            let path = root.join(path);
            let written = match content {
                Content::Directory => std::fs::create_dir(&path),
                Content::Link(target) => std::os::unix::fs::symlink(target, &path),
                Content::Data(bytes) => std::fs::write(&path, bytes),
            };
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    /// The names in it.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.keys().map(PathBuf::as_path)
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    Link(PathBuf),
    File(usize),
}

/// A change that is not durable yet.
#[derive(Debug, Clone)]
enum Pending {
    /// The name stands for this. A rename takes the other name away in the same step.
    Name { path: PathBuf, entry: Entry, instead_of: Option<PathBuf> },
    /// Nothing has the name any more.
    NoName(PathBuf),
    /// A file has at least this length, as something was written there.
    Written(usize, u64),
    /// A file has this length.
    Length(usize, u64),
    /// A file's data.
    Data(usize, u64, Vec<u8>),
}

/// The disk while the record is replayed.
#[derive(Debug, Clone, Default)]
struct Disk {
    /// What is durable.
    names: BTreeMap<PathBuf, Entry>,
    files: Vec<Vec<u8>>,
    pending: Vec<Pending>,
    opened: HashMap<FileId, usize>,
}

/// The states that a loss of power can leave after each of these steps, on a directory that was empty,
/// without repetitions. Each with the number of steps done.
pub fn crash_states(steps: &[Step]) -> impl Iterator<Item = (usize, CrashState)> + '_ {
    crash_states_from(steps, 0)
}

/// The same, after this number of steps at least.
pub fn crash_states_from(steps: &[Step], from: usize) -> impl Iterator<Item = (usize, CrashState)> + '_ {
    let mut disk = Disk::default();
    let mut seen = HashSet::new();
    (0..=steps.len()).flat_map(move |done| {
        if let Some(last) = done.checked_sub(1) {
            disk.replay(&steps[last]);
        }
        let mut states = if done < from { Vec::new() } else { disk.states() };
        // What was promised by then differs, so a state counts once for each number of promises.
        let promises = steps[..done].iter().filter(|step| is_said(step)).count();
        states.retain(|state| {
            let mut hasher = DefaultHasher::new();
            (promises, state).hash(&mut hasher);
            seen.insert(hasher.finish())
        });
        states.into_iter().map(move |state| (done, state))
    })
}

/// Whether a step changes what must be there: a promise, or the removal of what was promised.
fn is_said(step: &Step) -> bool {
    matches!(step, Step::Promise(_) | Step::RemoveFile(_))
}

impl Disk {
    fn replay(&mut self, step: &Step) {
        let name =
            |path: &Path, entry: Entry| Pending::Name { path: path.to_path_buf(), entry, instead_of: None };
        match step {
            Step::CreateDirectory(path) => self.pending.push(name(path, Entry::Directory)),
            Step::CreateFile(path, file) => {
                self.files.push(Vec::new());
                let inode = self.files.len() - 1;
                self.opened.insert(*file, inode);
                self.pending.push(name(path, Entry::File(inode)));
            }
            Step::Open(path, file) => {
                if let Some(Entry::File(inode)) = self.now().get(path) {
                    self.opened.insert(*file, *inode);
                }
            }
            Step::Write(file, offset, bytes) => {
                let Some(&inode) = self.opened.get(file) else { return };
                self.pending.push(Pending::Written(inode, offset + bytes.len() as u64));
                self.pending.push(Pending::Data(inode, *offset, bytes.clone()));
            }
            Step::SetLength(file, length) => {
                if let Some(&inode) = self.opened.get(file) {
                    self.pending.push(Pending::Length(inode, *length));
                }
            }
            Step::Sync(file) => {
                if let Some(&synced) = self.opened.get(file) {
                    self.make_durable(|pending| match pending {
                        Pending::Written(inode, _) | Pending::Length(inode, _) | Pending::Data(inode, ..) => {
                            *inode == synced
                        }
                        _ => false,
                    });
                }
            }
            Step::SyncDirectory(directory) => self.make_durable(|pending| match pending {
                Pending::Name { path, .. } | Pending::NoName(path) => path.parent() == Some(directory),
                _ => false,
            }),
            Step::HardLink(from, path) => {
                if let Some(entry) = self.now().get(from) {
                    self.pending.push(name(path, entry.clone()));
                }
            }
            Step::Symlink(target, path) => self.pending.push(name(path, Entry::Link(target.clone()))),
            Step::Rename(from, path) => {
                if let Some(entry) = self.now().get(from).cloned() {
                    let (path, instead_of) = (path.clone(), Some(from.clone()));
                    self.pending.push(Pending::Name { path, entry, instead_of });
                }
            }
            Step::RemoveFile(path) | Step::RemoveDirectory(path) => {
                self.pending.push(Pending::NoName(path.clone()));
            }
            Step::Promise(_) => {}
        }
    }

    /// The names as a running process sees them.
    fn now(&self) -> BTreeMap<PathBuf, Entry> {
        let mut names = self.names.clone();
        for pending in &self.pending {
            apply_to_names(pending, &mut names);
        }
        names
    }

    fn make_durable(&mut self, is_durable: impl Fn(&Pending) -> bool) {
        let (durable, pending) = std::mem::take(&mut self.pending).into_iter().partition(is_durable);
        self.pending = pending;
        let durable: Vec<Pending> = durable;
        for pending in &durable {
            apply_to_names(pending, &mut self.names);
            apply_to_files(pending, &mut self.files);
        }
    }

    /// The states in which of the pending changes nothing, everything, one alone, or all but one have reached
    /// the disk.
    fn states(&self) -> Vec<CrashState> {
        let count = self.pending.len();
        let mut chosen: Vec<Vec<bool>> = vec![vec![false; count], vec![true; count]];
        for one in 0..count {
            chosen.push((0..count).map(|other| other == one).collect());
            chosen.push((0..count).map(|other| other != one).collect());
        }
        chosen.into_iter().map(|chosen| self.state(&chosen)).collect()
    }

    fn state(&self, chosen: &[bool]) -> CrashState {
        let (mut names, mut files) = (self.names.clone(), self.files.clone());
        for (pending, _) in self.pending.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            apply_to_names(pending, &mut names);
            apply_to_files(pending, &mut files);
        }
        let is_reachable = |path: &Path| {
            let mut above = path.ancestors().skip(1).take_while(|above| !above.as_os_str().is_empty());
            above.all(|above| names.get(above) == Some(&Entry::Directory))
        };
        let reachable = names.iter().filter(|(path, _)| is_reachable(path));
        let content = |entry: &Entry| match entry {
            Entry::Directory => Content::Directory,
            Entry::Link(target) => Content::Link(target.clone()),
            Entry::File(inode) => Content::Data(files[*inode].clone()),
        };
        CrashState { names: reachable.map(|(path, entry)| (path.clone(), content(entry))).collect() }
    }
}

fn apply_to_names(pending: &Pending, names: &mut BTreeMap<PathBuf, Entry>) {
    match pending {
        Pending::Name { path, entry, instead_of } => {
            if let Some(other) = instead_of {
                names.remove(other);
                // What is in a directory moves with it.
                let inside: Vec<PathBuf> =
                    names.keys().filter(|name| name.starts_with(other)).cloned().collect();
                for name in inside {
                    if let (Some(entry), Ok(rest)) = (names.remove(&name), name.strip_prefix(other)) {
                        names.insert(path.join(rest), entry);
                    }
                }
            }
            names.insert(path.clone(), entry.clone());
        }
        Pending::NoName(path) => drop(names.remove(path)),
        Pending::Written(..) | Pending::Length(..) | Pending::Data(..) => {}
    }
}

fn apply_to_files(pending: &Pending, files: &mut [Vec<u8>]) {
    match pending {
        Pending::Length(inode, length) => files[*inode].resize(*length as usize, 0),
        Pending::Written(inode, length) => {
            let file = &mut files[*inode];
            let length = *length as usize;
            // A write within the file does not change its length.
            if file.len() < length {
                file.resize(length, 0);
            }
        }
        Pending::Data(inode, offset, bytes) => {
            let file = &mut files[*inode];
            // Data beyond the length is not in the file.
            let start = (*offset as usize).min(file.len());
            let end = (*offset as usize + bytes.len()).min(file.len());
            file[start..end].copy_from_slice(&bytes[..end - start]);
        }
        Pending::Name { .. } | Pending::NoName(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tempfile::tempdir;

    use super::*;

    fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    /// The contents of `a` in the states after the last step, `None` where there is no file.
    fn contents(steps: &[Step]) -> Vec<Option<Vec<u8>>> {
        let mut disk = Disk::default();
        steps.iter().for_each(|step| disk.replay(step));
        let content = |state: CrashState| match state.names.get(Path::new("a")) {
            Some(Content::Data(bytes)) => Some(bytes.clone()),
            _ => None,
        };
        let mut contents: Vec<_> = disk.states().into_iter().map(content).collect();
        contents.sort();
        contents.dedup();
        contents
    }

    /// A record of real operations, as file numbers cannot be made up.
    fn written(sync: bool, sync_directory: bool) -> Vec<Step> {
        use burn_ckpt::plumbing::storage::observer::observe;
        use burn_ckpt::plumbing::storage::{self, StoredFile};
        use std::io::Write;
        use std::sync::Arc;

        let root = tempdir().unwrap();
        let recorder = Arc::new(super::super::Recorder::new(root.path(), |_| true));
        let observation = observe(root.path(), recorder.clone());
        let mut file = StoredFile::create_new(&root.path().join("staged")).unwrap();
        file.write_all(b"data").unwrap();
        if sync {
            file.sync().unwrap();
        }
        storage::rename(&root.path().join("staged"), &root.path().join("a")).unwrap();
        if sync_directory {
            storage::sync_directory(root.path()).unwrap();
        }
        drop(observation);
        recorder.steps()
    }

    #[test]
    fn only_what_was_synced_is_certain() {
        let lost_data = contents(&written(false, true));
        assert_eq!(lost_data, [Some(vec![]), Some(vec![0; 4]), Some(b"data".to_vec())]);
        let lost_name = contents(&written(true, false));
        assert!(lost_name.contains(&None) && lost_name.contains(&Some(b"data".to_vec())));
        assert!(lost_name.iter().flatten().all(|content| content == b"data"), "{lost_name:?}");
        assert_eq!(contents(&written(true, true)), [Some(b"data".to_vec())]);
    }

    #[test]
    fn what_is_in_a_directory_moves_with_it() {
        let steps = [
            Step::CreateDirectory(path("d")),
            Step::Symlink(path("x"), path("d/l")),
            Step::SyncDirectory(path("d")),
            Step::Rename(path("d"), path("e")),
        ];
        let states: Vec<_> = crash_states_from(&steps, 4).collect();
        let names: BTreeSet<Vec<&Path>> = states.iter().map(|(_, state)| state.paths().collect()).collect();
        let moved = [vec![], vec![Path::new("d"), Path::new("d/l")], vec![Path::new("e"), Path::new("e/l")]];
        assert_eq!(names, BTreeSet::from(moved));
    }

    #[test]
    fn a_directory_that_is_not_durable_hides_what_is_in_it() {
        let steps = [
            Step::CreateDirectory(path("d")),
            Step::Symlink(path("x"), path("d/l")),
            Step::SyncDirectory(path("d")),
        ];
        let states: Vec<_> = crash_states(&steps).collect();
        let names: Vec<Vec<&Path>> = states.iter().map(|(_, state)| state.paths().collect()).collect();
        assert!(
            names.contains(&vec![]) && names.contains(&vec![Path::new("d"), Path::new("d/l")]),
            "{names:?}"
        );
    }
}
