//! Verifying that a checkpoint's bytes are those that were written.
//!
//! Each file is read twice: once for its SHA-256, and once tensor by tensor for their BLAKE3. With two
//! threads both run at the same time. Each thread holds one piece of a tensor in memory at a time, however
//! large the tensor is. Everything is read from the file that was opened, also after its name was deleted.

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use indexmap::IndexMap;

use crate::error::{Cause, Error, Result};
use crate::format::container::open_file::OpenFile;
use crate::format::container::stored_tensor::StoredTensor;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::format::metadata::of_checkpoint::{alone, own_of_version_2};
use crate::format::metadata::padding::{check_padding, check_padding_of_shard};
use crate::format::metadata::{Metadata, TensorInfo, check_size};
use crate::format::shards::checked_shard_header;
use crate::load::checked_tensors::{check_hparams, expected_info};
use crate::load::checkpoint::Checkpoint;
use crate::scoped_work::{self, ScopedWork};
use crate::text::printable::shown;

pub(crate) mod in_steps;

/// One for the SHA-256, which takes the longest, and one for the tensors.
pub(crate) const TWO_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Called with the number of bytes that have just been hashed. An error ends the verification.
type Progress<'a> = &'a (dyn Fn(u64) -> io::Result<()> + Sync);

impl Checkpoint {
    /// Whether the checkpoint at a path has this SHA-256, and is whole. Reads all of it. An error of
    /// `progress` is a no.
    #[doc(hidden)]
    pub fn is_whole_at(path: impl AsRef<Path>, sha256: &str, progress: Progress<'_>) -> bool {
        let verified = Self::open(path).and_then(|checkpoint| checkpoint.verify_while(TWO_THREADS, progress));
        verified.is_ok_and(|metadata| metadata.checkpoint_checksum == sha256)
    }

    /// Reads the whole file, and its shards, and compares size and SHA-256 with the metadata. Without a
    /// SHA-256 to compare with, compares the digests in the file, as [`Checkpoint::verify`] does.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`].
    pub fn verify_checksum(&self) -> Result<Metadata> {
        let metadata = self.metadata()?;
        if metadata.checkpoint_checksum.is_empty() {
            return self.verify();
        }
        check_size(self.header.file(), &metadata)?;
        for (file, expected) in self.files_with_checksums(&metadata) {
            let found = file.sha256(&|_| Ok(()))?;
            if found != expected {
                return Err(Error::checksum(file.path(), shown(expected), found));
            }
        }
        Ok(metadata)
    }

    /// Reads the whole file, and its shards, and compares size, SHA-256, every tensor's BLAKE3 and the header
    /// with the metadata.
    ///
    /// A file of version 2 needs no other one. Its SHA-256 is compared if the metadata file beside it
    /// describes the same state, and is computed for the returned metadata otherwise. Fails for a checkpoint
    /// of version 1 without a metadata file, as there is no digest to compare with.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] naming what differs; [`Error::Io`] when the metadata is missing or a file cannot
    /// be read; [`Error::Metadata`] when the metadata is invalid; [`Error::Load`] when a tensor cannot be
    /// read.
    pub fn verify(&self) -> Result<Metadata> {
        self.verify_with(TWO_THREADS, &|_| ())
    }

    /// The same on a number of threads: one computes the SHA-256, the others hash the tensors. `progress` is
    /// called from all of them with the number of bytes that have just been hashed. The total is the files'
    /// size plus the tensors' bytes.
    ///
    /// ```no_run
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # fn main() -> burn_ckpt::Result<()> {
    /// let threads = std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN);
    /// let done = AtomicU64::new(0);
    /// let progress = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
    /// burn_ckpt::Checkpoint::open("runs/a/last")?.verify_with(threads, &progress)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`].
    pub fn verify_with(&self, threads: NonZeroUsize, progress: &(dyn Fn(u64) + Sync)) -> Result<Metadata> {
        self.verify_while(threads, &|bytes| {
            progress(bytes);
            Ok(())
        })
    }

    /// The same until it is to stop. One thread is the calling one. `None` if it was stopped.
    pub(crate) fn verify_unless(
        &self,
        threads: NonZeroUsize,
        is_stopped: &(dyn Fn() -> bool + Sync),
    ) -> Option<Result<Metadata>> {
        // Whether it is to stop can change again until it is told of.
        let was_stopped = AtomicBool::new(false);
        let verified = self.verify_while(threads, &|_| match is_stopped() {
            true => {
                was_stopped.store(true, Ordering::Relaxed);
                Err(io::Error::other("the verification was stopped"))
            }
            false => Ok(()),
        });
        (!was_stopped.into_inner()).then_some(verified)
    }

    /// The same as [`Checkpoint::verify_with`]. An error of `progress` ends the verification.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`], and the error of `progress` as an [`Error::Io`].
    #[doc(hidden)]
    pub fn verify_while(&self, threads: NonZeroUsize, progress: Progress<'_>) -> Result<Metadata> {
        if self.has_own_metadata() {
            let (metadata, own) = self.own_metadata()?;
            return self.verify_against(metadata, Some(&own), threads, progress);
        }
        self.verify_against(self.metadata()?, None, threads, progress)
    }

    /// Verifies a file of version 2 by the digests in it, and returns its metadata with path, size and
    /// SHA-256, without a look at the metadata file beside it.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`]; [`Error::Unverifiable`] for a file of version 1.
    #[doc(hidden)]
    pub fn describe(&self, threads: NonZeroUsize, progress: &(dyn Fn(u64) + Sync)) -> Result<Metadata> {
        if !self.has_own_metadata() {
            let reason = "a file of format 1 does not have its metadata itself".to_owned();
            let source = Error::Load { path: self.path.clone(), reason, source: None };
            return Err(Error::Unverifiable { path: self.path.clone(), source: Box::new(source) });
        }
        let own = own_of_version_2(self.header.file())?;
        let metadata = alone(&self.path, &self.header.trainer_state, own.metadata.clone())?;
        self.verify_against(metadata, Some(&own), threads, &|bytes| {
            progress(bytes);
            Ok(())
        })
    }

    fn verify_against(
        &self,
        mut metadata: Metadata,
        own: Option<&EmbeddedMetadata>,
        threads: NonZeroUsize,
        progress: Progress<'_>,
    ) -> Result<Metadata> {
        self.check_structure(&metadata, own)?;
        let (sha256, digests) = self.hash_files_and_tensors(&metadata, threads, progress);
        let (sha256, digests) = (sha256?, digests?);
        // Empty if the file beside is missing or describes another state. The digests in the file cover all
        // of it.
        if metadata.checkpoint_checksum.is_empty() {
            metadata.checkpoint_checksum.clone_from(&sha256[0]);
        }
        self.check_digests(&metadata, own.is_some(), &sha256, &digests)?;
        Ok(metadata)
    }

    /// Compares sizes, headers and padding with the metadata. Reads no tensor.
    fn check_structure(&self, metadata: &Metadata, own: Option<&EmbeddedMetadata>) -> Result<()> {
        let file = self.header.file();
        check_size(file, metadata)?;
        self.check_header(metadata, self.header.tensors())?;
        if let Some(own) = own {
            check_padding(file, &own.checked_header(file)?, own)?;
        }
        for (shard, info) in self.shards.iter().zip(&metadata.shards) {
            check_padding_of_shard(shard, &checked_shard_header(shard, info)?)?;
        }
        Ok(())
    }

    /// The SHA-256 of each file, and the BLAKE3 of each tensor: at the same time, with more than one thread.
    fn hash_files_and_tensors(
        &self,
        metadata: &Metadata,
        threads: NonZeroUsize,
        progress: Progress<'_>,
    ) -> (Result<Vec<String>>, Result<Vec<String>>) {
        let tensors = self.header.tensors();
        let files = self.files_with_checksums(metadata);
        let sha256 = move || files.into_iter().map(|(file, _)| file.sha256(progress)).collect();
        match NonZeroUsize::new(threads.get() - 1) {
            None => (sha256(), self.hash_all(tensors, NonZeroUsize::MIN, progress)),
            Some(others) => thread::scope(|scope| {
                let sha256 = scoped_work::start(scope, sha256);
                let digests = self.hash_all(tensors, others, progress);
                // Only `progress` can panic in the thread. The panic continues here.
                (sha256.join(), digests)
            }),
        }
    }

    /// Compares what was computed with the metadata. An error names the tensors that differ.
    fn check_digests(
        &self,
        metadata: &Metadata,
        describes_itself: bool,
        sha256: &[String],
        digests: &[String],
    ) -> Result<()> {
        let damaged = damaged(self.header.tensors(), digests, metadata);
        for ((file, expected), found) in self.files_with_checksums(metadata).into_iter().zip(sha256) {
            if found != expected {
                let is_here = |damaged: &&Damaged| damaged.tensor.file.path() == file.path();
                let damaged: Vec<&Damaged> = damaged.iter().filter(is_here).collect();
                let is_index = file.path() == self.header.file().path();
                let place = place(&damaged, is_index && describes_itself);
                let found = format!("{found} (it differs {place})");
                return Err(Error::checksum(file.path(), shown(expected), found));
            }
        }
        match damaged.first() {
            None => Ok(()),
            Some(Damaged { tensor, expected, found }) => Err(Error::checksum(
                tensor.file.path(),
                format!("blake3:{} for {}", shown(expected), shown(&tensor.name)),
                format!("blake3:{found}"),
            )),
        }
    }

    /// The checkpoint's files, each with the SHA-256 in the metadata: the file itself first, then the shards.
    fn files_with_checksums<'a>(&'a self, metadata: &'a Metadata) -> Vec<(&'a OpenFile, &'a str)> {
        let own = (self.header.file(), metadata.checkpoint_checksum.as_str());
        let shards = self.shards.iter().zip(&metadata.shards);
        let shards = shards.map(|(file, info)| (file.as_ref(), info.checksum.as_str()));
        std::iter::once(own).chain(shards).collect()
    }

    /// Reads every tensor, and returns type, shape and digest of each by name. Needs no metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] when a tensor cannot be read.
    pub fn tensor_digests(
        &self,
        threads: NonZeroUsize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<IndexMap<String, TensorInfo>> {
        let tensors = self.header.tensors();
        let digests = self.hash_all(tensors, threads, &|bytes| {
            progress(bytes);
            Ok(())
        })?;
        let infos = tensors.iter().zip(digests).map(|(tensor, blake3)| {
            let info =
                TensorInfo { dtype: tensor.dtype.name().to_owned(), shape: tensor.shape.clone(), blake3 };
            (tensor.name.clone(), info)
        });
        Ok(infos.collect())
    }

    /// Compares the tensors and hyperparameters in the header with the metadata. Reads no tensor.
    fn check_header(&self, metadata: &Metadata, tensors: &[StoredTensor]) -> Result<()> {
        if tensors.len() != metadata.tensors.len() {
            let (expected, found) = (metadata.tensors.len(), tensors.len());
            return Err(Error::checksum(
                &self.path,
                format!("{expected} tensors"),
                format!("{found} tensors"),
            ));
        }
        for tensor in tensors {
            expected_info(&self.path, &tensor.name, (tensor.dtype, &tensor.shape), metadata)?;
        }
        check_hparams(&self.path, self.raw_hparams(), metadata)
    }

    /// The BLAKE3 of each tensor. Stops at the first tensor that cannot be read.
    fn hash_all(
        &self,
        tensors: &[StoredTensor],
        threads: NonZeroUsize,
        progress: Progress<'_>,
    ) -> Result<Vec<String>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(tensor) = tensors.get(index) else { break };
                match tensor.blake3(progress) {
                    Ok(digest) => done.push((index, digest)),
                    Err(error) => {
                        failed.store(true, Ordering::Relaxed);
                        let reason = format!("the tensor {} cannot be read", shown(&tensor.name));
                        let path = tensor.file.path().to_path_buf();
                        let source = Some(Box::new(error) as Cause);
                        return Err(Error::Load { path, reason, source });
                    }
                }
            }
            Ok(done)
        };
        let parts: Vec<Result<Vec<(usize, String)>>> = thread::scope(|scope| {
            let others: Vec<_> =
                (1..threads.get().min(tensors.len())).map(|_| scoped_work::start(scope, work)).collect();
            let mut parts = vec![work()];
            parts.extend(others.into_iter().map(ScopedWork::join));
            parts
        });
        let mut digests = vec![String::new(); tensors.len()];
        for part in parts {
            for (index, digest) in part? {
                digests[index] = digest;
            }
        }
        Ok(digests)
    }
}

/// A tensor of which the bytes are not those that were written.
struct Damaged<'a> {
    tensor: &'a StoredTensor,
    expected: &'a str,
    found: &'a str,
}

fn damaged<'a>(
    tensors: &'a [StoredTensor],
    digests: &'a [String],
    metadata: &'a Metadata,
) -> Vec<Damaged<'a>> {
    let of = |(tensor, found): (&'a StoredTensor, &'a String)| {
        let expected = metadata.tensors.get(&tensor.name)?.blake3.as_str();
        (expected != found).then_some(Damaged { tensor, expected, found })
    };
    tensors.iter().zip(digests).filter_map(of).collect()
}

/// Where a file differs from its SHA-256.
fn place(damaged: &[&Damaged<'_>], is_described_beside: bool) -> String {
    match damaged {
        [] if is_described_beside => {
            "from the file beside it alone, which `burn-ckpt describe` rewrites".to_owned()
        }
        [] => "outside of the tensors".to_owned(),
        [first] => format!("in the tensor {}", shown(&first.tensor.name)),
        [first, rest @ ..] => {
            format!("in the tensor {} and {} more", shown(&first.tensor.name), rest.len())
        }
    }
}
