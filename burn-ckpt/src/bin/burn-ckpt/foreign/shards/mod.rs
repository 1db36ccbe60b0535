//! A model in several files with an index: reading all of them, and telling that a file is one of several.

mod index;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::chain;
use burn_ckpt::plumbing::{shown, storage};

use self::index::ShardIndex;
use super::{FileFormat, Foreign, Notes};

/// How many names a message lists.
const SHOWN: usize = 5;
/// How many indexes beside a file are looked at.
const MAX_INDEXES: usize = 16;

/// The tensors that an index names, read by `read_file` from the files beside it, with the size of all files,
/// and the names of tensors that are in the files and not in the index.
///
/// # Errors
///
/// When the index is invalid, a file is missing or cannot be read, or a file lacks a tensor that the index
/// says it has.
pub fn read(
    index: &Path,
    read_file: impl Fn(FileFormat, &Path) -> Result<Foreign, String>,
) -> Result<(Foreign, u64, Vec<String>), String> {
    let shards = ShardIndex::read(index)?;
    let mut found: BTreeMap<(String, String), Tensor> = BTreeMap::new();
    let (mut notes, mut size) = (None::<Notes>, 0u64);
    for file in shards.files() {
        let (path, name) = (index.with_file_name(file), shown(file));
        let stat = storage::stat(&path).map_err(|error| format!("{name}: {error}"))?;
        let Some(stat) = stat else {
            return Err(format!("it names the file {name}, which is not beside it"));
        };
        let format = FileFormat::of(&path).map_err(|error| chain(&error))?;
        if format == FileFormat::Index {
            return Err(format!("it names the file {name}, which is an index"));
        }
        let foreign = read_file(format, &path).map_err(|reason| format!("{name}: {reason}"))?;
        size = size.saturating_add(stat.len());
        let layout = foreign.notes.layout();
        if notes.as_ref().is_some_and(|notes| notes.layout() != layout) {
            return Err(format!("{name} states another layout than the files before it"));
        }
        notes.get_or_insert(foreign.notes);
        found.extend(
            foreign.tensors.into_iter().map(|tensor| ((tensor.name.clone(), file.to_owned()), tensor)),
        );
    }
    let (mut tensors, mut missing) = (Vec::new(), Vec::new());
    for (name, file) in shards.weight_map {
        match found.remove(&(name.clone(), file.clone())) {
            Some(tensor) => tensors.push(tensor),
            None => missing.push(format!("{} in {}", shown(&name), shown(&file))),
        }
    }
    if !missing.is_empty() {
        return Err(format!("it names tensors that the files lack: {}", listed(missing)));
    }
    let left_out =
        found.into_keys().map(|(name, file)| format!("{} in {}", shown(&name), shown(&file))).collect();
    Ok((Foreign { tensors, notes: notes.unwrap_or_default() }, size, left_out))
}

/// Checks that a file is not one of several that make a model.
///
/// # Errors
///
/// That it is, with the index to import in its place.
pub fn check_is_whole(file: &Path) -> Result<(), String> {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let by_name = part_of(name);
    if let Some(index) = index_beside(file, name)? {
        return Err(format!("it is one of several files of a model: import their index, {index}"));
    }
    match by_name {
        Some((part, parts, index)) => Err(format!(
            "its name says that it is part {part} of {parts} of a model: import their index, which is not beside it \
             (usually {index}), or rename the file if it is complete"
        )),
        None => Ok(()),
    }
}

/// The part, the number of parts and the usual name of the index, if a file's name is that of a part:
/// `model-00001-of-00002.safetensors`.
fn part_of(name: &str) -> Option<(u64, u64, String)> {
    let (stem, extension) = name.rsplit_once('.')?;
    let (rest, parts) = stem.rsplit_once("-of-")?;
    let (model, part) = rest.rsplit_once(['-', '_', '.'])?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let (part, parts): (u64, u64) = (number(part)?, number(parts)?);
    (parts > 1).then(|| (part, parts, format!("{model}.{extension}.index.json")))
}

/// The name of an index beside a file that names the file and others.
fn index_beside(file: &Path, name: &str) -> Result<Option<String>, String> {
    let directory = match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let listed = match storage::list(directory) {
        // Who may not list a directory may read a file in it. The file's name is all there is then.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        listed => listed.map_err(|error| format!("cannot look for an index beside it: {error}"))?,
    };
    let file_name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_index = |path: &PathBuf| file_name(path).is_some_and(|name| name.ends_with(".index.json"));
    let mut indexes = listed.unwrap_or_default().into_iter().filter(is_index).take(MAX_INDEXES);
    Ok(indexes.find_map(|path| {
        // One that is not valid says nothing of this file.
        let index = ShardIndex::read(&path).ok()?;
        let files = index.files();
        (files.len() > 1 && files.contains(name)).then(|| file_name(&path))?
    }))
}

/// The first names of a list.
pub fn listed(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_name() {
        let index = |name| part_of(name).map(|(part, parts, index)| format!("{part}/{parts} {index}"));
        assert_eq!(
            index("model-00001-of-00002.safetensors").as_deref(),
            Some("1/2 model.safetensors.index.json")
        );
        assert_eq!(
            index("pytorch_model-00003-of-00033.bin").as_deref(),
            Some("3/33 pytorch_model.bin.index.json")
        );
        assert_eq!(index("weights_0001-of-0004.pt").as_deref(), Some("1/4 weights.pt.index.json"));
        for whole in
            ["model-00001-of-00001.safetensors", "model.safetensors", "a-of-b.pt", "best-of-2.pt", "-of-.pt"]
        {
            assert_eq!(index(whole), None, "{whole}");
        }
    }
}
