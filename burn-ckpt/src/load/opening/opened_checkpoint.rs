//! What belongs to a checkpoint's own file: the metadata beside it, and the shards of one of several files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::storage::{self, StoredFile};
use crate::error::{Error, Result};
use crate::file_names::metadata_path;
use crate::format::container::open_file::OpenFile;
use crate::format::header::ContainerHeader;
use crate::format::metadata::Metadata;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::format::metadata::of_checkpoint::own_of_version_2;
use crate::format::shards::Shards;
#[cfg(feature = "mirror")]
use crate::mirror::MirroredMetadata;

/// The parts of an opened checkpoint.
pub(in crate::load) struct OpenedCheckpoint {
    pub(in crate::load) path: PathBuf,
    pub(in crate::load) header: ContainerHeader,
    pub(in crate::load) shards: Vec<Arc<OpenFile>>,
    pub(in crate::load) beside: MetadataBeside,
}

/// The metadata file beside a checkpoint.
#[derive(Debug)]
pub(in crate::load) enum MetadataBeside {
    /// There is none, or reading it reports the error.
    Unknown,
    /// The file.
    Open(StoredFile),
    /// In a mirror.
    #[cfg(feature = "mirror")]
    Mirrored(Box<MirroredMetadata>),
}

impl MetadataBeside {
    /// What the metadata file says, of the checkpoint of this path.
    pub(in crate::load) fn read(&self, checkpoint: &Path) -> Result<Metadata> {
        match self {
            Self::Open(file) => Metadata::of_file(file),
            Self::Unknown => Metadata::read(metadata_path(checkpoint)),
            #[cfg(feature = "mirror")]
            Self::Mirrored(metadata) => metadata.read(),
        }
    }
}

#[cfg(feature = "mirror")]
impl MetadataBeside {
    /// Completes the metadata of a checkpoint's own file where the metadata beside it is lost, and something
    /// else says what it had.
    pub(in crate::load) fn complete(&self, own: Metadata) -> Metadata {
        match self {
            Self::Mirrored(metadata) if own.checkpoint_checksum.is_empty() => metadata.complete(own),
            _ => own,
        }
    }
}

/// Takes a file that ends as one of version 2 does for that: one flipped bit makes a 0 of the 2 in its
/// header, and the digest of the header says so.
pub(in crate::load) fn recognise_version_2(header: &mut ContainerHeader) -> Result<()> {
    if header.format < 2 && EmbeddedMetadata::read(header.file())?.is_some() {
        header.format = 2;
    }
    Ok(())
}

/// Opens the shards of a checkpoint of several files, and adds their tensors to its header. `open_one` opens
/// a shard of a number that is not on disk.
pub(in crate::load) fn open_shards(
    header: &mut ContainerHeader,
    open_one: Option<&dyn Fn(usize) -> Result<OpenFile>>,
) -> Result<Vec<Arc<OpenFile>>> {
    if header.shards == 0 {
        return Ok(Vec::new());
    }
    let (index, count) = (header.file(), header.shards);
    let infos = own_of_version_2(index)?.metadata.shards;
    let opened = match open_one {
        Some(open_one) => Shards::open_by(open_one, index.path(), count, &infos),
        None => Shards::open(index.path(), count, &infos),
    };
    match opened {
        Ok(Shards { files, tensors }) => {
            header.set_tensors(tensors);
            Ok(files)
        }
        // The index is removed, or replaced, before its shards are.
        Err(_) if !index.has_its_name()? => Err(Error::io("open", index.path())(storage::not_found())),
        Err(error) => Err(error),
    }
}
