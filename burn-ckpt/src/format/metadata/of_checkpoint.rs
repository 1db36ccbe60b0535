//! The metadata of a checkpoint: that in the file itself, completed by the file beside it if that one
//! describes the same state.
//!
//! A file of version 1 has none. Its metadata is the file beside it.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde_json::Value;

use crate::addresses::mirror_address;
use crate::disk::directories::real_path_if_there;
use crate::disk::storage;
use crate::error::chain::chain;
use crate::error::{Error, Result};
use crate::file_names::metadata_path;
use crate::format::container::open_file::OpenFile;
use crate::format::digest::sha256_of_file;
use crate::format::header::ContainerHeader;
use crate::format::metadata::Metadata;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::format::metadata::listed::MetadataParts;

impl Metadata {
    /// Reads the metadata of a checkpoint, or of the one that a link leads to.
    ///
    /// A file of version 2 has its metadata itself. Of the file beside it, only the path, the reason and the
    /// SHA-256 are used, if it describes the same state. Otherwise a warning is logged, the path and the
    /// reason follow from the checkpoint, and `checkpoint_checksum` is empty:
    /// [`Checkpoint::verify`](crate::Checkpoint::verify) computes it.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] when the file beside a checkpoint of version 1 is too large or invalid,
    /// [`Error::Io`] when it cannot be read or is missing; the error of the checkpoint's own metadata if
    /// neither can be read; [`Error::NotACheckpoint`] for a pipe or a directory.
    pub fn of_checkpoint(checkpoint: impl AsRef<Path>) -> Result<Self> {
        Self::parts_of_checkpoint(checkpoint.as_ref(), MetadataParts::All)
    }

    /// The same without its environment, model and starts, for lists: it takes half of the time.
    ///
    /// # Errors
    ///
    /// As for [`Metadata::of_checkpoint`].
    #[doc(hidden)]
    pub fn listed_of_checkpoint(checkpoint: impl AsRef<Path>) -> Result<Self> {
        Self::parts_of_checkpoint(checkpoint.as_ref(), MetadataParts::Listed)
    }

    pub(crate) fn parts_of_checkpoint(checkpoint: &Path, parts: MetadataParts) -> Result<Self> {
        // Also of a link: no reader depends on the link to the metadata beside it.
        let real = match storage::read_link(checkpoint).map_err(Error::io("read the link", checkpoint))? {
            Some(_) => storage::canonicalize(checkpoint).map_err(Error::io("follow the link", checkpoint))?,
            None => None,
        };
        let checkpoint = real.as_deref().unwrap_or(checkpoint);
        let beside = Self::read_parts(&metadata_path(checkpoint), parts);
        let own = OpenFile::open(checkpoint)
            .and_then(|file| Ok(EmbeddedMetadata::read_parts(&file, parts)?.map(|own| (own, file))));
        match (own, beside) {
            (Ok(Some((own, file))), Ok(beside)) if describes(&beside, &own.metadata) => {
                drop(file);
                Ok(with_beside(own.metadata, beside))
            }
            (Ok(Some((own, file))), beside) => {
                let trainer_state = ContainerHeader::of(file)?.trainer_state;
                completed(checkpoint, &trainer_state, own.metadata, beside)
            }
            // What the file itself is says more than that one is missing beside it.
            (Ok(None), Err(missing)) if is_missing(&missing) => {
                Err(match ContainerHeader::read(checkpoint) {
                    Err(
                        error @ (Error::Checksum { .. }
                        | Error::Damaged { .. }
                        | Error::NotACheckpoint { .. }),
                    ) => error,
                    _ => missing,
                })
            }
            (Ok(None), beside) | (Err(_), beside @ Ok(_)) => beside,
            (
                Err(error @ (Error::Checksum { .. } | Error::Damaged { .. } | Error::NotACheckpoint { .. })),
                Err(_),
            ) => Err(error),
            (Err(error @ Error::Io { .. }), Err(_)) if !is_missing(&error) => Err(error),
            (Err(_), beside) => beside,
        }
    }

    /// Computes the SHA-256 of the checkpoint's file if it is not known: the file beside it, which has it, is
    /// lost or describes another state.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read.
    #[doc(hidden)]
    pub fn fill_in_checksum(&mut self, checkpoint: &Path) -> Result<()> {
        if self.checkpoint_checksum.is_empty() {
            self.checkpoint_checksum = sha256_of_file(checkpoint)?;
        }
        Ok(())
    }

    /// The same through an open file, which need not be on disk, or has lost its name. `progress` gets the
    /// number of bytes that have just been hashed; its error ends the work.
    ///
    /// # Errors
    ///
    /// As for [`Metadata::fill_in_checksum`].
    pub(crate) fn fill_in_checksum_of(
        &mut self,
        file: &OpenFile,
        progress: &dyn Fn(u64) -> io::Result<()>,
    ) -> Result<()> {
        if self.checkpoint_checksum.is_empty() {
            self.checkpoint_checksum = file.sha256(progress)?;
        }
        Ok(())
    }
}

/// What a file of version 2 has at its end, where it must have it.
///
/// # Errors
///
/// Those of [`EmbeddedMetadata`], and [`Error::Damaged`] for a file that is cut off.
pub(crate) fn own_of_version_2(file: &OpenFile) -> Result<EmbeddedMetadata> {
    EmbeddedMetadata::read(file)?.ok_or_else(|| {
        let reason = "it does not end in the seal of its metadata: it is cut off, or was written to";
        Error::damaged(file.path(), reason, None)
    })
}

/// The metadata of a file of version 2, completed by the file beside it, and what it has at its end.
///
/// # Errors
///
/// As for [`own_of_version_2`].
pub(crate) fn of_version_2(
    file: &OpenFile,
    trainer_state: &Value,
    beside: Result<Metadata>,
) -> Result<(Metadata, EmbeddedMetadata)> {
    let own = own_of_version_2(file)?;
    let metadata = completed(file.path(), trainer_state, own.metadata.clone(), beside)?;
    Ok((metadata, own))
}

/// Fills in what follows from the name: by the file beside, or by the checkpoint alone.
fn completed(
    checkpoint: &Path,
    trainer_state: &Value,
    own: Metadata,
    beside: Result<Metadata>,
) -> Result<Metadata> {
    match beside {
        Ok(beside) if describes(&beside, &own) => return Ok(with_beside(own, beside)),
        Ok(_) => {
            let beside = metadata_path(checkpoint);
            warn_once(checkpoint, &format!("the metadata file {} describes another state", beside.display()));
        }
        Err(error) if is_missing(&error) => {}
        Err(error) => warn_once(checkpoint, &chain(&error)),
    }
    alone(checkpoint, trainer_state, own)
}

fn with_beside(own: Metadata, beside: Metadata) -> Metadata {
    let Metadata { checkpoint_path, reason, checkpoint_checksum, .. } = beside;
    Metadata { checkpoint_path, reason, checkpoint_checksum, ..own }
}

/// The metadata of a checkpoint without the file beside it.
pub(crate) fn alone(checkpoint: &Path, trainer_state: &Value, own: Metadata) -> Result<Metadata> {
    let file = real_path_if_there(checkpoint)?.unwrap_or_else(|| checkpoint.to_path_buf());
    let checkpoint_path = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reason = reason_of_name(&file, trainer_state);
    let reason = reason.unwrap_or_else(|| own.reason.clone());
    Ok(Metadata { checkpoint_path, reason, checkpoint_checksum: String::new(), ..own })
}

/// Why a state of several names was saved under this one, as the trainer's state says it.
fn reason_of_name(file: &Path, trainer_state: &Value) -> Option<String> {
    let saved_for = trainer_state.get("saved_for")?.as_object()?;
    let is_this = |place: &&Value| place.as_str().is_some_and(|place| file.ends_with(place));
    let (strategy, _) = saved_for.iter().find(|(_, place)| is_this(place))?;
    Some(trainer_state.get("reasons")?.get(strategy)?.as_str()?.to_owned())
}

fn describes(beside: &Metadata, own: &Metadata) -> bool {
    let identity = |of: &Metadata| {
        (of.checkpoint_size_bytes, of.epoch, of.global_step, of.checkpoint_timestamp, of.run_id.clone())
    };
    identity(beside) == identity(own)
        && beside.shards == own.shards
        && beside.tensors == own.tensors
        && beside.hparams == own.hparams
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn warn_once(checkpoint: &Path, what: &str) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SAID.lock().insert(metadata_path(checkpoint)) {
        match mirror_address(checkpoint) {
            Some(_) => log::warn!("{what}. The metadata in the checkpoint's own file is used"),
            None => {
                let checkpoint = checkpoint.display();
                log::warn!("{what}. It is not used: `burn-ckpt describe {checkpoint} --force` rewrites it");
            }
        }
    }
}
