//! A trained model in one line: from a checkpoint's path to a model that is built from the hyperparameters in it and has
//! its weights.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, Device};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::load::checkpoint::Checkpoint;
use crate::load::hparams;
use crate::load::options::LoadOptions;
use crate::load::report::LoadReport;

/// A module that can be built from the hyperparameters that its checkpoints carry.
///
/// A path is a checkpoint's file, a link to one, or `best`, `last` or a link's name in a run's directory
/// (`runs/a/best`); see [`locate`](crate::run_dir::locate).
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
/// #     .save(&path, Metadata::blank(jiff::Timestamp::now()))?;
/// // With the hyperparameters that it was trained with.
/// let model = MyModel::from_checkpoint(&path, &device)?;
/// // With some of them changed.
/// let model = MyModel::from_checkpoint_with(&path, &device, |h| h.with_dropout(0.0))?;
/// # assert_eq!(model.dropout.prob, 0.0);
/// # assert_eq!(model.hidden.weight.val().into_data(), trained.hidden.weight.val().into_data());
/// // The hyperparameters alone: whatever the file's size, only its header is read.
/// let hparams = MyModel::hparams_from_checkpoint(&path)?;
/// assert_eq!(hparams.width, 8);
/// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
pub trait FromCheckpoint: Module {
    /// The hyperparameters: what `Trainer::new` of burn-trainer was given, or [`Contents::new`](crate::Contents::new).
    /// burn's `#[derive(Config)]` makes such a type.
    type Hparams: DeserializeOwned;

    /// Builds the untrained model.
    ///
    /// Hyperparameters that come from a file may be any that the type can have. A program that loads other people's files
    /// checks them first, as [`FromCheckpoint::hparams_from_checkpoint`] gives them.
    fn from_hparams(hparams: &Self::Hparams, device: &Device) -> Self;

    /// The model with the hyperparameters and the weights in a checkpoint. Every tensor is compared with its digest in
    /// the metadata as it is read; what else is in the file, an optimizer's state for one, is not read.
    ///
    /// # Errors
    ///
    /// As for [`CheckpointLoader::load`].
    fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::loader(path).load(device).map(|loaded| loaded.model)
    }

    /// The same with hyperparameters that `update` has changed. It is called once, before the model is built.
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

    /// The hyperparameters in a checkpoint. Only the file's header is read, whatever its size.
    ///
    /// # Errors
    ///
    /// As for [`Checkpoint::open`] and [`Checkpoint::hparams`].
    fn hparams_from_checkpoint(path: impl AsRef<Path>) -> Result<Self::Hparams> {
        Checkpoint::open(path)?.hparams()
    }

    /// A loader for everything beyond that: older hyperparameters, parts of a model, other names and types.
    fn loader<'a>(path: impl AsRef<Path>) -> CheckpointLoader<'a, Self> {
        CheckpointLoader::new(path)
    }
}

type UpdateJson<'a> = Box<dyn FnOnce(&mut Value) + 'a>;
type Update<'a, H> = Box<dyn FnOnce(H) -> H + 'a>;

/// Loads a model as it is told to. Touches no file before [`CheckpointLoader::load`].
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
/// #     .save(&path, Metadata::blank(jiff::Timestamp::now()))?;
///
/// let loaded = MyModel::loader(&path)
///     // When the checkpoint was written, the field had another name,
///     .update_hparams_json(|hparams| {
///         let width = hparams["hidden_size"].take();
///         hparams["width"] = width;
///     })
///     // and so had the layer.
///     .remap_keys("^backbone\\.", "encoder.")
///     // This task has five classes: the head has other shapes, and begins anew.
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
    /// A builder's method cannot return what is wrong with its argument.
    wrong: Option<Error>,
}

/// A model that was loaded, and what is known of how.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded<M: FromCheckpoint> {
    /// The model.
    pub model: M,
    /// The hyperparameters that it was built from.
    pub hparams: M::Hparams,
    /// What became of each tensor.
    pub report: LoadReport,
    /// The checkpoint, for its metadata and other sections.
    pub checkpoint: Checkpoint,
}

impl<'a, M: FromCheckpoint> CheckpointLoader<'a, M> {
    /// A loader of the checkpoint that a path stands for: strict, with verification.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_path_buf(),
            update_json: Vec::new(),
            update: Vec::new(),
            options: LoadOptions::default(),
            wrong: None,
        }
    }

    /// Changes the hyperparameters before the model is built.
    pub fn update_hparams(mut self, update: impl FnOnce(M::Hparams) -> M::Hparams + 'a) -> Self {
        self.update.push(Box::new(update));
        self
    }

    /// Changes the hyperparameters as they are in the file, before they become the model's own type: for checkpoints
    /// that are older than a field's name or type. What is left null is as good as removed where the type does not
    /// know it.
    pub fn update_hparams_json(mut self, update: impl FnOnce(&mut Value) + 'a) -> Self {
        self.update_json.push(Box::new(update));
        self
    }

    /// Whether parameters that the checkpoint lacks keep their initial values; an error otherwise.
    pub fn allow_partial(mut self, allow: bool) -> Self {
        self.options.allow_partial = allow;
        self
    }

    /// Whether tensors that the model lacks are left out; an error otherwise.
    pub fn allow_unused(mut self, allow: bool) -> Self {
        self.options.allow_unused = allow;
        self
    }

    /// Whether parameters that have another shape or kind in the checkpoint keep their initial values; an error
    /// otherwise.
    pub fn allow_mismatched(mut self, allow: bool) -> Self {
        self.options.allow_mismatched = allow;
        self
    }

    /// Renames the checkpoint's tensors before they are matched: every place where the regular expression `from`
    /// matches becomes `to`, in which `$1` stands for its first group. Called several times, one after the other.
    ///
    /// An expression that is none is an error of [`CheckpointLoader::load`].
    pub fn remap_keys(mut self, from: &str, to: &str) -> Self {
        match self.options.remapper.clone().add_pattern(from, to) {
            Ok(remapper) => self.options.remapper = remapper,
            Err(error) => {
                let wrong = name_error("the regular expression", from, error.to_string());
                self.wrong.get_or_insert(wrong);
            }
        }
        self
    }

    /// Casts every tensor of floats to a type. Without it, parameters get the type that is stored.
    ///
    /// A type that is none of floats is an error of [`CheckpointLoader::load`].
    pub fn float_dtype(mut self, dtype: DType) -> Self {
        if !dtype.is_float() {
            let reason = "floats are cast to a type of floats".to_owned();
            self.wrong.get_or_insert(name_error("the type", dtype.name(), reason));
        }
        self.options.float_dtype = Some(dtype);
        self
    }

    /// Whether what is read is compared with the digests in the metadata (default: `true`). A checkpoint without
    /// metadata can only be loaded without.
    pub fn verify(mut self, verify: bool) -> Self {
        self.options.verify = verify;
        self
    }

    /// Builds the model and loads its weights.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::open`]; [`Error::Hparams`] naming a field where the hyperparameters do not fit;
    /// [`Error::Mismatch`] naming tensors and both shapes where the weights do not; [`Error::Checksum`] or
    /// [`Error::Unverifiable`] where they are not known to be those that were written.
    pub fn load(self, device: &Device) -> Result<Loaded<M>> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let checkpoint = Checkpoint::open(&self.path)?;
        let mut raw = checkpoint.raw_hparams().clone();
        self.update_json.into_iter().for_each(|update| update(&mut raw));
        let hparams: M::Hparams = hparams::typed(checkpoint.path(), &raw)?;
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
        Ok(Loaded { model, hparams, report, checkpoint })
    }
}
