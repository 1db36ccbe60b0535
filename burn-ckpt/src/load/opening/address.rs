//! A checkpoint that is named by an address in place of a path (`s3://bucket/prefix/run/best`): opened
//! without a copy of it on disk. Its header and the tensors that are asked for are read by ranges.

use crate::error::Result;
use crate::load::opening::opened_checkpoint::OpenedCheckpoint;

/// Opens a checkpoint by its address.
///
/// # Errors
///
/// `Error::Name` for an invalid address, and without the feature `mirror`; `Error::NotFound` when there is no
/// such checkpoint; `Error::Mirror`; those of opening a file.
#[cfg(feature = "mirror")]
pub(in crate::load) fn open_address(address: &str, with_shards: bool) -> Result<OpenedCheckpoint> {
    let address = address.parse()?;
    let find = || crate::mirror::CheckpointFiles::find(&address);
    crate::load::opening::repeat::open_found(find, |files| open_files(files, with_shards))
}

/// Opens a checkpoint by its files in a mirror.
#[cfg(feature = "mirror")]
pub(in crate::load) fn open_files(
    files: crate::mirror::CheckpointFiles,
    with_shards: bool,
) -> Result<OpenedCheckpoint> {
    use std::path::Path;

    use crate::file_names::{METADATA_SUFFIX, shard_name, shards_directory};
    use crate::format::header::ContainerHeader;
    use crate::load::opening::opened_checkpoint::{MetadataBeside, open_shards, recognise_version_2};
    use crate::mirror::MirroredMetadata;

    let name = files.checkpoint().name.clone();
    let mut header = ContainerHeader::of(files.open(&name)?)?;
    recognise_version_2(&mut header)?;
    let directory = shards_directory(Path::new(&name)).to_string_lossy().into_owned();
    let count = header.shards;
    let open_one = |number| files.open(&format!("{directory}/{}", shard_name(number, count)));
    let shards = if with_shards { open_shards(&mut header, Some(&open_one))? } else { Vec::new() };
    let path = files.path(&name);
    let metadata = MirroredMetadata::new(files, format!("{name}{METADATA_SUFFIX}"));
    Ok(OpenedCheckpoint { path, header, shards, beside: MetadataBeside::Mirrored(Box::new(metadata)) })
}

#[cfg(not(feature = "mirror"))]
pub(in crate::load) fn open_address(address: &str, _with_shards: bool) -> Result<OpenedCheckpoint> {
    let name = address.split("://").next().unwrap_or_default().to_owned() + "://..";
    let reason = "it is in a mirror: build the program with the feature `mirror` of burn-ckpt".to_owned();
    Err(crate::Error::Name { what: "the checkpoint's path", name, reason })
}
