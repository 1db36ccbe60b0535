//! An observer that notes the operations of a run, and lets one of them fail.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use burn_ckpt::plumbing::storage::observer::{Observer, Operation, Verdict};
use parking_lot::Mutex;

use super::errors::{EACCES, EDQUOT, EIO, ENOSPC, EROFS, ESTALE};

/// One operation of a run, told from all others whatever the order of threads: the n-th of its kind on its
/// path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The operation's name.
    pub operation: &'static str,
    /// The path below the root, with `*` for the random part of a staging name.
    pub path: String,
    /// How many of this kind on this path came before.
    pub number: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.operation, self.path, self.number)
    }
}

/// What happens at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// It is not done, and fails with this error.
    Error(i32),
    /// It is done, and fails with this error.
    LostAnswer(i32),
    /// Half of a write is done, and it fails with this error.
    Half(i32),
    /// Half of a write is done, which is not an error.
    Short,
    /// The process ends before it.
    EndsBefore,
    /// The process ends in the middle of a write.
    EndsInHalf,
}

/// Notes every operation below a directory, and lets one fail. From the end of the process on, all operations
/// fail: what is on disk then is what a killed process leaves.
#[derive(Debug)]
pub struct FailingOperation {
    root: PathBuf,
    disturbance: Option<(Place, Fault)>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashMap<(&'static str, String), u32>,
    places: Vec<Place>,
    has_struck: bool,
    has_ended: bool,
}

impl FailingOperation {
    /// Lets nothing fail.
    #[must_use]
    pub fn noting(root: &Path) -> Self {
        Self { root: root.to_path_buf(), disturbance: None, inner: Mutex::default() }
    }

    /// Lets one operation fail.
    #[must_use]
    pub fn at(root: &Path, place: Place, fault: Fault) -> Self {
        Self { disturbance: Some((place, fault)), ..Self::noting(root) }
    }

    /// The operations so far.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.inner.lock().places.clone()
    }

    /// Whether the operation that was to fail was there.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.inner.lock().has_struck
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inner.lock().has_ended
    }

    fn place(&self, operation: &Operation<'_>, inner: &mut Inner) -> Place {
        let path = operation.path().strip_prefix(&self.root).unwrap_or(operation.path());
        let (operation, path) = (operation.name(), without_random_part(&path.to_string_lossy()));
        let seen = inner.seen.entry((operation, path.clone())).or_default();
        let place = Place { operation, path, number: *seen };
        *seen += 1;
        place
    }
}

impl Observer for FailingOperation {
    fn before(&self, operation: &Operation<'_>) -> Verdict {
        let mut inner = self.inner.lock();
        if inner.has_ended {
            return Verdict::Fail(ended());
        }
        let place = self.place(operation, &mut inner);
        inner.places.push(place.clone());
        let fault = match &self.disturbance {
            Some((wanted, fault)) if *wanted == place => *fault,
            _ => return Verdict::Proceed,
        };
        inner.has_struck = true;
        inner.has_ended = matches!(fault, Fault::EndsBefore | Fault::EndsInHalf);
        let half = match operation {
            Operation::Write { bytes, .. } => bytes.len() / 2,
            _ => 0,
        };
        match fault {
            Fault::Error(errno) => Verdict::Fail(io::Error::from_raw_os_error(errno)),
            Fault::LostAnswer(errno) => Verdict::ProceedAndFail(io::Error::from_raw_os_error(errno)),
            Fault::Half(errno) => Verdict::Part(half, io::Error::from_raw_os_error(errno)),
            Fault::Short => Verdict::Short(half),
            Fault::EndsBefore => Verdict::Fail(ended()),
            Fault::EndsInHalf => Verdict::Part(half, ended()),
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the process has ended")
}

/// A path without what differs from run to run: `.a.ckpt.0-<16 hex digits>.staging` -> `.a.ckpt.*.staging`,
/// and `on_exception/2024-01-15T10-30-00.ckpt` -> `on_exception/<time>.ckpt`.
#[must_use]
pub fn without_random_part(path: &str) -> String {
    let part = |part: &str| match part.strip_suffix(".staging").and_then(|staged| staged.rsplit_once('.')) {
        Some((start, _)) => format!("{start}.*.staging"),
        None => part.to_owned(),
    };
    // A directory of shards has such a name too.
    let path = path.split('/').map(part).collect::<Vec<_>>().join("/");
    let Some((directory, name)) = path.split_once("on_exception/") else { return path };
    match name.find(".ckpt") {
        Some(end) => {
            let dot = if name.starts_with('.') { "." } else { "" };
            format!("{directory}on_exception/{dot}<time>{}", &name[end..])
        }
        None => path,
    }
}

/// The errors that an operation can plausibly give.
fn errors_of(operation: &str) -> &'static [i32] {
    match operation {
        "stat" | "list" | "resolve" | "open" => &[EIO, ESTALE, EACCES],
        "read" | "lock" => &[EIO, ESTALE],
        // What a disk that is written to later says of it.
        "sync" => &[EIO, ENOSPC, EDQUOT, ESTALE],
        "sync directory" => &[EIO, ESTALE],
        "reserve" | "write" | "copy" | "set length" => &[ENOSPC, EIO, EDQUOT, EROFS, ESTALE],
        "create file" | "create directory" | "hard link" | "symlink" | "rename" => {
            &[ENOSPC, EDQUOT, EACCES, EIO, EROFS, ESTALE]
        }
        _ => &[EIO, EACCES, EROFS, ESTALE],
    }
}

/// Everything that can happen at an operation: each kind of fault with each error.
#[must_use]
pub fn all_faults_at(place: &Place) -> Vec<Fault> {
    faults_with(place, errors_of(place.operation))
}

/// What can happen at an operation: each kind of fault, and of the errors that it can plausibly give one by
/// the seed.
#[must_use]
pub fn faults_at(place: &Place, seed: u64) -> Vec<Fault> {
    let errors = errors_of(place.operation);
    let chosen = mixed(place, seed) as usize % errors.len();
    faults_with(place, &errors[chosen..=chosen])
}

/// Each kind of fault of an operation, with these errors.
fn faults_with(place: &Place, errors: &[i32]) -> Vec<Fault> {
    let of_each = |fault: fn(i32) -> Fault| errors.iter().map(move |errno| fault(*errno));
    let mut faults: Vec<Fault> = of_each(Fault::Error).collect();
    match place.operation {
        // What these do is not seen on disk, so an end after them is an end before the next.
        "stat" | "list" | "resolve" | "open" | "read" | "lock" => {}
        "write" => {
            faults.extend(of_each(Fault::Half));
            faults.extend([Fault::Short, Fault::EndsBefore, Fault::EndsInHalf]);
        }
        "sync" | "sync directory" => faults.push(Fault::EndsBefore),
        // An end after an operation is one before the next, but for the last one.
        _ => {
            faults.extend(of_each(Fault::LostAnswer));
            faults.push(Fault::EndsBefore);
        }
    }
    faults
}

fn mixed(place: &Place, seed: u64) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (place, seed).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_seed_chooses_one_of_the_errors_that_all_faults_have() {
        for operation in ["stat", "read", "sync", "write", "rename", "remove file"] {
            let place = Place { operation, path: "last/a.ckpt".to_owned(), number: 0 };
            let all = all_faults_at(&place);
            let chosen: HashSet<Fault> = (0..200).flat_map(|seed| faults_at(&place, seed)).collect();
            assert_eq!(chosen, all.iter().copied().collect(), "{operation}");
            assert!(faults_at(&place, 1).len() < all.len(), "{operation}");
        }
    }

    #[test]
    fn a_staging_name_is_known_without_its_random_part() {
        let name = "last/.a=1.ckpt.metadata.json.0123456789abcdef-0123456789abcdef.staging";
        assert_eq!(without_random_part(name), "last/.a=1.ckpt.metadata.json.*.staging");
        assert_eq!(without_random_part("last/a=1.ckpt"), "last/a=1.ckpt");
        let name = "last/.a=1.shards.0123456789abcdef-0123456789abcdef.staging/state-00001-of-00002.ckpt";
        assert_eq!(without_random_part(name), "last/.a=1.shards.*.staging/state-00001-of-00002.ckpt");
        let name = "on_exception/2024-01-15T10-30-00-v1.ckpt.metadata.json";
        assert_eq!(without_random_part(name), "on_exception/<time>.ckpt.metadata.json");
        let name = "on_exception/.2024-01-15T10-30-00.ckpt.0123456789abcdef-0123456789abcdef.staging";
        assert_eq!(without_random_part(name), "on_exception/.<time>.ckpt.*.staging");
    }
}
