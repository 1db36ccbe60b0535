//! Writing a container in one pass: while the bytes go to the file, its SHA-256 and the tensors' BLAKE3 are taken of them.
//!
//! burnpack's own writer makes the beginning of the file (header, names, shapes, offsets). The tensors follow here, in the
//! order and with the alignment that its format states, because that writer has no place where digests could be taken
//! of what it writes. Three threads overlap:
//!
//! | thread | does |
//! |---|---|
//! | the caller's | reads a window of a tensor from its device, takes BLAKE3 of it, writes it |
//! | `burn-ckpt-sha256` | SHA-256 of the windows in their order, the slowest part of it all on most machines |
//! | `burn-ckpt-sync` | makes the disk write what is in the page cache, so that the last sync has little left to do |
//!
//! What is in host memory at a time: the window that is being written, those that wait to be hashed
//! ([`QUEUED_WINDOWS`]), and whatever the state's tensors hold there themselves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope, ScopedJoinHandle};

use burn::tensor::Bytes;
use burn_pack::{Scalar, TENSOR_ALIGNMENT, Tensor};
use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use crate::disk::preallocate;
use crate::error::{Error, Result};
use crate::format::contents::{Contents, Entries, entries};
use crate::format::deferred_tensor::in_windows;
use crate::format::digest::checksum;
use crate::format::metadata::TensorInfo;
use crate::format::section::burnpack_writer;
use crate::panics::panic_message;
use crate::save::read_progress::ReadProgress;

/// How much of a tensor is read, hashed and written at a time: small enough to stay in a processor's cache between the
/// three, large enough that handing it over costs nothing.
const WINDOW_BYTES: usize = 1024 * 1024;
/// How many windows may wait for their SHA-256.
const QUEUED_WINDOWS: usize = 32;
/// Into how many parts a file is divided for the disk, which is made to write each while the next is made. Left to itself, the system
/// would leave most of a checkpoint to the sync at the end.
const SYNCED_PARTS: u64 = 16;
/// The disk is not asked for less than this, which would be more asking than writing.
const MIN_SYNC_BYTES: u64 = 1024 * 1024;
/// Nor left more than this to do.
const MAX_SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// What was written, for the metadata.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) tensors: IndexMap<String, TensorInfo>,
    pub(crate) size_bytes: u64,
    /// `sha256:` and the digits.
    pub(crate) checksum: String,
}

/// Writes a container to a new file, and makes its bytes durable.
///
/// # Errors
///
/// [`Error::Io`] when the disk is full, before a tensor is read where the file system can tell, or when it fails;
/// [`Error::Container`] when a tensor cannot be read; [`Error::Name`] for a section's name.
pub(crate) fn write(path: &Path, contents: Contents, reading: &ReadProgress) -> Result<Written> {
    reading.begins();
    let Entries { tensors, scalars, strings } = entries(contents)?;
    let (beginning, size_bytes) = begin(path, &tensors, &scalars, &strings)?;
    let described: Vec<(String, String, Vec<usize>)> = tensors
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.dtype.name().to_owned(), tensor.shape.to_vec()))
        .collect();
    let mut file = File::options().write(true).open(path).map_err(Error::io("open", path))?;
    preallocate::reserve(&file, size_bytes).map_err(Error::io("reserve the space for", path))?;
    file.seek(SeekFrom::Start(beginning.len() as u64)).map_err(Error::io("write", path))?;

    let (digests, checksum) = stream(path, file, beginning, tensors, size_bytes, reading)?;
    let info = |((name, dtype, shape), blake3)| (name, TensorInfo { dtype, shape, blake3 });
    Ok(Written { tensors: described.into_iter().zip(digests).map(info).collect(), size_bytes, checksum })
}

/// Has burnpack's writer write what precedes the tensors' bytes. Returns that, and the size of the whole file.
///
/// That writer lays a container out from the tensors' lengths alone, and asks for the bytes of the first one when all
/// before it is written. It is refused them.
fn begin(
    path: &Path,
    tensors: &[Tensor],
    scalars: &BTreeMap<String, Scalar>,
    strings: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, u64)> {
    let asked = Arc::new(AtomicBool::new(false));
    let outlines = tensors.iter().map(|tensor| outline(tensor, &asked)).collect();
    let writer = burnpack_writer(outlines, scalars, strings).auto_extension(false).overwrite(false);
    let size = writer.size().map_err(Error::container(path))?;
    match writer.write_to_file_in_place(path) {
        Err(_) if asked.load(Ordering::Relaxed) => {}
        Err(error) => return Err(Error::container(path)(error)),
        Ok(()) => {}
    }
    let beginning = fs::read(path).map_err(Error::io("read", path))?;
    Ok((beginning, size as u64))
}

/// A tensor of the same name, type and length that gives no bytes.
fn outline(tensor: &Tensor, asked: &Arc<AtomicBool>) -> Tensor {
    let asked = Arc::clone(asked);
    let refuse = move || {
        asked.store(true, Ordering::Relaxed);
        Err(burn_pack::Error::IoError("the tensors are written by burn-ckpt".to_owned()))
    };
    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
    Tensor::deferred(name, tensor.dtype, shape, tensor.param_id, tensor.byte_len(), refuse)
}

/// Writes the tensors after the beginning, and syncs the file. Returns the tensors' digests and the file's checksum.
fn stream(
    path: &Path,
    file: File,
    beginning: Vec<u8>,
    tensors: Vec<Tensor>,
    size: u64,
    reading: &ReadProgress,
) -> Result<(Vec<String>, String)> {
    let second_handle = file.try_clone().map_err(Error::io("open", path))?;
    thread::scope(|scope| {
        let (hashing, to_hash) = mpsc::sync_channel(QUEUED_WINDOWS);
        let (syncing, to_sync) = mpsc::sync_channel(1);
        let sha256 = spawn(scope, "burn-ckpt-sha256", move || sha256_of(&to_hash))?;
        let synced = spawn(scope, "burn-ckpt-sync", move || sync_when_asked(&second_handle, &to_sync))?;

        let position = beginning.len() as u64;
        let out = BufWriter::with_capacity(WINDOW_BYTES, file);
        let part = (size / SYNCED_PARTS).clamp(MIN_SYNC_BYTES, MAX_SYNC_BYTES);
        let mut stream = Stream { path, out, position, part, unsynced: 0, hashing, syncing, reading };
        stream.hash(Piece::Window(Arc::new(Bytes::from_bytes_vec(beginning))))?;
        let digests = tensors.into_iter().map(|tensor| stream.tensor(tensor)).collect::<Result<_>>()?;
        reading.ends();
        let Stream { out, position, hashing, syncing, .. } = stream;
        drop((hashing, syncing));
        if position != size {
            let reason = format!("burnpack's writer planned {size} bytes, and its layout gives {position}");
            return Err(Error::container(path)(burn_pack::Error::ValidationError(reason)));
        }

        // The system reports what a disk did not take once, to whoever syncs first.
        let written = out.into_inner().map_err(|error| Error::io("write", path)(error.into_error()))?;
        joined(synced)?.map_err(Error::io("sync", path))?;
        written.sync_all().map_err(Error::io("sync", path))?;
        Ok((digests, joined(sha256)?))
    })
}

/// Bytes of the file that are to be hashed.
enum Piece {
    /// Whoever sends it has read it.
    Window(Arc<Bytes>),
    Zeros(usize),
}

/// The file that is being written, at some position.
struct Stream<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    position: u64,
    /// After how many bytes the disk is made to write.
    part: u64,
    /// Bytes since then.
    unsynced: u64,
    hashing: SyncSender<Piece>,
    syncing: SyncSender<()>,
    reading: &'a ReadProgress,
}

impl Stream<'_> {
    /// Writes one tensor at its place, and returns its BLAKE3.
    fn tensor(&mut self, tensor: Tensor) -> Result<String> {
        self.align()?;
        let (path, name, length) = (self.path, tensor.name.clone(), tensor.byte_len());
        let unreadable = |reason: String| {
            Error::container(path)(burn_pack::Error::IoError(format!("tensor '{name}': {reason}")))
        };
        let bytes = tensor.into_bytes().map_err(|error| unreadable(error.to_string()))?;
        let bytes = in_windows(bytes);
        let mut blake3 = blake3::Hasher::new();
        for start in (0..length).step_by(WINDOW_BYTES) {
            let end = length.min(start + WINDOW_BYTES);
            let window = bytes.view(start, end).map_err(|error| unreadable(format!("{error:?}")))?;
            let window = Arc::new(window);
            // A window of a tensor on a device, or in a file, is read here.
            let read = window.read(Default::default()).map_err(|error| unreadable(error.to_string()))?;
            self.reading.gets_on();
            self.hash(Piece::Window(Arc::clone(&window)))?;
            blake3.update(read);
            self.write(read)?;
        }
        Ok(blake3.finalize().to_hex().to_string())
    }

    /// Fills up to where the next tensor begins.
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
            // Where the disk is still busy with what it was given, it will get this with the next.
            let _ = self.syncing.try_send(());
        }
        Ok(())
    }

    fn hash(&self, piece: Piece) -> Result<()> {
        self.hashing.send(piece).map_err(|_| Error::WriterStopped("its SHA-256 cannot be taken".to_owned()))
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

fn sync_when_asked(file: &File, asked: &Receiver<()>) -> std::io::Result<()> {
    asked.iter().try_for_each(|()| file.sync_data())
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let no_thread = |error| Error::WriterStopped(format!("the system gives no thread for {name}: {error}"));
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work).map_err(no_thread)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        Error::WriterStopped(format!("a panic: {}", panic_message(&*panic)))
    };
    thread.join().map_err(panicked)
}
