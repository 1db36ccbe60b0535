//! The bytes of a container, or of a shard, that belong to no entry: zeros.

use burn_pack::{HEADER_SIZE, TENSOR_ALIGNMENT};

use crate::error::{Error, Result};
use crate::format::container::descriptors::{Descriptor, Descriptors};
use crate::format::container::open_file::OpenFile;
use crate::format::metadata::embedded::{EmbeddedMetadata, METADATA_ENTRY, SEAL_BYTES, SEAL_ENTRY, bytes_at};
use crate::text::printable::shown;

/// Checks that the entries of a file of version 2 follow one another, the metadata and the seal last, and
/// that all other bytes are zero. `header` is the file's, compared with its digest.
///
/// # Errors
///
/// [`Error::Damaged`] naming the position, [`Error::Io`] when the file cannot be read.
pub(crate) fn check_padding(file: &OpenFile, header: &[u8], own: &EmbeddedMetadata) -> Result<()> {
    let (metadata, seal) = (own.start, own.metadata.checkpoint_size_bytes - SEAL_BYTES as u64);
    let last =
        [(metadata, metadata + own.length, METADATA_ENTRY), (seal, seal + SEAL_BYTES as u64, SEAL_ENTRY)];
    check_entries(file, header, &last)
}

/// The same for a shard, in which the state's tensors are the last entries.
///
/// # Errors
///
/// As for [`check_padding`].
pub(crate) fn check_padding_of_shard(file: &OpenFile, header: &[u8]) -> Result<()> {
    check_entries(file, header, &[])
}

fn check_entries(file: &OpenFile, header: &[u8], last: &[(u64, u64, &str)]) -> Result<()> {
    let path = file.path();
    let invalid = |reason: String| Err(Error::damaged(path, reason, None));
    let places = Descriptors::decode(&header[HEADER_SIZE..])
        .map_err(|error| Error::damaged(path, "its header is invalid", Some(Box::new(error))))?;
    let start = header.len() as u64;
    let mut ranges: Vec<(u64, u64, &str)> = Vec::with_capacity(places.tensors.len());
    for (name, Descriptor { data_offsets: (from, to), .. }) in &places.tensors {
        match (start.checked_add(*from), start.checked_add(*to)) {
            // An empty tensor may be anywhere.
            (Some(from), Some(to)) if from == to => {}
            (Some(from), Some(to)) if from < to => ranges.push((from, to, name)),
            _ => return invalid(format!("the position of the tensor {} is invalid", shown(name))),
        }
    }
    ranges.sort_unstable();
    if !ranges.ends_with(last) {
        return invalid(format!("its last entries are not {METADATA_ENTRY} and {SEAL_ENTRY}"));
    }
    let mut end = start;
    for (from, to, name) in ranges {
        if from < end {
            return invalid(format!("the tensor {} overlaps another one", shown(name)));
        }
        if from - end >= TENSOR_ALIGNMENT {
            return invalid(format!("there are bytes of no tensor before the tensor {}", shown(name)));
        }
        let gap = bytes_at(file, end, (from - end) as usize)?;
        if let Some(place) = gap.iter().position(|byte| *byte != 0) {
            let found = format!("{} at byte {}", gap[place], end + place as u64);
            return Err(Error::checksum(path, "zeros between its entries".to_owned(), found));
        }
        end = to;
    }
    if end != file.size() {
        return invalid(format!("it has {} bytes, and its entries end at {end}", file.size()));
    }
    Ok(())
}
