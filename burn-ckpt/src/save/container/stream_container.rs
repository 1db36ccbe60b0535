//! Writing a container in one pass: the file's SHA-256 and the tensors' BLAKE3 are computed while the bytes
//! are written.
//!
//! `plan_file` makes the beginning of the file (header, names, shapes, offsets). It, the tensors, and the
//! metadata with their digests behind them are written here, in the order and with the alignment of
//! burn-pack's format, because its writer cannot compute digests of what it writes. Four threads overlap:
//!
//! | thread | does |
//! |---|---|
//! | the caller's | reads a window of a tensor from its device, and writes it |
//! | `burn-ckpt-sha256` | computes the SHA-256 of the windows in order; the slowest part on most machines |
//! | `burn-ckpt-blake3` | computes the BLAKE3 of each tensor, and looks for values that are not finite |
//! | `burn-ckpt-sync` | syncs the file now and then, so that the last sync has little left to write |
//!
//! The two that compute give way to the training loop until the save is waited for:
//! [`digest_queue`](crate::save::container::digest_queue).
//!
//! In host memory at a time: the window that is being written, the windows that wait for their digests, and
//! whatever the state's tensors themselves hold there.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use burn::tensor::{Bytes, DType};
use burn_pack::{TENSOR_ALIGNMENT, Tensor};
use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use crate::disk::storage::StoredFile;
use crate::error::pack_error::PackError;
use crate::error::{Cause, Error, Result};
use crate::format::deferred_tensor::in_windows;
use crate::format::digest::{blake3_hex, checksum};
use crate::format::metadata::TensorInfo;
use crate::format::metadata::embedded::{Finished, WrittenTensor};
use crate::format::metadata::non_finite::{NonFiniteTensors, is_finite};
use crate::panics::panic_message;
use crate::save::container::digest_queue::{DigestQueue, Digesting};
use crate::save::container::plan_file::PlannedFile;
use crate::save::read_progress::ReadProgress;
use crate::save::urgency::Pace;

/// How much of a tensor is read, hashed and written at a time. Small enough to stay in a processor's cache
/// between the three, large enough that passing it to another thread takes no measurable time.
const WINDOW_BYTES: usize = 1024 * 1024;
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
/// state's tensors in other files. The save gives way until its patience ends.
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
    pace: &Arc<Pace>,
    patience: Instant,
) -> Result<Written> {
    let path = file.path().to_path_buf();
    let path = path.as_path();
    let PlannedFile { header, size, tensors, ending } = planned;
    let second_handle = file.try_clone().map_err(Error::io("open", path))?;
    let sha256 = DigestQueue::start("burn-ckpt-sha256", FileSha256(Sha256::new()), pace, patience)?;
    let blake3 = DigestQueue::start("burn-ckpt-blake3", TensorDigest::default(), pace, patience)?;
    thread::scope(|scope| {
        let (syncing, to_sync) = mpsc::sync_channel(1);
        let synced = spawn(scope, "burn-ckpt-sync", move || sync_each_time(&second_handle, &to_sync))?;

        let out = BufWriter::with_capacity(WINDOW_BYTES, file);
        let part = (size / SYNCED_PARTS).clamp(MIN_SYNC_BYTES, MAX_SYNC_BYTES);
        let mut stream =
            Stream { path, out, position: 0, part, unsynced: 0, sha256, blake3, syncing, reading };
        stream.write(&header)?;
        let header = Arc::new(Bytes::from_bytes_vec(header));
        stream.sha256.push(Piece::Window(Arc::clone(&header)))?;
        tensors.into_iter().try_for_each(|tensor| stream.tensor(tensor))?;
        if ending.is_some() {
            // The last file of the state.
            reading.finish();
        }
        let parts = stream.blake3.take_outputs()?;
        let (tensors, non_finite) = match ending {
            None => (IndexMap::new(), None),
            Some(ending) => {
                let all = before.into_iter().chain(parts.iter().cloned()).collect();
                let Finished { entries, tensors, non_finite } = ending.finish(&header, all)?;
                entries.into_iter().try_for_each(|entry| stream.tensor(entry))?;
                (tensors, non_finite)
            }
        };
        let Stream { out, position, sha256, blake3, syncing, .. } = stream;
        drop((blake3, syncing));
        if position != size {
            let reason = format!("the header says {size} bytes, and {position} were written");
            return Err(Error::Container { path: path.to_path_buf(), reason, source: None });
        }

        // The system reports a failed write to the disk once, to the first sync after it. So both syncs are
        // checked.
        let written = out.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?;
        joined(synced)?.map_err(Error::io("sync", path))?;
        written.sync().map_err(Error::io("sync", path))?;
        let header_blake3 = blake3_hex(&header);
        let checksum = checksum(sha256.finish()?.0);
        Ok(Written { parts, tensors, non_finite, size_bytes: size, checksum, header_blake3 })
    })
}

/// Bytes of the file that are to be hashed.
#[derive(Clone)]
enum Piece {
    /// Bytes in host memory.
    Window(Arc<Bytes>),
    Zeros(usize),
}

/// The SHA-256 of the file up to a position.
#[derive(Clone)]
struct FileSha256(Sha256);

impl Digesting for FileSha256 {
    type Piece = Piece;
    type Output = ();

    fn digest(&mut self, piece: &Piece) -> Option<()> {
        match piece {
            Piece::Window(window) => self.0.update(&window[..]),
            Piece::Zeros(count) => self.0.update(vec![0; *count]),
        }
        None
    }
}

/// A part of a tensor, which is in host memory, or the end of one.
#[derive(Clone)]
enum TensorPart {
    Window(Arc<Bytes>, DType),
    End,
}

/// What is known of a tensor up to some window.
#[derive(Clone)]
struct TensorDigest {
    blake3: blake3::Hasher,
    is_finite: bool,
}

impl Default for TensorDigest {
    fn default() -> Self {
        Self { blake3: blake3::Hasher::new(), is_finite: true }
    }
}

impl Digesting for TensorDigest {
    type Piece = TensorPart;
    type Output = WrittenTensor;

    fn digest(&mut self, part: &TensorPart) -> Option<WrittenTensor> {
        match part {
            TensorPart::Window(window, dtype) => {
                self.blake3.update(window);
                self.is_finite = self.is_finite && is_finite(*dtype, window);
                None
            }
            TensorPart::End => {
                let Self { blake3, is_finite } = std::mem::take(self);
                Some(WrittenTensor { blake3: blake3.finalize().to_hex().to_string(), is_finite })
            }
        }
    }
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
    sha256: DigestQueue<FileSha256>,
    blake3: DigestQueue<TensorDigest>,
    syncing: SyncSender<()>,
    reading: &'a ReadProgress,
}

/// Why a part of a tensor cannot be read.
const NOT_VIEWED: &str = "its bytes cannot be viewed without a copy";

impl Stream<'_> {
    /// Writes one tensor at its place.
    fn tensor(&mut self, tensor: Tensor) -> Result<()> {
        self.align()?;
        let (path, name, dtype, length) = (self.path, tensor.name.clone(), tensor.dtype, tensor.byte_len());
        let unreadable = |source: Cause| {
            let reason = format!("the tensor {name} cannot be read");
            Error::Container { path: path.to_path_buf(), reason, source: Some(source) }
        };
        let bytes = tensor.into_bytes().map_err(|error| unreadable(PackError::boxed(error)))?;
        let bytes = in_windows(bytes);
        for start in (0..length).step_by(WINDOW_BYTES) {
            let end = length.min(start + WINDOW_BYTES);
            // `in_windows` made them so that they can be viewed.
            let window = bytes.view(start, end).map_err(|_| unreadable(NOT_VIEWED.into()))?;
            let window = Arc::new(window);
            // A window of a tensor on a device, or in a file, is read here.
            let read = window.read(Default::default()).map_err(|error| unreadable(Box::new(error)))?;
            self.reading.advance();
            self.sha256.push(Piece::Window(Arc::clone(&window)))?;
            self.blake3.push(TensorPart::Window(Arc::clone(&window), dtype))?;
            self.write(read)?;
        }
        self.blake3.push(TensorPart::End)
    }

    /// Writes zeros up to the position of the next tensor.
    fn align(&mut self) -> Result<()> {
        let count = (self.position.next_multiple_of(TENSOR_ALIGNMENT) - self.position) as usize;
        if count == 0 {
            return Ok(());
        }
        self.sha256.push(Piece::Zeros(count))?;
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
