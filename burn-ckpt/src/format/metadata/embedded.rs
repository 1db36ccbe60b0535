//! The end of a container: its metadata, so that the file needs no other one, and the seal behind it.
//!
//! Both are entries of the container, the last two. They are read from the file's end, without the header:
//!
//! ```text
//! header | tensors .. | burn-ckpt.metadata | zeros to a multiple of 256 | burn-ckpt.seal
//! seal:  "BURNCKPT", length of the metadata (u64, little-endian), BLAKE3 of the metadata (32 bytes)
//! ```
//!
//! The metadata has the digest of the header and those of the tensors. So each byte of the file but the zeros
//! between entries is covered by a digest.

use burn::tensor::Bytes;
use burn_pack::{DType, HEADER_SIZE, Header, TENSOR_ALIGNMENT, Tensor, aligned_data_section_start};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::container::bounded_metadata::{check_metadata, parse_metadata};
use crate::format::container::open_file::OpenFile;
use crate::format::digest::{blake3_hex, hex};
use crate::format::limits::Limits;
use crate::format::metadata::listed::{Listed, MetadataParts};
use crate::format::metadata::non_finite::NonFiniteTensors;
use crate::format::metadata::{Metadata, ShardInfo, TensorInfo};

/// How the names of entries begin that are not the state's.
pub(crate) const OWN_PREFIX: &str = "burn-ckpt.";
pub(crate) const METADATA_ENTRY: &str = "burn-ckpt.metadata";
pub(crate) const SEAL_ENTRY: &str = "burn-ckpt.seal";
/// How many of a file's tensors are the checkpoint's own: these two, behind those of the state.
pub const OWN_ENTRIES: usize = 2;

const SEAL_START: &[u8; 8] = b"BURNCKPT";
const DIGEST_BYTES: usize = 32;
/// The seal's length.
pub(crate) const SEAL_BYTES: usize = SEAL_START.len() + size_of::<u64>() + DIGEST_BYTES;
/// As long as every digest, so that the metadata's length is known before the digests are.
pub(crate) const UNKNOWN_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How deep the tensors' object is in it.
const DEPTH: usize = 2;

/// The JSON in the container.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<M = Metadata> {
    /// BLAKE3 of all bytes before the first tensor's.
    header_blake3: String,
    /// The metadata without what follows from the file: its path, size and SHA-256 are empty.
    metadata: M,
}

/// The metadata that a container has, and the digest of its header.
#[derive(Debug)]
pub(crate) struct EmbeddedMetadata {
    /// Path and SHA-256 are empty. The size is the file's.
    pub(crate) metadata: Metadata,
    pub(crate) header_blake3: String,
    /// Where the entry begins in the file, and its length.
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// The two entries of a container that is being planned: lengths first, bytes when all digests are known.
pub(crate) struct Ending {
    stored: Stored,
    /// As many bytes as the metadata can have. Which tensors are not finite is known only when all are
    /// written.
    length: usize,
}

/// What is known of a tensor once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenTensor {
    /// In hexadecimal.
    pub(crate) blake3: String,
    pub(crate) is_finite: bool,
}

impl Ending {
    /// Plans the ending for a state's tensors, and for shards of which the digests are not known yet.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] for metadata that no reader would accept, [`Error::Snapshot`] when it cannot be
    /// written as JSON.
    pub(crate) fn plan(
        metadata: &Metadata,
        tensors: &[Tensor],
        shards: Vec<ShardInfo>,
        limits: &Limits,
    ) -> Result<Self> {
        let unknown = |tensor: &Tensor| {
            let (dtype, shape) = (tensor.dtype.name().to_owned(), tensor.shape.to_vec());
            (tensor.name.clone(), TensorInfo { dtype, shape, blake3: UNKNOWN_DIGEST.to_owned() })
        };
        let metadata = Metadata {
            checkpoint_path: String::new(),
            checkpoint_size_bytes: 0,
            checkpoint_checksum: String::new(),
            shards,
            non_finite: Some(longest(metadata.non_finite.clone().unwrap_or_default(), tensors)),
            tensors: tensors.iter().map(unknown).collect(),
            ..metadata.clone()
        };
        let stored = Stored { header_blake3: UNKNOWN_DIGEST.to_owned(), metadata };
        let text = json(&stored)?;
        let length = text.len();
        limits.check_metadata(length as u64)?;
        check_metadata(&text, DEPTH)
            .map_err(|error| Error::snapshot("the metadata could not be read back", error))?;
        if length as u64 > limits.metadata_bytes / 2 {
            // The file beside the checkpoint has line breaks and indents too.
            limits.check_metadata(stored.metadata.to_json()?.len() as u64)?;
        }
        Ok(Self { stored, length })
    }

    /// The entries without their bytes, for the header.
    pub(crate) fn entries(&self) -> [Tensor; OWN_ENTRIES] {
        let planned = |name: &str, length: usize| {
            let unknown = || Err(burn_pack::Error::ValidationError("it is not known yet".to_owned()));
            Tensor::deferred(name.to_owned(), DType::U8, [length], None, length, unknown)
        };
        [planned(METADATA_ENTRY, self.length), planned(SEAL_ENTRY, SEAL_BYTES)]
    }

    /// Fills in the shards, which are written before the index.
    pub(crate) fn set_shards(&mut self, shards: Vec<ShardInfo>) {
        self.stored.metadata.shards = shards;
    }

    /// The entries, for a header and what is known of the tensors.
    pub(crate) fn finish(mut self, header: &[u8], written: Vec<WrittenTensor>) -> Result<Finished> {
        self.stored.header_blake3 = blake3_hex(header);
        let Metadata { tensors, non_finite, .. } = &mut self.stored.metadata;
        let at_start = non_finite.take().unwrap_or_default().at_start;
        let found = non_finite.insert(NonFiniteTensors { at_start, ..NonFiniteTensors::default() });
        let counted = found.counted();
        for ((name, info), WrittenTensor { blake3, is_finite }) in tensors.iter_mut().zip(written) {
            info.blake3 = blake3;
            if !is_finite && counted.has(name) {
                found.note(name);
            }
        }
        let mut metadata = json(&self.stored)?;
        // JSON may end in spaces.
        metadata.resize(self.length.max(metadata.len()), b' ');
        let mut seal = SEAL_START.to_vec();
        seal.extend((metadata.len() as u64).to_le_bytes());
        seal.extend(blake3::hash(&metadata).as_bytes());
        let entry = |name: &str, bytes: Vec<u8>| {
            Tensor::new(name.to_owned(), DType::U8, [bytes.len()], None, Bytes::from_bytes_vec(bytes))
        };
        Ok(Finished {
            entries: [entry(METADATA_ENTRY, metadata), entry(SEAL_ENTRY, seal)],
            tensors: self.stored.metadata.tensors,
            non_finite: self.stored.metadata.non_finite,
        })
    }
}

/// What is written behind the state's tensors.
pub(crate) struct Finished {
    pub(crate) entries: [Tensor; OWN_ENTRIES],
    /// The state's tensors with their digests.
    pub(crate) tensors: IndexMap<String, TensorInfo>,
    /// Which of them are not finite.
    pub(crate) non_finite: Option<NonFiniteTensors>,
}

/// What takes the most bytes of all that can be found.
fn longest(found: NonFiniteTensors, tensors: &[Tensor]) -> NonFiniteTensors {
    let counted = found.counted();
    let names = tensors.iter().map(|tensor| tensor.name.as_str()).filter(|name| counted.has(name));
    let first = names.max_by_key(|name| Value::from(*name).to_string().len()).map(str::to_owned);
    NonFiniteTensors { count: tensors.len() as u64, first, ..found }
}

fn json(stored: &Stored) -> Result<Vec<u8>> {
    serde_json::to_vec(stored)
        .map_err(|error| Error::snapshot("the metadata cannot be written as JSON", error))
}

impl EmbeddedMetadata {
    /// Reads the metadata at a file's end, and compares it with its digest. `None` for a file that does not
    /// end in a seal, as one of version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read, [`Error::Checksum`] for other bytes than were written,
    /// [`Error::Damaged`] for a length that is not the file's, and for bytes that are not a checkpoint's
    /// metadata.
    pub(crate) fn read(file: &OpenFile) -> Result<Option<Self>> {
        Self::read_parts(file, MetadataParts::All)
    }

    /// Reads these parts of the metadata at a file's end, and compares all of it with its digest.
    ///
    /// # Errors
    ///
    /// As for [`EmbeddedMetadata::read`].
    pub(crate) fn read_parts(file: &OpenFile, parts: MetadataParts) -> Result<Option<Self>> {
        let (path, size) = (file.path(), file.size());
        let Some(seal_start) = size.checked_sub(SEAL_BYTES as u64) else { return Ok(None) };
        let seal = bytes_at(file, seal_start, SEAL_BYTES)?;
        let Some((length, digest)) = seal.strip_prefix(SEAL_START).and_then(<[u8]>::split_first_chunk) else {
            return Ok(None);
        };
        let length = u64::from_le_bytes(*length);
        let limit = Limits::READER.metadata_bytes;
        if length > limit {
            let reason = format!("its metadata has {length} bytes, and {limit} are allowed");
            return Err(Error::damaged(path, reason, None));
        }
        let Some(start) = seal_start.checked_sub(length.next_multiple_of(TENSOR_ALIGNMENT)) else {
            let reason = format!("it has {size} bytes, and its metadata alone {length}");
            return Err(Error::damaged(path, reason, None));
        };
        let bytes = bytes_at(file, start, length as usize)?;
        let found = blake3::hash(&bytes);
        if found.as_bytes() != digest {
            let expected = format!("blake3:{} for it", hex(digest));
            return Err(Error::checksum(path, expected, format!("blake3:{found}")));
        }
        let parsed = match parts {
            MetadataParts::All => parse_metadata(&bytes, DEPTH),
            MetadataParts::Listed => {
                let stored = parse_metadata::<Stored<Listed<Metadata>>>(&bytes, DEPTH);
                stored
                    .map(|Stored { header_blake3, metadata }| Stored { header_blake3, metadata: metadata.0 })
            }
        };
        let Stored { header_blake3, metadata } = parsed.map_err(|error| {
            Error::damaged(path, "its metadata does not describe a checkpoint", Some(Box::new(error)))
        })?;
        let metadata = Metadata { checkpoint_size_bytes: size, ..metadata };
        Ok(Some(Self { metadata, header_blake3, start, length }))
    }

    /// The bytes before the first tensor's, compared with their digest.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] for other bytes, [`Error::Io`] and [`Error::Damaged`] where there are none.
    pub(crate) fn checked_header(&self, file: &OpenFile) -> Result<Vec<u8>> {
        let path = file.path();
        let start = bytes_at(file, 0, HEADER_SIZE)?;
        let length = Header::from_bytes(&start).ok().map(|header| header.metadata_size);
        let length =
            length.filter(|length| u64::from(*length) <= Limits::READER.header_bytes.min(self.start));
        let Some(length) = length else {
            return Err(Error::damaged(path, "the length of its header is invalid", None));
        };
        let header = bytes_at(file, 0, aligned_data_section_start(length as usize))?;
        let found = blake3_hex(&header);
        if found != self.header_blake3 {
            let expected = format!("blake3:{} for its header", self.header_blake3);
            return Err(Error::checksum(path, expected, format!("blake3:{found}")));
        }
        Ok(header)
    }
}

/// Bytes of a file, all of them.
pub(crate) fn bytes_at(file: &OpenFile, start: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start).map_err(Error::io("read", file.path()))?;
    Ok(bytes)
}
