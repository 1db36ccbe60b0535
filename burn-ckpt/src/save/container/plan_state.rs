//! Whether a state is one file, or several with an index, and which tensor is in which file. Nothing is read
//! or written.

use std::collections::BTreeMap;
use std::path::Path;

use burn_pack::{Scalar, TENSOR_ALIGNMENT, Tensor};
use jiff::Timestamp;

use crate::error::pack_error::PackError;
use crate::error::{Error, Result};
use crate::format::contents::{Contents, Entries, SHARD_KEY, SHARDS_KEY, entries};
use crate::format::limits::Limits;
use crate::format::metadata::embedded::{Ending, OWN_ENTRIES, UNKNOWN_DIGEST};
use crate::format::metadata::{Metadata, ShardInfo};
use crate::format::section::Section;
use crate::format::shards::ShardOf;
use crate::save::container::encode_header::{encode_header, longest_entry};
use crate::save::container::plan_file::PlannedFile;
use crate::text::printable::shown;

/// How often a limit of a file's size is raised to find the one that is enough: for the largest tensor, the
/// number of files, and the index, each of which depends on the one before.
const PARTS_TRIED: usize = 4;
/// The bytes by which the number of tensors in a header can make it longer.
const COUNT_BYTES: u64 = 9;

/// A state that is to be written.
pub(crate) struct PlannedState {
    /// The files with the state's tensors, if they are not in one file with the rest.
    pub(crate) shards: Vec<PlannedFile>,
    /// The one file, or the index.
    pub(crate) file: PlannedFile,
}

/// Plans the files of a state. `path` is for an error's text.
///
/// # Errors
///
/// [`Error::TooLarge`] and [`Error::FileLimit`] naming a limit that is exceeded, [`Error::Name`] for a
/// section's name.
pub(crate) fn plan_state(path: &Path, contents: Contents, metadata: &Metadata) -> Result<PlannedState> {
    let limits = contents.limits;
    for (name, section) in &contents.sections {
        limits.check_section(name, section.tensors.len())?;
    }
    let Entries { tensors, scalars, strings } = entries(contents)?;
    limits.check_tensors(&tensors)?;
    let ending = Ending::plan(metadata, &tensors, Vec::new(), &limits)?;
    let (count, file) = (
        tensors.len() + OWN_ENTRIES,
        PlannedFile::new(path, tensors.clone(), &scalars, &strings, Some(ending))?,
    );
    if limits.allow_file(count, file.header.len() as u64, file.size) {
        return Ok(PlannedState { shards: Vec::new(), file });
    }
    drop(file);
    naming_what_is_enough(&limits, |limits| {
        let shards = plan_shards(path, tensors.clone(), metadata, limits)?;
        let sizes: Vec<u64> = shards.iter().map(|shard| shard.size).collect();
        let strings = (scalars.clone(), strings.clone());
        let file = plan_index(path, &tensors, &sizes, strings, metadata, limits)?;
        Ok(PlannedState { shards, file })
    })
}

/// Plans with these limits. The error of a file that is too large names the part that needs most, and what is
/// enough for all: a user who raises the limit does so once.
fn naming_what_is_enough<T>(limits: &Limits, plan: impl Fn(&Limits) -> Result<T>) -> Result<T> {
    let planned = plan(limits);
    let Err(Error::FileLimit { what, needed, limit }) = planned else { return planned };
    let (mut most, mut enough) = (what.clone(), needed);
    for _ in 0..PARTS_TRIED {
        match plan(&limits.with_max_file_bytes(enough)) {
            Ok(_) => return Err(Error::FileLimit { what: most, needed: enough, limit }),
            Err(Error::FileLimit { what, needed, .. }) if needed > enough => (most, enough) = (what, needed),
            Err(_) => break,
        }
    }
    Err(Error::FileLimit { what, needed, limit })
}

/// Compares a state with the limits, for a check before training: the tensors of a model under their names,
/// and those of the other sections under their names in a file. Reads none. Two may have one name, as far as
/// the names are not known yet. The checkpoint is larger by what is not known before a save.
///
/// # Errors
///
/// [`Error::TooLarge`] or [`Error::FileLimit`], as a save of the state would return.
pub fn check_state(limits: &Limits, tensors: &[Tensor]) -> Result<()> {
    let of = |section: &str| {
        let begin = format!("{section}.");
        tensors.iter().filter(|tensor| tensor.name.starts_with(&begin)).count()
    };
    let (optimizer, history) = (of(Section::OPTIMIZER), of(Section::HISTORY));
    limits.check_section(Section::OPTIMIZER, optimizer)?;
    limits.check_section(Section::MODEL, tensors.len() - optimizer - history)?;
    limits.check_tensors(tensors)?;
    let metadata = Metadata::new(Timestamp::UNIX_EPOCH);
    let ending = Ending::plan(&metadata, tensors, Vec::new(), limits)?;
    let lengths = tensors.iter().chain(&ending.entries()).map(|tensor| tensor.byte_len() as u64).sum();
    if limits.allow_file(tensors.len() + OWN_ENTRIES, 0, lengths) {
        return Ok(());
    }
    naming_what_is_enough(limits, |limits| {
        let sizes = vec![limits.file_bytes; groups(tensors.to_vec(), &metadata, limits)?.len()];
        let nothing = (BTreeMap::new(), BTreeMap::new());
        plan_index(Path::new("a checkpoint"), tensors, &sizes, nothing, &metadata, limits).map(drop)
    })
}

/// Puts the tensors into files in their order, each into one, as many into a file as the limits allow.
fn plan_shards(
    path: &Path,
    tensors: Vec<Tensor>,
    metadata: &Metadata,
    limits: &Limits,
) -> Result<Vec<PlannedFile>> {
    let groups = groups(tensors, metadata, limits)?;
    let count = groups.len();
    (1..)
        .zip(groups)
        .map(|(number, tensors)| {
            PlannedFile::new(path, tensors, &BTreeMap::new(), &claim(number, count, metadata)?, None)
        })
        .collect()
}

/// The tensors of each file, in their order.
fn groups(tensors: Vec<Tensor>, metadata: &Metadata, limits: &Limits) -> Result<Vec<Vec<Tensor>>> {
    let longest_claim = claim(usize::MAX, usize::MAX, metadata)?;
    let (begin, _) = encode_header(&[], &BTreeMap::new(), &longest_claim).map_err(unplanned)?;
    let begin = begin.len() as u64 + COUNT_BYTES;
    let mut groups: Vec<Vec<Tensor>> = Vec::new();
    let (mut header, mut data) = (begin, 0);
    let mut largest = None;
    for tensor in tensors {
        let (entry, bytes) = (longest_entry(&tensor).map_err(unplanned)?, tensor.byte_len() as u64);
        let size = |header: u64, data: u64| {
            u64::next_multiple_of(header, TENSOR_ALIGNMENT)
                + u64::next_multiple_of(data, TENSOR_ALIGNMENT)
                + bytes
        };
        let fits = groups.last().is_some_and(|group| {
            limits.allow_file(group.len() + 1, header + entry, size(header + entry, data))
        });
        if !fits {
            let what = || format!("a file with the tensor {}", shown(&tensor.name));
            limits.check_header(|| format!("the header of {}", what()), begin + entry)?;
            let alone = size(begin + entry, 0);
            if alone > limits.file_bytes && largest.as_ref().is_none_or(|(_, most)| alone > *most) {
                largest = Some((what(), alone));
            }
            groups.push(Vec::new());
            (header, data) = (begin, 0);
        }
        header += entry;
        data = u64::next_multiple_of(data, TENSOR_ALIGNMENT) + bytes;
        groups.last_mut().into_iter().for_each(|group| group.push(tensor.clone()));
    }
    if let Some((what, needed)) = largest {
        return Err(Error::FileLimit { what, needed, limit: limits.file_bytes });
    }
    let most = limits.shards;
    if groups.len() as u64 > most {
        let whole: u64 = groups.iter().flatten().map(|tensor| tensor.byte_len() as u64).sum();
        let (what, needed) = (format!("each file of a checkpoint of {most}"), whole / most + 1);
        let needed = needed.max(limits.file_bytes.saturating_add(1));
        return Err(Error::FileLimit { what, needed, limit: limits.file_bytes });
    }
    Ok(groups)
}

/// The index: everything but the tensors, and the digests of all shards, whose sizes are given.
fn plan_index(
    path: &Path,
    tensors: &[Tensor],
    shards: &[u64],
    (scalars, mut strings): (BTreeMap<String, Scalar>, BTreeMap<String, String>),
    metadata: &Metadata,
    limits: &Limits,
) -> Result<PlannedFile> {
    strings.insert(SHARDS_KEY.to_owned(), shards.len().to_string());
    let unknown = |size: &u64| ShardInfo::unknown(*size, UNKNOWN_DIGEST);
    let ending = Ending::plan(metadata, tensors, shards.iter().map(unknown).collect(), limits)?;
    let index = PlannedFile::new(path, Vec::new(), &scalars, &strings, Some(ending))?;
    limits.check_header(|| "the checkpoint's header".to_owned(), index.header.len() as u64)?;
    limits.check_file(|| "the index of the checkpoint".to_owned(), index.size)?;
    Ok(index)
}

/// What a shard says of itself.
fn claim(number: usize, count: usize, metadata: &Metadata) -> Result<BTreeMap<String, String>> {
    let claim = ShardOf {
        number,
        count,
        run_id: metadata.run_id.clone(),
        checkpoint_timestamp: metadata.checkpoint_timestamp,
        global_step: metadata.global_step,
        start_timestamp: Some(metadata.start_timestamp),
    };
    let text = serde_json::to_string(&claim)
        .map_err(|error| Error::snapshot("what a shard is cannot be written as JSON", error))?;
    Ok(BTreeMap::from([(SHARD_KEY.to_owned(), text)]))
}

fn unplanned(error: burn_pack::Error) -> Error {
    Error::snapshot("the header of a file cannot be planned", PackError(error))
}
