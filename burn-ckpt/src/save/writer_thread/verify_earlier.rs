//! Verifies the checkpoints of earlier starts beside training, between saves: each counts only then.
//!
//! A start that read all of them first would take 15 s for 40 files of 72 MB.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::disk::file_identity::{FileIdentity, file_identity};
use crate::error::{Error, Result};
use crate::format::digest::FileDigest;
use crate::load::verify::in_steps::VerificationInSteps;
use crate::retention::ledger::FileDigests;
use crate::save::low_priority::at_low_priority;
use crate::save::urgency::Urgency;

/// How long verifications may still take. No limit at first.
#[derive(Debug, Default)]
pub(crate) struct TimeLeft {
    end: Mutex<Option<Instant>>,
}

impl TimeLeft {
    /// This much from now on, in place of an earlier limit.
    pub(crate) fn set(&self, left: Duration) {
        *self.end.lock() = Instant::now().checked_add(left);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.lock().is_some_and(|end| Instant::now() >= end)
    }
}

/// Reads files and compares them with their digests, each file once, whatever number of names it has.
#[derive(Debug)]
pub(crate) struct Verifier {
    digests: HashMap<FileIdentity, String>,
    /// Of the file whose verification gave way.
    begun: Option<BegunDigest>,
    /// The same of a checkpoint that is verified by the digests in it.
    begun_alone: Option<BegunAlone>,
    time_left: Arc<TimeLeft>,
    /// Who waits for the writer. What is being read at that moment stays at its priority.
    urgency: Arc<Urgency>,
    /// The run waits for it.
    at_full_speed: bool,
}

/// A file of which a part is read. It is continued, so that a loop which saves often does not keep a large
/// file from ever being verified.
#[derive(Debug)]
struct BegunDigest {
    path: PathBuf,
    identity: Option<FileIdentity>,
    digest: FileDigest,
}

/// The same without a SHA-256 to compare with.
#[derive(Debug)]
struct BegunAlone {
    path: PathBuf,
    /// Of all of its files.
    identities: Vec<Option<FileIdentity>>,
    verification: VerificationInSteps,
}

impl Verifier {
    pub(crate) fn new(time_left: Arc<TimeLeft>, urgency: Arc<Urgency>) -> Self {
        let digests = HashMap::new();
        Self { digests, begun: None, begun_alone: None, time_left, urgency, at_full_speed: false }
    }

    /// From now on the run waits for each verification.
    pub(crate) fn hurry(&mut self) {
        self.at_full_speed = true;
    }

    /// Whether there is no time left.
    pub(crate) fn is_stopped(&self) -> bool {
        self.time_left.is_over()
    }

    /// Compares the files of a checkpoint with their digests. `None` if it had to give way, or there was no
    /// time to read all of them. Without the digest of its own file, as the file beside it is missing, those
    /// in the checkpoint itself say whether it is complete.
    pub(crate) fn verify(
        &mut self,
        path: &Path,
        files: &FileDigests,
        gives_way: &(dyn Fn() -> bool + Sync),
    ) -> Option<Result<()>> {
        let time_left = Arc::clone(&self.time_left);
        let is_stopped = move || time_left.is_over() || gives_way();
        if files.iter().any(|(_, expected)| expected.is_empty()) {
            return self.verify_alone(path, files, &is_stopped).transpose();
        }
        for (path, expected) in files {
            let found = match self.digest(path, &is_stopped) {
                Ok(found) => found?,
                Err(error) => return Some(Err(error)),
            };
            if found != *expected {
                return Some(Err(Error::checksum(path, expected.clone(), found)));
            }
        }
        Some(Ok(()))
    }

    /// Verifies a checkpoint by the digests in it. `None` if it was stopped.
    fn verify_alone(
        &mut self,
        path: &Path,
        files: &FileDigests,
        is_stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<()>> {
        let identities = files.iter().map(|(file, _)| file_identity(file)).collect::<Result<Vec<_>>>()?;
        let is_begun = |begun: &BegunAlone| begun.path == path && begun.identities == identities;
        let mut verification = match self.begun_alone.take().filter(is_begun) {
            Some(begun) => begun.verification,
            None => VerificationInSteps::begin(path)?,
        };
        if self.at_its_speed(|| verification.advance(is_stopped))? {
            return Ok(Some(()));
        }
        self.begun_alone = Some(BegunAlone { path: path.to_path_buf(), identities, verification });
        Ok(None)
    }

    fn at_its_speed<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self.at_full_speed || self.urgency.is_waited_for() {
            true => work(),
            false => at_low_priority(work),
        }
    }

    /// The digest of a file, unless it is stopped.
    fn digest(&mut self, path: &Path, is_stopped: &(dyn Fn() -> bool + Sync)) -> Result<Option<String>> {
        let identity = file_identity(path)?;
        if let Some(known) = identity.as_ref().and_then(|identity| self.digests.get(identity)) {
            return Ok(Some(known.clone()));
        }
        let is_begun = |begun: &BegunDigest| begun.path == path && begun.identity == identity;
        let mut digest = match self.begun.take().filter(is_begun) {
            Some(begun) => begun.digest,
            None => FileDigest::begin(path)?,
        };
        if !self.at_its_speed(|| digest.advance(is_stopped))? {
            self.begun = Some(BegunDigest { path: path.to_path_buf(), identity, digest });
            return Ok(None);
        }
        let digest = digest.finish();
        if let Some(identity) = identity {
            self.digests.insert(identity, digest.clone());
        }
        Ok(Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use burn_pack::{Bytes, DType, Tensor};

    use super::*;
    use crate::disk::storage::observer::{Observer, Operation, Verdict, observe};
    use crate::format::contents::Contents;
    use crate::format::metadata::Metadata;
    use crate::format::section::Section;

    #[cfg(unix)]
    #[test]
    fn a_file_with_two_names_is_read_once_and_a_stopped_verification_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second, other, gone, last] =
            ["first", "second", "other", "gone", "last"].map(|name| directory.path().join(name));
        fs::write(&first, "abc").unwrap();
        fs::hard_link(&first, &second).unwrap();
        let time_left = Arc::new(TimeLeft::default());
        let mut verifier = Verifier::new(Arc::clone(&time_left), Arc::default());
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let files = |path: &PathBuf| vec![(path.clone(), expected.to_owned())];
        assert!(verifier.verify(&first, &files(&first), &|| false).unwrap().is_ok());
        // A second read would find other bytes.
        fs::write(&first, "another").unwrap();
        fs::write(&other, "another").unwrap();
        assert!(verifier.verify(&second, &files(&second), &|| false).unwrap().is_ok());
        let error = verifier.verify(&other, &files(&other), &|| false).unwrap().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Damaged);
        let shards = [files(&second), files(&other)].concat();
        assert_eq!(
            verifier.verify(&second, &shards, &|| false).unwrap().unwrap_err().kind(),
            crate::ErrorKind::Damaged
        );
        let error = verifier.verify(&gone, &files(&gone), &|| false).unwrap().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        time_left.set(Duration::ZERO);
        fs::write(&last, "abc").unwrap();
        assert!(verifier.verify(&last, &files(&last), &|| false).is_none());
    }

    #[test]
    fn a_verification_that_gives_way_is_continued_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        let bytes: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_le_bytes).collect();
        fs::write(&path, &bytes).unwrap();
        let files = vec![(path.clone(), crate::format::digest::sha256_of_file(&path).unwrap())];
        let reads =
            Arc::new(StopsAfter { reads: AtomicUsize::new(0), at: usize::MAX, time_left: Arc::default() });
        let _observation = observe(directory.path(), reads.clone());
        let mut verifier = Verifier::new(Arc::default(), Arc::default());
        let mut goes = 0;
        let verified = loop {
            goes += 1;
            let asked = AtomicUsize::new(0);
            let gives_way = || asked.fetch_add(1, Ordering::Relaxed) > 0;
            if let Some(verified) = verifier.verify(&path, &files, &gives_way) {
                break verified;
            }
            assert!(goes < 10, "it begins again and again");
        };
        assert!(verified.is_ok(), "{verified:?}");
        // A piece of one MiB each time, and the end.
        assert_eq!((goes, reads.reads.load(Ordering::Relaxed)), (4, 4));
        // One that is not continued, as another file has its name, is read from its beginning.
        let gives_way_at_once = AtomicUsize::new(0);
        let gives_way = || gives_way_at_once.fetch_add(1, Ordering::Relaxed) > 0;
        let mut verifier = Verifier::new(Arc::default(), Arc::default());
        assert!(verifier.verify(&path, &files, &gives_way).is_none());
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        let error = verifier.verify(&path, &files, &|| false).unwrap().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Damaged);
    }

    /// A disk that ends the verification once some of a file was read.
    struct StopsAfter {
        reads: AtomicUsize,
        at: usize,
        time_left: Arc<TimeLeft>,
    }

    impl Observer for StopsAfter {
        fn before(&self, operation: &Operation<'_>) -> Verdict {
            if matches!(operation, Operation::Read(..))
                && self.reads.fetch_add(1, Ordering::Relaxed) == self.at
            {
                self.time_left.set(Duration::ZERO);
            }
            Verdict::Proceed
        }
    }

    #[test]
    fn without_a_sha256_it_stops_as_soon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ckpt");
        let tensor = |name: usize| {
            Tensor::new(name.to_string(), DType::U8, vec![64], None, Bytes::from_bytes_vec(vec![0; 64]))
        };
        let model = Section::new().with_tensors((0..100).map(tensor).collect());
        let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, model);
        contents.save(&path, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let unknown = vec![(path.clone(), String::new())];
        let reads_until = |at: usize| {
            let time_left = Arc::new(TimeLeft::default());
            let reads = AtomicUsize::new(0);
            let observer = Arc::new(StopsAfter { reads, at, time_left: Arc::clone(&time_left) });
            let observation = observe(directory.path(), observer.clone());
            let verified = Verifier::new(time_left, Arc::default()).verify(&path, &unknown, &|| false);
            drop(observation);
            (verified.map(|verified| verified.is_ok()), observer.reads.load(Ordering::Relaxed))
        };
        let (whole, all) = reads_until(usize::MAX);
        assert!(whole == Some(true) && all > 100, "{whole:?} after {all} reads");
        // The header and what is between tensors are read to their end. Then comes a read for each tensor.
        for at in [0, all - 50, all - 2] {
            let (stopped, reads) = reads_until(at);
            assert!(
                stopped.is_none() && reads <= at.max(all - 100) + 1,
                "{stopped:?} after {reads} reads, at {at}"
            );
        }
    }
    #[test]
    fn without_a_sha256_it_is_continued_where_it_was_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ckpt");
        let length = 9 << 20;
        let bytes = (0..length as u32).map(|number| number as u8).collect();
        let tensor = Tensor::new("w".to_owned(), DType::U8, vec![length], None, Bytes::from_bytes_vec(bytes));
        let model = Section::new().with_tensors(vec![tensor]);
        let contents = Contents::new(&()).unwrap().with_section(Section::MODEL, model);
        contents.save(&path, Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
        // A large file that was copied alone.
        fs::remove_file(crate::file_names::metadata_path(&path)).unwrap();
        let unknown = vec![(path.clone(), String::new())];
        let mut verifier = Verifier::new(Arc::default(), Arc::default());
        // Each time it has to give way after a piece.
        let mut one_piece = || {
            let asked = AtomicUsize::new(0);
            verifier.verify(&path, &unknown, &|| asked.fetch_add(1, Ordering::Relaxed) > 0)
        };
        let verified = (0..10).find_map(|_| one_piece()).expect("it begins again and again");
        assert!(verified.is_ok(), "{verified:?}");
        // It finds what was changed in a later piece.
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.len() - (1 << 20);
        bytes[place] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let damaged = (0..10).find_map(|_| one_piece()).unwrap().unwrap_err();
        assert_eq!(damaged.kind(), crate::ErrorKind::Damaged, "{damaged:?}");
    }
}
