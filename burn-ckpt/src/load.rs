//! Loading: from a checkpoint's path to its hyperparameters, its training state and its sections.
//!
//! Opening reads the header alone, whatever the file's size; [`Checkpoint::verify`] reads it whole and compares
//! it with its metadata.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::store::ModuleRecord;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::container::{ContainerHeader, MODEL};
use crate::digest::{blake3_of_tensor, sha256_of_file};
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::section::Section;

/// A checkpoint that was opened: its header is known, its tensors are still on disk.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    header: ContainerHeader,
}

impl Checkpoint {
    /// Opens a checkpoint or a link to one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read, [`Error::NotACheckpoint`] when it is something else or cut
    /// off, [`Error::NewerFormat`] when a newer version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = path.as_ref().to_path_buf();
        if path.is_symlink() {
            // A link may lead elsewhere by the time that a section is read.
            path = std::fs::canonicalize(&path).map_err(Error::io("follow the link", &path))?;
        }
        let header = ContainerHeader::read(&path)?;
        Ok(Self { path, header })
    }

    /// The file that was opened; where a link was given, the one it pointed to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model's hyperparameters as their own type.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when they do not fit the type.
    pub fn hparams<H: DeserializeOwned>(&self) -> Result<H> {
        self.typed("hyperparameters", &self.header.hparams)
    }

    /// The training loop's state as its own type.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] when it does not fit the type.
    pub fn trainer_state<S: DeserializeOwned>(&self) -> Result<S> {
        self.typed("trainer states", &self.header.trainer_state)
    }

    /// The names of the sections.
    #[must_use]
    pub fn sections(&self) -> &[String] {
        &self.header.sections
    }

    /// Whether there is a section of that name.
    #[must_use]
    pub fn has_section(&self, name: &str) -> bool {
        self.header.sections.iter().any(|section| section == name)
    }

    /// One section, its tensors still on disk.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSection`] when the checkpoint has none of that name.
    pub fn section(&self, name: &str) -> Result<Section> {
        ContainerHeader::read(&self.path)?.into_section(&self.path, name)
    }

    /// The metadata beside the checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is none, [`Error::Metadata`] when it cannot be understood.
    pub fn metadata(&self) -> Result<Metadata> {
        Metadata::of_checkpoint(&self.path)
    }

    /// Reads the whole file and compares size and SHA-256 with the metadata.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verify`].
    pub fn verify_checksum(&self) -> Result<Metadata> {
        verify_file(&self.path)
    }

    /// Reads the whole file and compares size, SHA-256 and every tensor's BLAKE3 with the metadata.
    ///
    /// A checkpoint without metadata does not pass: without a digest nothing is verified.
    ///
    /// # Errors
    ///
    /// [`Error::Checksum`] naming what disagrees; [`Error::Io`] or [`Error::Metadata`] when there is nothing to
    /// compare with.
    pub fn verify(&self) -> Result<Metadata> {
        let metadata = verify_file(&self.path)?;
        let mismatch =
            |expected: String, found: String| Error::Checksum { path: self.path.clone(), expected, found };
        let tensors = ContainerHeader::read(&self.path)?.into_tensors(&self.path)?;
        if tensors.len() != metadata.tensors.len() {
            let (expected, found) = (metadata.tensors.len(), tensors.len());
            return Err(mismatch(format!("{expected} tensors"), format!("{found} tensors")));
        }
        for tensor in tensors {
            let Some(info) = metadata.tensors.get(&tensor.name) else {
                return Err(mismatch("other tensors".to_owned(), format!("a tensor {}", tensor.name)));
            };
            let name = tensor.name.clone();
            let bytes = tensor.into_bytes().map_err(Error::container(&self.path))?;
            let found = blake3_of_tensor(&bytes);
            if found != info.blake3 {
                return Err(mismatch(
                    format!("blake3:{} for {name}", info.blake3),
                    format!("blake3:{found}"),
                ));
            }
        }
        Ok(metadata)
    }

    /// The model's section as burn's own record, for `module.try_load_record(..)`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSection`] or [`Error::Container`].
    pub fn model_record(&self) -> Result<ModuleRecord> {
        let bytes = self.section(MODEL)?.into_burnpack()?;
        ModuleRecord::from_bytes(bytes).map_err(|error| Error::Snapshot(error.to_string()))
    }

    /// Loads the model's section into a module that has the same parameters.
    ///
    /// ```no_run
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::Device;
    /// # use burn_ckpt::Checkpoint;
    /// # fn main() -> burn_ckpt::Result<()> {
    /// let checkpoint = Checkpoint::open("runs/a/checkpoint/best_val_loss.ckpt")?;
    /// let model: Linear = checkpoint.load_into(LinearConfig::new(4, 2).init(&Device::default()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] listing the tensors that are missing, unused or of another shape.
    pub fn load_into<M: Module>(&self, module: M) -> Result<M> {
        self.check_fits(&module)?;
        module.try_load_record(self.model_record()?).map_err(|error| self.mismatch(error.to_string()))
    }

    /// Compares the model's section with a module's parameters, by name and shape, without reading a tensor.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::load_into`].
    pub fn check_fits<M: Module>(&self, module: &M) -> Result<()> {
        let (stored, wanted) = (self.section(MODEL)?, Section::from_module(module));
        let stored: std::collections::BTreeMap<_, _> = stored.shapes().collect();
        let wanted: std::collections::BTreeMap<_, _> = wanted.shapes().collect();
        let mut reasons = Vec::new();
        for (name, shape) in &wanted {
            match stored.get(name) {
                None => reasons.push(format!("{name} {shape:?} is missing in the checkpoint")),
                Some(there) if there != shape => {
                    reasons.push(format!("{name} is {there:?} in the checkpoint and {shape:?} in the model"));
                }
                Some(_) => {}
            }
        }
        for name in stored.keys().filter(|name| !wanted.contains_key(*name)) {
            reasons.push(format!("{name} is in the checkpoint and not in the model"));
        }
        if reasons.is_empty() { Ok(()) } else { Err(self.mismatch(shortened(reasons))) }
    }

    fn mismatch(&self, reason: String) -> Error {
        Error::Mismatch { path: self.path.clone(), reason }
    }

    fn typed<T: DeserializeOwned>(&self, what: &'static str, value: &Value) -> Result<T> {
        T::deserialize(value).map_err(|source| Error::Json { path: self.path.clone(), what, source })
    }
}

/// Compares a file's size and SHA-256 with its metadata, and returns the metadata.
pub(crate) fn verify_file(path: &Path) -> Result<Metadata> {
    let metadata = Metadata::of_checkpoint(path)?;
    check_size(path, &metadata)?;
    let found = sha256_of_file(path)?;
    if found != metadata.checkpoint_checksum {
        let expected = metadata.checkpoint_checksum;
        return Err(Error::Checksum { path: path.to_path_buf(), expected, found });
    }
    Ok(metadata)
}

/// Compares a file's size with its metadata: the quick half of a verification.
pub(crate) fn check_size(path: &Path, metadata: &Metadata) -> Result<()> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size != metadata.checkpoint_size_bytes {
        let expected = format!("{} bytes", metadata.checkpoint_size_bytes);
        return Err(Error::Checksum { path: path.to_path_buf(), expected, found: format!("{size} bytes") });
    }
    Ok(())
}

/// A wrong model can disagree in every tensor; the first few say it all.
fn shortened(mut reasons: Vec<String>) -> String {
    const SHOWN: usize = 8;
    let more = reasons.len().saturating_sub(SHOWN);
    reasons.truncate(SHOWN);
    let mut text = reasons.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
