//! An opened checkpoint: its hyperparameters, its training state and its sections.
//!
//! Opening reads only the header, whatever the file's size, and those of the shards of a checkpoint of
//! several files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::store::ModuleRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::addresses::mirror_address;
use crate::disk::storage;
use crate::error::kind::ErrorKind;
use crate::error::{Error, Result};
use crate::file_names::metadata_path;
use crate::format::container::open_file::OpenFile;
use crate::format::header::ContainerHeader;
use crate::format::metadata::embedded::EmbeddedMetadata;
use crate::format::metadata::of_checkpoint::{of_version_2, own_of_version_2};
use crate::format::metadata::{Metadata, check_size};
use crate::format::section::{Section, TensorLayout};
use crate::hparams::typed::typed;
use crate::load::apply_weights;
use crate::load::checked_tensors::{check_hparams, verified};
use crate::load::match_tensors::{Matches, match_tensors};
use crate::load::opening::address::open_address;
#[cfg(feature = "mirror")]
use crate::load::opening::address::open_files;
use crate::load::opening::opened_checkpoint::{
    MetadataBeside, OpenedCheckpoint, open_shards, recognise_version_2,
};
use crate::load::opening::repeat::open_found;
use crate::load::options::LoadOptions;
use crate::load::report::LoadReport;
use crate::run_dir::locate::locate;

/// An opened checkpoint: its header is in memory, its tensors are still on disk. It holds the open file: what
/// it reads is the state that was opened, also after the file was deleted or replaced.
///
/// ```no_run
/// # fn main() -> burn_ckpt::Result<()> {
/// let checkpoint = burn_ckpt::Checkpoint::open("runs/a/best")?;
/// checkpoint.verify()?;
/// let metadata = checkpoint.metadata()?;
/// println!("step {}: {:?}", metadata.global_step, metadata.metrics);
/// # Ok(()) }
/// ```
///
/// [`Checkpoint::load_into_with`] has an example that loads a model.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    /// It holds the open file, so that the state that was opened can be read whatever becomes of the file's
    /// name.
    pub(crate) header: ContainerHeader,
    /// The shards of a checkpoint of several files.
    pub(crate) shards: Vec<Arc<OpenFile>>,
    /// The metadata file beside it, if there was one.
    beside: MetadataBeside,
}

impl Checkpoint {
    /// Opens a checkpoint: a file, a link to one, or `best` or `last` in a run's directory, as [`locate`]
    /// finds it. With the feature `mirror` also one in a mirror, `s3://bucket/prefix/run/best`, of which only
    /// what is needed is read, by ranges.
    ///
    /// # Errors
    ///
    /// Those of [`locate`]; [`Error::Io`] when the file cannot be read, [`Error::NotACheckpoint`] when it is
    /// another kind of file, [`Error::Damaged`] when its header is cut off or invalid, or one of several
    /// files is missing, [`Error::NewerFormat`] when a newer version wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), true)
    }

    /// The same without the shards of a checkpoint of several files: for its hyperparameters and its training
    /// state.
    pub(crate) fn open_index(path: &Path) -> Result<Self> {
        Self::open_with(path, false)
    }

    fn open_with(path: &Path, with_shards: bool) -> Result<Self> {
        if let Some(address) = mirror_address(path) {
            let OpenedCheckpoint { path, header, shards, beside } = open_address(address, with_shards)?;
            return Ok(Self { path, header, shards, beside });
        }
        // A link that a run replaces at this moment can lead to nothing.
        let find = || match locate(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => locate(path),
            located => located,
        };
        open_found(find, |located| Self::open_located(located, with_shards))
    }

    fn open_located(located: PathBuf, with_shards: bool) -> Result<Self> {
        // A link may lead to another file by the time that something is read.
        let path = match storage::read_link(&located).map_err(Error::io("open", &located))? {
            None => located,
            Some(_) => {
                match storage::canonicalize(&located).map_err(Error::io("follow the link", &located))? {
                    Some(path) => path,
                    None => return Err(Error::io("follow the link", &located)(storage::not_found())),
                }
            }
        };
        let mut header = ContainerHeader::of(OpenFile::open(&path)?)?;
        let beside = match Metadata::open(&metadata_path(&path)) {
            Ok(beside) => MetadataBeside::Open(beside),
            // It was deleted between the two.
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound
                    && header.format < 2
                    && storage::stat(&path).is_ok_and(|now| now.is_none()) =>
            {
                return Err(Error::io("open", &path)(source));
            }
            Err(_) => MetadataBeside::Unknown,
        };
        recognise_version_2(&mut header)?;
        let shards = if with_shards { open_shards(&mut header, None)? } else { Vec::new() };
        Ok(Self { header, shards, beside, path })
    }

    /// Opens a checkpoint in a mirror, by a name as
    /// [`MirroredRun::find`](crate::mirror::MirroredRun::find) takes it.
    #[cfg(feature = "mirror")]
    #[doc(hidden)]
    pub fn open_in(store: &crate::mirror::Store, run_id: &str, name: &str) -> Result<Self> {
        let files = crate::mirror::CheckpointFiles::find_in(store, run_id, name)?;
        let OpenedCheckpoint { path, header, shards, beside } = open_files(files, true)?;
        Ok(Self { path, header, shards, beside })
    }

    /// The file that was opened. For a link, the file that it pointed to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint's files: its `.ckpt` file, and its shards.
    #[doc(hidden)]
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let shards = self.shards.iter().map(|file| file.path());
        std::iter::once(self.header.file().path()).chain(shards).collect()
    }

    /// The size of these files in bytes.
    #[doc(hidden)]
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.shards.iter().map(|file| file.size()).fold(self.header.file().size(), u64::saturating_add)
    }

    /// The model's hyperparameters as the type `H`.
    ///
    /// # Errors
    ///
    /// [`Error::Hparams`] naming the field when they do not fit the type: a field of the file is unknown to
    /// the type, a field of the type is missing in the file, or a value has another type.
    pub fn hparams<H: Serialize + DeserializeOwned>(&self) -> Result<H> {
        typed(&self.path, &self.header.hparams)
    }

    /// The training loop's state as the type `S`.
    ///
    /// # Errors
    ///
    /// [`Error::TrainerState`] when it does not fit the type.
    pub fn trainer_state<S: DeserializeOwned>(&self) -> Result<S> {
        S::deserialize(&self.header.trainer_state)
            .map_err(|source| Error::TrainerState { path: self.path.clone(), source })
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

    /// One section. Its tensors stay on disk until they are read.
    ///
    /// # Errors
    ///
    /// [`Error::MissingSection`] when the checkpoint has no section of that name; [`Error::Damaged`] when the
    /// position of a tensor in the file is invalid.
    pub fn section(&self, name: &str) -> Result<Section> {
        self.header.section(name)
    }

    /// One section. Its tensors stay on disk until they are read, and are then compared with their digests in
    /// the metadata.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::section`]; [`Error::Unverifiable`] without valid metadata, [`Error::Checksum`]
    /// when the metadata describes another file. Reading a tensor that has other bytes fails.
    pub fn verified_section(&self, name: &str) -> Result<Section> {
        self.section_verified_by(name, &self.checked_metadata()?)
    }

    /// The same, with metadata that a verification has returned. For burn-trainer.
    #[doc(hidden)]
    pub fn section_verified_by(&self, name: &str, metadata: &Metadata) -> Result<Section> {
        let mut section = self.section(name)?;
        section.tensors = verified(&self.path, name, section.tensors, metadata, &section.read_errors)?;
        Ok(section)
    }

    /// The checkpoint's metadata: see [`Metadata::of_checkpoint`].
    ///
    /// # Errors
    ///
    /// Of a file of version 2, [`Error::Checksum`] or [`Error::Damaged`] when its end or its header has other
    /// bytes than were written. Of version 1, [`Error::Io`] when the metadata file is missing,
    /// [`Error::Metadata`] when it is invalid.
    pub fn metadata(&self) -> Result<Metadata> {
        match self.has_own_metadata() {
            true => self.own_metadata().map(|(metadata, _)| metadata),
            false => self.metadata_beside(),
        }
    }

    /// The same with the SHA-256 of the file. Where it is not known, it is computed from the open file.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::metadata`], and [`Error::Io`] when the file cannot be read.
    #[doc(hidden)]
    pub fn metadata_with_checksum(&self) -> Result<Metadata> {
        let mut metadata = self.metadata()?;
        metadata.fill_in_checksum_of(self.header.file(), &|_| Ok(()))?;
        Ok(metadata)
    }

    /// Whether the file has its metadata itself, as of version 2.
    pub(crate) fn has_own_metadata(&self) -> bool {
        self.header.format >= 2
    }

    /// The metadata of a file of version 2, and what the file has at its end.
    pub(crate) fn own_metadata(&self) -> Result<(Metadata, EmbeddedMetadata)> {
        let own = of_version_2(self.header.file(), &self.header.trainer_state, self.metadata_beside());
        #[cfg(feature = "mirror")]
        let own = own.map(|(metadata, own)| (self.beside.complete(metadata), own));
        own
    }

    /// What the metadata file says that was beside the checkpoint when it was opened.
    fn metadata_beside(&self) -> Result<Metadata> {
        self.beside.read(&self.path)
    }

    /// The model's section as burn's own record, for `module.try_load_record(..)`. Verifies each tensor as it
    /// is read.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::verified_section`]; [`Error::Section`] when a tensor cannot be read, burn does
    /// not accept the record, or the tensors have another layout than burn's, as those that were imported
    /// from PyTorch: [`Checkpoint::load_into`] loads these.
    pub fn model_record(&self) -> Result<ModuleRecord> {
        let section = self.verified_section(Section::MODEL)?;
        let layout = section.layout()?;
        if layout != TensorLayout::Burn {
            let layout = layout.name();
            let reason = format!("its tensors have the layout {layout}: Checkpoint::load_into loads them");
            return Err(Error::Section { reason, source: None });
        }
        let bytes = section.into_burnpack()?;
        ModuleRecord::from_bytes(bytes).map_err(|error| Error::Section {
            reason: "burn does not accept it as a record".to_owned(),
            source: Some(Box::new(error)),
        })
    }

    /// Loads the model's section into a module that has the same parameters. Verifies each tensor as it is
    /// read.
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
    /// As for [`Checkpoint::load_into_with`].
    pub fn load_into<M: Module>(&self, module: M) -> Result<M> {
        self.load_into_with(module, &LoadOptions::default()).map(|(module, _)| module)
    }

    /// Loads the model's section, or that of a part, into a module as the options say. The report says which
    /// tensors were loaded.
    ///
    /// Reads only the tensors that the module takes, on up to 4 threads, and holds up to 256 MB of them in
    /// memory before they are in the module. The file can be removed when this returns.
    ///
    /// ```
    /// use burn_ckpt::{Checkpoint, LoadOptions};
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::Device;
    /// # use burn_ckpt::{Contents, Metadata, Section};
    /// # let device = Device::default();
    /// # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-into-{}", std::process::id()));
    /// # let path = directory.join("a.ckpt");
    /// # let saved: Linear = LinearConfig::new(4, 2).init(&device);
    /// # Contents::new(&())?
    /// #     .with_section("model", Section::from_module(&saved))
    /// #     .save(&path, Metadata::new(jiff::Timestamp::now()))?;
    ///
    /// // A layer without bias takes the weight alone.
    /// let layer: Linear = LinearConfig::new(4, 2).with_bias(false).init(&device);
    /// let options = LoadOptions::new().with_allow_unused(true);
    /// let (layer, report) = Checkpoint::open(&path)?.load_into_with(layer, &options)?;
    /// assert_eq!(report.to_string(), "loaded 1 (verified), missing 0, unused 1, mismatched 0\n\
    ///     bias [2] is in the checkpoint and not in the model");
    /// # assert_eq!(layer.weight.val().into_data(), saved.weight.val().into_data());
    /// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
    /// # Ok::<(), burn_ckpt::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] listing the tensors that are missing, unused, or of another shape or kind, unless
    /// the options allow that, or of several float types where the module's parameters have one, before any
    /// tensor is read; [`Error::Checksum`] naming a tensor whose bytes are not those that were written;
    /// [`Error::Load`] naming a tensor that cannot be read; [`Error::Unverifiable`] without valid metadata.
    pub fn load_into_with<M: Module>(&self, module: M, options: &LoadOptions) -> Result<(M, LoadReport)> {
        let metadata = match options.verify {
            true => Some(self.checked_metadata()?),
            false => None,
        };
        let section = self.section(&options.section())?;
        apply_weights::load(&self.path, section, module, options, metadata.as_ref())
    }

    /// Compares the model's section with a module's parameters, by name and shape, without reading a tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] listing the tensors that are missing, unused or of another shape.
    pub fn check_fits<M: Module>(&self, module: &M) -> Result<()> {
        let options = LoadOptions::default();
        let Matches { report, .. } =
            match_tensors(&self.path, self.section(Section::MODEL)?, module, &options)?;
        report.check(&self.path, &options)
    }

    /// The metadata. An error if the file's size or hyperparameters are not those that it states.
    fn checked_metadata(&self) -> Result<Metadata> {
        if self.has_own_metadata() {
            // All that is needed is in the file. That beside it is not read: it takes as long as a small
            // model.
            let own = own_of_version_2(self.header.file())?;
            check_hparams(&self.path, &self.header.hparams, &own.metadata)?;
            own.checked_header(self.header.file())?;
            return Ok(own.metadata);
        }
        let unverifiable = |source| Error::Unverifiable { path: self.path.clone(), source: Box::new(source) };
        let metadata = self.metadata().map_err(unverifiable)?;
        check_size(self.header.file(), &metadata)?;
        check_hparams(&self.path, &self.header.hparams, &metadata)?;
        Ok(metadata)
    }

    /// The hyperparameters as JSON.
    pub(crate) fn raw_hparams(&self) -> &Value {
        &self.header.hparams
    }
}
