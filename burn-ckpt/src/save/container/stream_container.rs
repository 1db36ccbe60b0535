//! Writing a container in one pass: the file's SHA-256 and the tensors' BLAKE3 are computed while the bytes
//! are written.
//!
//! `plan_file` makes the beginning of the file (header, names, shapes, offsets). It, the tensors, and the
//! metadata with their digests behind them are written here, in the order and with the alignment of
//! burn-pack's format, because its writer cannot compute digests of what it writes. Three threads overlap:
//!
//! | thread | does |
//! |---|---|
//! | the caller's | reads a window of a tensor from its device, computes its BLAKE3, looks for values that are not finite, writes it |
//! | `burn-ckpt-sha256` | computes the SHA-256 of the windows in order; the slowest part on most machines |
//! | `burn-ckpt-sync` | syncs the file now and then, so that the last sync has little left to write |
//!
//! In host memory at a time: the window that is being written, the windows that wait to be hashed
//! ([`QUEUED_WINDOWS`]), and whatever the state's tensors themselves hold there.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope, ScopedJoinHandle};

use burn::tensor::Bytes;
use burn_pack::{TENSOR_ALIGNMENT, Tensor};
use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use crate::disk::storage::StoredFile;
use crate::error::pack_error::PackError;
use crate::error::{Cause, Error, Result};
use crate::format::deferred_tensor::in_windows;
use crate::format::digest::checksum;
use crate::format::metadata::TensorInfo;
use crate::format::metadata::embedded::{Finished, WrittenTensor};
use crate::format::metadata::non_finite::{NonFiniteTensors, is_finite};
use crate::panics::panic_message;
use crate::save::container::plan_file::PlannedFile;
use crate::save::read_progress::ReadProgress;

/// How much of a tensor is read, hashed and written at a time. Small enough to stay in a processor's cache
/// between the three, large enough that passing it to another thread takes no measurable time.
const WINDOW_BYTES: usize = 1024 * 1024;
/// How many windows may wait for their SHA-256.
const QUEUED_WINDOWS: usize = 32;
/// How often a file is synced while it is written. Without that, the system would leave most of a checkpoint
/// to the sync at the end.
const SYNCED_PARTS: u64 = 16;
/// Lower bound on the bytes written between two syncs: a sync has a fixed cost.
const MIN_SYNC_BYTES: u64 = 1024 * 1024;
/// Upper bound on the bytes written between two syncs.
const MAX_SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// What was written, for the metadata.
#[derive(Debug)]
pub(crate) struct Written {
    /// The state's tensors in this file.
    pub(crate) parts: Vec<WrittenTensor>,
    /// All tensors of the state with their digests, for a file with an ending.
    pub(crate) tensors: IndexMap<String, TensorInfo>,
    /// Which of them are not finite, for a file with an ending.
    pub(crate) non_finite: Option<NonFiniteTensors>,
    pub(crate) size_bytes: u64,
    /// `sha256:` and the digits.
    pub(crate) checksum: String,
    /// BLAKE3 of the header.
    pub(crate) header_blake3: String,
}

/// Writes a container to `file`, which is new and empty, and makes its bytes durable. `before` are the
/// state's tensors in other files.
///
/// # Errors
///
/// [`Error::Io`] when the disk fails, or is full where the file system cannot reserve space;
/// [`Error::Container`] when a tensor cannot be read.
pub(crate) fn write(
    file: StoredFile,
    planned: PlannedFile,
    before: Vec<WrittenTensor>,
    reading: &ReadProgress,
) -> Result<Written> {
    let path = file.path().to_path_buf();
    let path = path.as_path();
    let PlannedFile { header, size, tensors, ending } = planned;
    let second_handle = file.try_clone().map_err(Error::io("open", path))?;
    thread::scope(|scope| {
        let (hashing, to_hash) = mpsc::sync_channel(QUEUED_WINDOWS);
        let (syncing, to_sync) = mpsc::sync_channel(1);
        let sha256 = spawn(scope, "burn-ckpt-sha256", move || sha256_of(&to_hash))?;
        let synced = spawn(scope, "burn-ckpt-sync", move || sync_each_time(&second_handle, &to_sync))?;

        let out = BufWriter::with_capacity(WINDOW_BYTES, file);
        let part = (size / SYNCED_PARTS).clamp(MIN_SYNC_BYTES, MAX_SYNC_BYTES);
        let mut stream = Stream { path, out, position: 0, part, unsynced: 0, hashing, syncing, reading };
        stream.write(&header)?;
        let header = Arc::new(Bytes::from_bytes_vec(header));
        stream.hash(Piece::Window(Arc::clone(&header)))?;
        let parts: Vec<WrittenTensor> =
            tensors.into_iter().map(|tensor| stream.tensor(tensor)).collect::<Result<_>>()?;
        let (tensors, non_finite) = match ending {
            None => (IndexMap::new(), None),
            Some(ending) => {
                // The last file of the state.
                reading.finish();
                let all = before.into_iter().chain(parts.iter().cloned()).collect();
                let Finished { entries, tensors, non_finite } = ending.finish(&header, all)?;
                entries.into_iter().try_for_each(|entry| stream.tensor(entry).map(drop))?;
                (tensors, non_finite)
            }
        };
        let Stream { out, position, hashing, syncing, .. } = stream;
        drop((hashing, syncing));
        if position != size {
            let reason = format!("the header says {size} bytes, and {position} were written");
            return Err(Error::Container { path: path.to_path_buf(), reason, source: None });
        }

        // The system reports a failed write to the disk once, to the first sync after it. So both syncs are
        // checked.
        let written = out.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?;
        joined(synced)?.map_err(Error::io("sync", path))?;
        written.sync().map_err(Error::io("sync", path))?;
        let header_blake3 = blake3::hash(&header).to_hex().to_string();
        let checksum = joined(sha256)?;
        Ok(Written { parts, tensors, non_finite, size_bytes: size, checksum, header_blake3 })
    })
}

/// Bytes of the file that are to be hashed.
enum Piece {
    /// Bytes in host memory.
    Window(Arc<Bytes>),
    Zeros(usize),
}

/// The file that is being written, at some position.
struct Stream<'a> {
    path: &'a Path,
    out: BufWriter<StoredFile>,
    position: u64,
    /// After how many bytes the file is synced.
    part: u64,
    /// Bytes written since the last sync.
    unsynced: u64,
    hashing: SyncSender<Piece>,
    syncing: SyncSender<()>,
    reading: &'a ReadProgress,
}

/// Why a part of a tensor cannot be read.
const NOT_VIEWED: &str = "its bytes cannot be viewed without a copy";

impl Stream<'_> {
    /// Writes one tensor at its place.
    fn tensor(&mut self, tensor: Tensor) -> Result<WrittenTensor> {
        self.align()?;
        let (path, name, dtype, length) = (self.path, tensor.name.clone(), tensor.dtype, tensor.byte_len());
        let mut is_whole_finite = true;
        let unreadable = |source: Cause| {
            let reason = format!("the tensor {name} cannot be read");
            Error::Container { path: path.to_path_buf(), reason, source: Some(source) }
        };
        let bytes = tensor.into_bytes().map_err(|error| unreadable(PackError::boxed(error)))?;
        let bytes = in_windows(bytes);
        let mut blake3 = blake3::Hasher::new();
        for start in (0..length).step_by(WINDOW_BYTES) {
            let end = length.min(start + WINDOW_BYTES);
            // `in_windows` made them so that they can be viewed.
            let window = bytes.view(start, end).map_err(|_| unreadable(NOT_VIEWED.into()))?;
            let window = Arc::new(window);
            // A window of a tensor on a device, or in a file, is read here.
            let read = window.read(Default::default()).map_err(|error| unreadable(Box::new(error)))?;
            self.reading.advance();
            self.hash(Piece::Window(Arc::clone(&window)))?;
            blake3.update(read);
            is_whole_finite = is_whole_finite && is_finite(dtype, read);
            self.write(read)?;
        }
        let blake3 = blake3.finalize().to_hex().to_string();
        Ok(WrittenTensor { blake3, is_finite: is_whole_finite })
    }

    /// Writes zeros up to the position of the next tensor.
    fn align(&mut self) -> Result<()> {
        let count = (self.position.next_multiple_of(TENSOR_ALIGNMENT) - self.position) as usize;
        if count == 0 {
            return Ok(());
        }
        self.hash(Piece::Zeros(count))?;
        self.write(&[0; TENSOR_ALIGNMENT as usize][..count])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", self.path))?;
        self.position += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= self.part {
            self.unsynced = 0;
            // If the previous sync is still running, the next one includes these bytes.
            let _ = self.syncing.try_send(());
        }
        Ok(())
    }

    fn hash(&self, piece: Piece) -> Result<()> {
        self.hashing.send(piece).map_err(|_| Error::WriterStopped {
            reason: "the thread that computes the SHA-256 has ended".to_owned(),
            source: None,
        })
    }
}

fn sha256_of(pieces: &Receiver<Piece>) -> String {
    let mut hasher = Sha256::new();
    for piece in pieces {
        match piece {
            Piece::Window(window) => hasher.update(&window[..]),
            Piece::Zeros(count) => hasher.update(vec![0; count]),
        }
    }
    checksum(hasher)
}

fn sync_each_time(file: &StoredFile, requests: &Receiver<()>) -> std::io::Result<()> {
    requests.iter().try_for_each(|()| file.sync_data())
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let no_thread = |source| Error::WriterStopped {
        reason: format!("the thread {name} cannot be started"),
        source: Some(source),
    };
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work).map_err(no_thread)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|panic| Error::Panicked { message: panic_message(&*panic) })
}
