//! A checkpoint on disk that is sent: its files, each open, and their digests, which are computed while they
//! are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::disk::directories::real_path;
use crate::error::{Error, Result};
use crate::file_names::{METADATA_SUFFIX, shard_name, shards_directory};
use crate::format::container::open_file::OpenFile;
use crate::format::digest::checksum;
use crate::format::header::ContainerHeader;
use crate::format::metadata::Metadata;
use crate::format::shards::Shards;
use crate::metrics_log::LogMark;
use crate::mirror::commit_object::MirroredCheckpoint;
use crate::mirror::digests::Digests;
use crate::mirror::store::Progress;
use crate::run_dir::locate::locate;

/// A file that is to be sent.
pub(crate) struct LocalFile {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) content: Content,
}

/// Where the bytes of a file are.
pub(crate) enum Content {
    File(Arc<OpenFile>),
    Text(Vec<u8>),
}

/// A checkpoint on disk, open: what is sent is the state that was opened, also after its name was deleted.
pub(crate) struct LocalCheckpoint {
    pub(crate) path: PathBuf,
    header: ContainerHeader,
    metadata: Metadata,
    shards: Vec<Arc<OpenFile>>,
}

impl LocalCheckpoint {
    pub(crate) fn open(checkpoint: &Path) -> Result<Self> {
        let path = real_path(&locate(checkpoint)?)?;
        let header = ContainerHeader::of(OpenFile::open(&path)?)?;
        let metadata = Metadata::of_checkpoint(&path)?;
        let shards = match header.shards {
            0 => Vec::new(),
            count => Shards::open(&path, count, &metadata.shards)?.files,
        };
        Ok(Self { path, header, metadata, shards })
    }

    /// How much of the run's log of metrics the checkpoint counts.
    pub(crate) fn log_mark(&self) -> Option<LogMark> {
        let mark = self.header.trainer_state.get("metrics_log")?;
        serde_json::from_value(mark.clone()).ok().filter(|mark: &LogMark| mark.bytes > 0)
    }

    /// The files in the order in which they are sent, and the commit object without them. `progress` gets the
    /// number of bytes that were just read, where a digest is not known.
    pub(crate) fn files(
        &self,
        run_id: &str,
        name: &str,
        progress: Progress<'_>,
    ) -> Result<(Vec<LocalFile>, MirroredCheckpoint)> {
        let mut metadata = self.metadata.clone();
        metadata.fill_in_checksum_of(self.header.file(), progress)?;
        let directory = shards_directory(Path::new(name)).to_string_lossy().into_owned();
        let count = self.shards.len();
        let mut files = Vec::with_capacity(count + 2);
        for (number, (file, info)) in (1..).zip(self.shards.iter().zip(&metadata.shards)) {
            let name = format!("{directory}/{}", shard_name(number, count));
            files.push(LocalFile {
                name,
                sha256: info.checksum.clone(),
                content: Content::File(Arc::clone(file)),
            });
        }
        let own = self.header.shared_file();
        let sha256 = metadata.checkpoint_checksum.clone();
        files.push(LocalFile { name: name.to_owned(), sha256, content: Content::File(own) });
        let text = metadata.to_json()?.into_bytes();
        let sha256 = checksum(Sha256::new_with_prefix(&text));
        files.push(LocalFile {
            name: format!("{name}{METADATA_SUFFIX}"),
            sha256,
            content: Content::Text(text),
        });
        Ok((files, MirroredCheckpoint::new(run_id, name, &metadata)))
    }
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
            Self::Text(text) => text.len() as u64,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File(file) => file.path().to_path_buf(),
            Self::Text(_) => PathBuf::from("metadata"),
        }
    }

    pub(crate) fn read(&self, piece: &mut [u8], position: u64) -> Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(piece, position).map_err(Error::io("read", file.path())),
            Self::Text(text) => {
                let start = position as usize;
                piece.copy_from_slice(&text[start..start + piece.len()]);
                Ok(())
            }
        }
    }

    /// For the digests of content that is there. `reads` is called after each piece.
    pub(crate) fn read_whole(
        &self,
        digests: &mut Digests,
        reads: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        const PIECE_BYTES: u64 = 1024 * 1024;
        let size = self.size();
        for start in (0..size).step_by(PIECE_BYTES as usize) {
            let mut piece = vec![0; PIECE_BYTES.min(size - start) as usize];
            self.read(&mut piece, start)?;
            digests.update(&piece);
            reads()?;
        }
        Ok(())
    }
}
