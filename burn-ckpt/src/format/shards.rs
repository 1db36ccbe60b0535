//! The shards of a checkpoint of several files: opened all at once with the index, and compared with what its
//! metadata says.
//!
//! The index has everything but the tensors. Its metadata has the size and the digests of each shard, so a
//! shard of another state, or one that is cut off, is found when the checkpoint is opened.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_pack::aligned_data_section_start;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::directories::list;
use crate::disk::file_identity::{FileIdentity, file_identity};
use crate::disk::storage;
use crate::error::{Error, Result};
use crate::file_names::{is_shard, shard_name, shards_directory};
use crate::format::container::bounded_json::parse;
use crate::format::container::limits::{MAX_STATE_TENSORS, MAX_TENSORS};
use crate::format::container::open_file::OpenFile;
use crate::format::container::read_header::{read_descriptors, stored_tensors};
use crate::format::container::stored_tensor::StoredTensor;
use crate::format::contents::SHARD_KEY;
use crate::format::digest::blake3_hex;
use crate::format::metadata::embedded::bytes_at;
use crate::format::metadata::{Metadata, ShardInfo};
use crate::text::printable::shown;

/// The most values in what a shard says of itself.
const MAX_CLAIM_VALUES: usize = 100;

/// What a shard says of itself in its header: which one it is, and of which state. So the headers of two
/// states differ, and a run knows its own shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardOf {
    /// Counted from 1.
    pub(crate) number: usize,
    pub(crate) count: usize,
    pub(crate) run_id: String,
    pub(crate) checkpoint_timestamp: Timestamp,
    pub(crate) global_step: u64,
    /// When the run was started. `None` in a shard of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_timestamp: Option<Timestamp>,
}

impl ShardOf {
    /// Whether this is a shard of the state that metadata describes.
    pub(crate) fn is_of(&self, metadata: &Metadata) -> bool {
        let state = (&metadata.run_id, metadata.checkpoint_timestamp, metadata.global_step);
        (&self.run_id, self.checkpoint_timestamp, self.global_step) == state
    }
}

/// The open shards of a checkpoint.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) files: Vec<Arc<OpenFile>>,
    /// All of the state, in the order of the shards.
    pub(crate) tensors: Vec<StoredTensor>,
}

impl Shards {
    /// Opens the shards of an index, and compares their sizes and headers with its metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] naming a shard that is missing or has another size; [`Error::Checksum`] for a
    /// header of other bytes; those of reading a header.
    pub(crate) fn open(index: &Path, count: usize, infos: &[ShardInfo]) -> Result<Self> {
        Self::open_in(&shards_directory(index), index, count, infos)
    }

    /// The same for shards in another directory: before it has its final name.
    pub(crate) fn open_in(directory: &Path, index: &Path, count: usize, infos: &[ShardInfo]) -> Result<Self> {
        let open = |number| OpenFile::open(&directory.join(shard_name(number, count)));
        Self::open_by(&open, index, count, infos)
    }

    /// The same with what opens a shard of a number.
    pub(crate) fn open_by(
        open: &dyn Fn(usize) -> Result<OpenFile>,
        index: &Path,
        count: usize,
        infos: &[ShardInfo],
    ) -> Result<Self> {
        if infos.len() != count {
            let described = infos.len();
            let reason = format!("its header says that it has {count} shards, and its metadata {described}");
            return Err(Error::damaged(index, reason, None));
        }
        let (mut files, mut tensors) = (Vec::with_capacity(count), Vec::new());
        for (number, info) in (1..).zip(infos) {
            let file = Arc::new(open_one(open(number), index, info)?);
            tensors.extend(tensors_of(&file, info)?);
            if tensors.len() > MAX_STATE_TENSORS {
                let reason = format!("its shards have more than {MAX_STATE_TENSORS} tensors");
                return Err(Error::damaged(index, reason, None));
            }
            files.push(file);
        }
        let mut names = HashSet::with_capacity(tensors.len().min(MAX_TENSORS));
        if let Some(twice) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
            let reason = format!("the tensor {} is in its shards twice", shown(&twice.name));
            return Err(Error::damaged(twice.file.path(), reason, None));
        }
        Ok(Self { files, tensors })
    }
}

/// Compares the sizes of an index's shards with its metadata. Opens none.
///
/// # Errors
///
/// [`Error::Damaged`] naming a shard that is missing or has another size; [`Error::Io`] when that cannot be
/// found out.
pub(crate) fn check_shard_sizes(index: &Path, infos: &[ShardInfo]) -> Result<()> {
    let directory = shards_directory(index);
    for (number, info) in (1..).zip(infos) {
        let path = directory.join(shard_name(number, infos.len()));
        match storage::stat(&path).map_err(Error::io("read", &path))? {
            Some(stat) => check_size(&path, index, stat.len(), info)?,
            None => return Err(missing(&path, index)),
        }
    }
    Ok(())
}

/// What tells the files of a checkpoint from all others, whatever their names: the identity of its `.ckpt`
/// file, then those of its shards. Two names of an index have shards of their own where these were copied.
/// `None` if one of the files is missing.
///
/// # Errors
///
/// [`Error::Io`] when that cannot be found out.
pub fn checkpoint_identity(checkpoint: &Path, shards: usize) -> Result<Option<Vec<FileIdentity>>> {
    let directory = shards_directory(checkpoint);
    let shards = (1..=shards).map(|number| directory.join(shard_name(number, shards)));
    std::iter::once(checkpoint.to_path_buf()).chain(shards).map(|path| file_identity(&path)).collect()
}

/// Each file of a checkpoint with its SHA-256 in the metadata: the `.ckpt` file first, then its shards.
#[must_use]
pub fn file_digests(checkpoint: &Path, metadata: &Metadata) -> Vec<(PathBuf, String)> {
    let (directory, count) = (shards_directory(checkpoint), metadata.shards.len());
    let own = (checkpoint.to_path_buf(), metadata.checkpoint_checksum.clone());
    let shards = (1..).zip(&metadata.shards);
    let shards =
        shards.map(|(number, info)| (directory.join(shard_name(number, count)), info.checksum.clone()));
    std::iter::once(own).chain(shards).collect()
}

fn open_one(opened: Result<OpenFile>, index: &Path, info: &ShardInfo) -> Result<OpenFile> {
    let file = opened.map_err(|error| match error {
        Error::Io { path, source, .. } if source.kind() == ErrorKind::NotFound => missing(&path, index),
        error => error,
    })?;
    check_size(file.path(), index, file.size(), info)?;
    Ok(file)
}

fn check_size(path: &Path, index: &Path, size: u64, info: &ShardInfo) -> Result<()> {
    if size == info.size_bytes {
        return Ok(());
    }
    let (path, advice) = (path.display(), advice(index));
    let reason = format!("its file {path} has {size} bytes and should have {}: {advice}", info.size_bytes);
    Err(Error::damaged(index, reason, None))
}

fn missing(path: &Path, index: &Path) -> Error {
    Error::damaged(index, format!("its file {} is missing: {}", path.display(), advice(index)), None)
}

fn advice(index: &Path) -> String {
    let directory = shards_directory(index);
    let directory = directory.file_name().unwrap_or_default().to_string_lossy();
    format!("a checkpoint of several files is copied and renamed together with its directory {directory}")
}

/// The tensors of a shard, whose header is compared with its digest first.
fn tensors_of(file: &Arc<OpenFile>, info: &ShardInfo) -> Result<Vec<StoredTensor>> {
    let (descriptors, length) = read_descriptors(file)?;
    header_of(file, length, info)?;
    stored_tensors(file, descriptors.tensors, length)
}

/// All bytes of a shard before its first tensor's, compared with their digest.
///
/// # Errors
///
/// [`Error::Checksum`] for other bytes, and those of reading a header.
pub(crate) fn checked_shard_header(file: &OpenFile, info: &ShardInfo) -> Result<Vec<u8>> {
    let (_, length) = read_descriptors(file)?;
    header_of(file, length, info)
}

fn header_of(file: &OpenFile, length: u32, info: &ShardInfo) -> Result<Vec<u8>> {
    let end = aligned_data_section_start(length as usize);
    if end as u64 > file.size() {
        let reason = format!("it has {} bytes, and its header ends at {end}", file.size());
        return Err(Error::damaged(file.path(), reason, None));
    }
    let header = bytes_at(file, 0, end)?;
    let found = blake3_hex(&header);
    if found != info.header_blake3 {
        let expected = format!("blake3:{} for its header", shown(&info.header_blake3));
        return Err(Error::checksum(file.path(), expected, format!("blake3:{found}")));
    }
    Ok(header)
}

/// What the shards in a directory say they are of. `None` if none of them says it.
///
/// # Errors
///
/// [`Error::Io`] when the directory cannot be listed.
pub(crate) fn claim_of_shards(directory: &Path) -> Result<Option<ShardOf>> {
    let mut shards = list(directory)?.into_iter().filter(|path| is_shard(path));
    Ok(shards.find_map(|path| {
        let (descriptors, _) = OpenFile::open(&path).and_then(|file| read_descriptors(&file)).ok()?;
        parse(descriptors.metadata.get(SHARD_KEY)?.as_bytes(), MAX_CLAIM_VALUES).ok()
    }))
}
