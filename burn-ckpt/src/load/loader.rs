//! A trained model in one line: built from the hyperparameters in a checkpoint, with the weights in it.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::hparams::typed::typed;
use crate::load::checkpoint::Checkpoint;
use crate::load::options::LoadOptions;
use crate::load::report::LoadReport;

/// A module that can be built from the hyperparameters in its checkpoints.
///
/// A path is a checkpoint's file, a link to one, or `best`, `last` or a link's name in a run's directory
/// (`runs/a/best`); see [`locate`](crate::locate).
///
/// # Example
///
/// ```
/// use burn::config::Config;
/// use burn::module::Module;
/// use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
/// use burn::tensor::Device;
/// use burn_ckpt::FromCheckpoint;
/// # use burn_ckpt::{Contents, Metadata, Section};
///
/// #[derive(Config, Debug)]
/// pub struct MyConfig {
///     pub width: usize,
///     #[config(default = 0.5)]
///     pub dropout: f64,
/// }
///
/// #[derive(Module, Debug)]
/// pub struct MyModel {
///     hidden: Linear,
///     dropout: Dropout,
/// }
///
/// impl FromCheckpoint for MyModel {
///     type Hparams = MyConfig;
///
///     fn from_hparams(hparams: &MyConfig, device: &Device) -> Self {
///         Self {
///             hidden: LinearConfig::new(4, hparams.width).init(device),
///             dropout: DropoutConfig::new(hparams.dropout).init(),
///         }
///     }
/// }
///
/// # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-from-{}", std::process::id()));
/// # let path = directory.join("runs/a/checkpoint/best_val_loss.ckpt");
/// # let device = Device::default();
/// # let config = MyConfig::new(8);
/// # let trained = MyModel::from_hparams(&config, &device);
/// # Contents::new(&config)?
/// #     .with_section("model", Section::from_module(&trained))
/// #     .save(&path, Metadata::new(jiff::Timestamp::now()))?;
/// // With the hyperparameters of its training.
/// let model = MyModel::from_checkpoint(&path, &device)?;
/// // With some of them changed.
/// let model = MyModel::from_checkpoint_with(&path, &device, |h| h.with_dropout(0.0))?;
/// # assert_eq!(model.dropout.prob, 0.0);
/// # assert_eq!(model.hidden.weight.val().into_data(), trained.hidden.weight.val().into_data());
/// // Only the hyperparameters: reads the file's header, whatever the file's size.
/// let hparams = MyModel::hparams_from_checkpoint(&path)?;
/// assert_eq!(hparams.width, 8);
/// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
pub trait FromCheckpoint: Module {
    /// The hyperparameters, as given to burn-trainer's `Trainer::new` or to
    /// [`Contents::new`](crate::Contents::new). burn's `#[derive(Config)]` makes such a type. It is written
    /// again after it is read, to find fields that it drops.
    type Hparams: Serialize + DeserializeOwned;

    /// Builds the untrained model.
    ///
    /// Hyperparameters from a file can be any values of the type. A program that loads untrusted files checks
    /// the result of [`FromCheckpoint::hparams_from_checkpoint`] first.
    fn from_hparams(hparams: &Self::Hparams, device: &Device) -> Self;

    /// The model with the hyperparameters and the weights in a checkpoint. Every tensor is compared with its
    /// digest in the metadata as it is read. Other sections, such as the optimizer's, are not read.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointLoader::load`].
    fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::loader(path).load(device).map(|loaded| loaded.model)
    }

    /// The same with hyperparameters changed by `update`, which is called once, before the model is built.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointLoader::load`].
    fn from_checkpoint_with(
        path: impl AsRef<Path>,
        device: &Device,
        update: impl FnOnce(Self::Hparams) -> Self::Hparams,
    ) -> Result<Self> {
        Self::loader(path).update_hparams(update).load(device).map(|loaded| loaded.model)
    }

    /// The hyperparameters in a checkpoint. Reads only the file's header, whatever the file's size.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::open`] and [`Checkpoint::hparams`].
    fn hparams_from_checkpoint(path: impl AsRef<Path>) -> Result<Self::Hparams> {
        Checkpoint::open_index(path.as_ref())?.hparams()
    }

    /// A loader with options: for older hyperparameters, parts of a model, other names and types.
    fn loader<'a>(path: impl AsRef<Path>) -> CheckpointLoader<'a, Self> {
        CheckpointLoader::new(path)
    }
}

type UpdateJson<'a> = Box<dyn FnOnce(&mut Value) + 'a>;
type Update<'a, H> = Box<dyn FnOnce(H) -> H + 'a>;

/// Loads a model with options. Touches no file before [`CheckpointLoader::load`].
///
/// # Example: the encoder of an older model, for another task
///
/// ```
/// # use burn::config::Config;
/// # use burn::module::Module;
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::tensor::{DType, Device};
/// # use burn_ckpt::{Contents, FromCheckpoint, Metadata, Section};
/// # use serde_json::json;
/// #[derive(Config, Debug)]
/// pub struct MyConfig {
///     pub width: usize,
///     pub classes: usize,
/// }
///
/// #[derive(Module, Debug)]
/// pub struct MyModel {
///     encoder: Linear,
///     head: Linear,
/// }
/// # impl FromCheckpoint for MyModel {
/// #     type Hparams = MyConfig;
/// #     fn from_hparams(hparams: &MyConfig, device: &Device) -> Self {
/// #         Self {
/// #             encoder: LinearConfig::new(4, hparams.width).init(device),
/// #             head: LinearConfig::new(hparams.width, hparams.classes).init(device),
/// #         }
/// #     }
/// # }
/// # #[derive(Module, Debug)]
/// # pub struct Older { backbone: Linear, head: Linear }
/// # let device = Device::default();
/// # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-loader-{}", std::process::id()));
/// # let path = directory.join("runs/a/checkpoint/best_val_loss.ckpt");
/// # let older = Older {
/// #     backbone: LinearConfig::new(4, 8).init(&device),
/// #     head: LinearConfig::new(8, 2).init(&device),
/// # };
/// # Contents::new(&json!({ "hidden_size": 8, "classes": 2 }))?
/// #     .with_section("model", Section::from_module(&older))
/// #     .save(&path, Metadata::new(jiff::Timestamp::now()))?;
///
/// let loaded = MyModel::loader(&path)
///     // When the checkpoint was written, this field had another name,
///     .update_hparams_json(|hparams| {
///         let width = hparams["hidden_size"].take();
///         hparams["width"] = width;
///     })
///     // and so had the layer.
///     .remap_keys("^backbone\\.", "encoder.")
///     // This task has five classes: the head has other shapes, and keeps its initial values.
///     .update_hparams(|hparams| MyConfig { classes: 5, ..hparams })
///     .allow_mismatched(true)
///     .float_dtype(DType::F32)
///     .load(&device)?;
///
/// assert_eq!(loaded.report.loaded, ["encoder.weight", "encoder.bias"]);
/// assert_eq!(loaded.report.mismatched[0].name, "head.weight");
/// assert_eq!((loaded.hparams.width, loaded.hparams.classes), (8, 5));
/// let model = loaded.model;
/// # assert_eq!(model.encoder.weight.val().into_data(), older.backbone.weight.val().into_data());
/// # assert_eq!(model.head.weight.val().dims(), [8, 5]);
/// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[must_use = "nothing is loaded before `load`"]
pub struct CheckpointLoader<'a, M: FromCheckpoint> {
    path: PathBuf,
    update_json: Vec<UpdateJson<'a>>,
    update: Vec<Update<'a, M::Hparams>>,
    options: LoadOptions,
    /// Whether the part is the one that the run has validated with.
    is_as_validated: bool,
    /// The first invalid argument of a builder method, which `load` returns.
    invalid: Option<Error>,
}

/// A loaded model with its hyperparameters and the report of its loading. See the example of
/// [`CheckpointLoader`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded<M: FromCheckpoint> {
    /// The model.
    pub model: M,
    /// The hyperparameters that it was built from.
    pub hparams: M::Hparams,
    /// Which tensors were loaded.
    pub report: LoadReport,
    /// The opened checkpoint, for its metadata and other sections.
    pub checkpoint: Checkpoint,
    /// The part that was loaded in place of the model, if one was: `ema`.
    pub part: Option<String>,
}

impl<'a, M: FromCheckpoint> CheckpointLoader<'a, M> {
    /// A loader for the checkpoint at a path. Every parameter and every tensor must match, and every tensor
    /// is verified.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_path_buf(),
            update_json: Vec::new(),
            update: Vec::new(),
            options: LoadOptions::default(),
            is_as_validated: false,
            invalid: None,
        }
    }

    /// Changes the hyperparameters before the model is built.
    pub fn update_hparams(mut self, update: impl FnOnce(M::Hparams) -> M::Hparams + 'a) -> Self {
        self.update.push(Box::new(update));
        self
    }

    /// Changes the hyperparameters as JSON, before they are converted to the model's own type: for
    /// checkpoints that are older than a field's name or type. A field that is left null counts as removed if
    /// the type does not know it.
    pub fn update_hparams_json(mut self, update: impl FnOnce(&mut Value) + 'a) -> Self {
        self.update_json.push(Box::new(update));
        self
    }

    /// Sets whether parameters that the checkpoint lacks keep their initial values (default: `false`, an
    /// error).
    pub fn allow_partial(mut self, allow: bool) -> Self {
        self.options.allow_partial = allow;
        self
    }

    /// Sets whether tensors that the model lacks are left out (default: `false`, an error).
    pub fn allow_unused(mut self, allow: bool) -> Self {
        self.options.allow_unused = allow;
        self
    }

    /// Sets whether parameters that have another shape or kind in the checkpoint keep their initial values
    /// (default: `false`, an error).
    pub fn allow_mismatched(mut self, allow: bool) -> Self {
        self.options.allow_mismatched = allow;
        self
    }

    /// Renames the checkpoint's tensors before they are matched: replaces each match of the regular
    /// expression `from` by `to`, where `$1` stands for the first group. Several calls apply one after the
    /// other.
    ///
    /// [`CheckpointLoader::load`] reports an invalid regular expression as [`Error::Name`].
    pub fn remap_keys(mut self, from: &str, to: &str) -> Self {
        match self.options.remapper.clone().add_pattern(from, to) {
            Ok(remapper) => self.options.remapper = remapper,
            Err(error) => {
                let invalid = name_error("the regular expression", from, error.to_string());
                self.invalid.get_or_insert(invalid);
            }
        }
        self
    }

    /// Casts every tensor of floats to a type. By default, parameters get the stored type.
    ///
    /// [`CheckpointLoader::load`] reports a type that is not a float type as [`Error::Name`].
    pub fn float_dtype(mut self, dtype: DType) -> Self {
        if !dtype.is_float() {
            let reason = "it is not a float type".to_owned();
            self.invalid.get_or_insert(name_error("the type", dtype.name(), reason));
        }
        self.options.float_dtype = Some(dtype);
        self
    }

    /// Loads a program's own part in place of the model: `ema` for the section `user.ema`, which
    /// burn-trainer's `Ema` stores.
    pub fn part(mut self, part: &str) -> Self {
        self.options.part = Some(part.to_owned());
        self
    }

    /// Loads what the run has validated, of which the checkpoint's `val_` metrics are: the
    /// [part](Checkpoint::validated_part) of an average that validates, if there is one, else the model. It
    /// is the model also where the run's primary metric is of a validation set that was validated with that.
    pub fn as_validated(mut self) -> Self {
        self.is_as_validated = true;
        self
    }

    /// Sets whether each tensor that is read is compared with its digest in the metadata (default: `true`). A
    /// checkpoint without metadata loads only with `false`.
    pub fn verify(mut self, verify: bool) -> Self {
        self.options.verify = verify;
        self
    }

    /// Builds the model and loads its weights.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::open`]; [`Error::Hparams`] naming a field when the hyperparameters do not fit;
    /// [`Error::Mismatch`] naming tensors and both shapes when the weights do not fit; [`Error::Checksum`]
    /// when the bytes are not those that were written; [`Error::Unverifiable`] without valid metadata;
    /// [`Error::Name`] for an invalid argument of [`CheckpointLoader::remap_keys`] or
    /// [`CheckpointLoader::float_dtype`].
    pub fn load(mut self, device: &Device) -> Result<Loaded<M>> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let checkpoint = Checkpoint::open(&self.path)?;
        if self.is_as_validated {
            self.options.part = checkpoint.part_of_validation()?;
        }
        let mut raw = checkpoint.raw_hparams().clone();
        self.update_json.into_iter().for_each(|update| update(&mut raw));
        let hparams: M::Hparams = typed(checkpoint.path(), &raw)?;
        let was_updated = !self.update.is_empty();
        let hparams = self.update.into_iter().fold(hparams, |hparams, update| update(hparams));
        let model = M::from_hparams(&hparams, device);
        let loaded = checkpoint.load_into_with(model, &self.options).map_err(|error| match error {
            Error::Mismatch { path, reason } if was_updated => {
                let reason = format!("{reason}; update_hparams has changed the model's hyperparameters");
                Error::Mismatch { path, reason }
            }
            error => error,
        });
        let (model, report) = loaded?;
        Ok(Loaded { model, hparams, report, checkpoint, part: self.options.part })
    }
}
