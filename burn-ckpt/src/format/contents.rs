//! What goes into one checkpoint: the sections of a state as burnpack entries, with the JSON parts in its
//! header.
//!
//! `FORMAT.md` describes the bytes.

use std::collections::BTreeMap;

use burn_pack::{Scalar, Tensor};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file_names::name_error;
use crate::format::container::bounded_json::check_kept;
use crate::format::container::limits::{MAX_ENTRY_NAME_BYTES, MAX_SCALARS, MAX_STRINGS};
use crate::format::limits::{Limits, within};
use crate::format::section::Section;
use crate::hparams::json::hparams_to_json;

/// The version of the container that is written, and the newest that is read. Opening a file of a newer
/// version fails with [`Error::NewerFormat`].
pub const FORMAT_VERSION: u32 = 2;

pub(crate) const FORMAT_KEY: &str = "burn-ckpt.format";
pub(crate) const SECTIONS_KEY: &str = "burn-ckpt.sections";
pub(crate) const HPARAMS_KEY: &str = "burn-ckpt.hparams";
pub(crate) const TRAINER_STATE_KEY: &str = "burn-ckpt.trainer_state";
/// In the index of a checkpoint of several files: the number of the others, its shards.
pub(crate) const SHARDS_KEY: &str = "burn-ckpt.shards";
/// In each shard: which one it is, and of which state.
pub(crate) const SHARD_KEY: &str = "burn-ckpt.shard";

/// Everything that one checkpoint contains.
///
/// # Example: a model with its hyperparameters, and a tokenizer's bytes
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::Device;
/// use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
/// use jiff::Timestamp;
///
/// # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-contents-{}", std::process::id()));
/// # let path = directory.join("a.ckpt");
/// let config = LinearConfig::new(4, 2);
/// let model = config.init(&Device::default());
/// let mut tokenizer = Section::new();
/// tokenizer.strings.insert("alphabet".to_owned(), "abc".to_owned());
/// Contents::new(&config)?
///     .with_section(Section::MODEL, Section::from_module(&model))
///     .with_section("user.tokenizer", tokenizer)
///     .save(&path, Metadata::new(Timestamp::now()).with_run_id("a"))?;
///
/// let checkpoint = Checkpoint::open(&path)?;
/// assert_eq!(checkpoint.sections(), ["model", "user.tokenizer"]);
/// assert_eq!(checkpoint.section("user.tokenizer")?.strings["alphabet"], "abc");
/// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The model's hyperparameters, from which the model can be built.
    pub hparams: Value,
    /// What the training loop needs to resume (epoch, step, best scores, ..).
    pub trainer_state: Value,
    /// The sections by name: [`Section::MODEL`] first; then [`Section::OPTIMIZER`], [`Section::SCHEDULER`]
    /// and [`Section::HISTORY`] unless only the weights are saved; then a program's own under
    /// [`Section::USER_PREFIX`].
    pub sections: IndexMap<String, Section>,
    /// What the file may not exceed.
    pub(crate) limits: Limits,
}

impl Contents {
    /// Contents without sections, for a model with these hyperparameters.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] naming the field when the hyperparameters cannot be written as JSON, or would not
    /// come back from it: JSON has no numbers that are not finite.
    pub fn new(hparams: &impl Serialize) -> Result<Self> {
        let hparams = hparams_to_json(hparams)
            .map_err(|error| Error::snapshot("the hyperparameters cannot be written", error))?;
        Ok(Self { hparams, ..Self::default() })
    }

    /// Sets what a training loop needs to resume.
    /// [`Checkpoint::trainer_state`](crate::Checkpoint::trainer_state) returns it.
    #[must_use]
    pub fn with_trainer_state(mut self, trainer_state: Value) -> Self {
        self.trainer_state = trainer_state;
        self
    }

    /// Sets the size in bytes above which the state is saved in several files, for a disk, a quota or a hub
    /// that takes no larger ones (default: 100 GiB, what burn's own reader opens). The tensors are then in
    /// files of at most this size in the directory `X.shards` beside `X.ckpt`, which is copied and renamed
    /// with it.
    ///
    /// ```
    /// # use burn_ckpt::{Checkpoint, Contents, Metadata, Section};
    /// # use burn::nn::LinearConfig;
    /// # use burn::tensor::Device;
    /// # let directory = std::env::temp_dir().join(format!("burn-ckpt-doc-shards-{}", std::process::id()));
    /// # let path = directory.join("a.ckpt");
    /// # let model = LinearConfig::new(512, 512).init(&Device::default());
    /// Contents::new(&())?
    ///     .with_max_file_bytes(1_050_000)
    ///     .with_section(Section::MODEL, Section::from_module(&model))
    ///     .save(&path, Metadata::new(jiff::Timestamp::now()))?;
    /// assert!(directory.join("a.shards/state-00002-of-00002.ckpt").exists());
    /// Checkpoint::open(&path)?.verify()?;
    /// # std::fs::remove_dir_all(&directory).expect("the directory was made above");
    /// # Ok::<(), burn_ckpt::Error>(())
    /// ```
    #[must_use]
    pub fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.limits = self.limits.with_max_file_bytes(bytes);
        self
    }

    /// Sets other limits than the reader's. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a section: [`Section::MODEL`], or a program's own under [`Section::USER_PREFIX`].
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Section) -> Self {
        self.sections.insert(name.into(), section);
        self
    }
}

/// The entries of a container, under the names that they have in the file.
pub(crate) struct Entries {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) scalars: BTreeMap<String, Scalar>,
    pub(crate) strings: BTreeMap<String, String>,
}

/// Converts contents to the entries of a container.
pub(crate) fn entries(contents: Contents) -> Result<Entries> {
    let sections: Vec<&str> = contents.sections.keys().map(String::as_str).collect();
    sections.iter().try_for_each(|section| check_name(section))?;
    let mut strings = BTreeMap::from([
        (FORMAT_KEY.to_owned(), FORMAT_VERSION.to_string()),
        (SECTIONS_KEY.to_owned(), Value::from(sections).to_string()),
        (HPARAMS_KEY.to_owned(), contents.hparams.to_string()),
        (TRAINER_STATE_KEY.to_owned(), contents.trainer_state.to_string()),
    ]);
    let (mut tensors, mut scalars) = (Vec::new(), BTreeMap::new());
    for (section, part) in contents.sections {
        let named = |name: String| format!("{section}.{name}");
        tensors.extend(part.tensors.into_iter().map(|mut tensor| {
            tensor.name = named(tensor.name);
            tensor
        }));
        scalars.extend(part.scalars.into_iter().map(|(name, value)| (named(name), value)));
        strings.extend(part.strings.into_iter().map(|(name, value)| (named(name), value)));
    }
    check_readable(&strings, &scalars)?;
    Ok(Entries { tensors, scalars, strings })
}

/// Checks that a reader accepts what is not a tensor, before anything is written.
fn check_readable(strings: &BTreeMap<String, String>, scalars: &BTreeMap<String, Scalar>) -> Result<()> {
    for (key, what) in [
        (SECTIONS_KEY, "the list of the sections"),
        (HPARAMS_KEY, "the hyperparameters"),
        (TRAINER_STATE_KEY, "the trainer's state"),
    ] {
        let text = strings.get(key).map(String::as_str).unwrap_or_default();
        check_kept(text).map_err(|error| Error::snapshot(format!("{what} could not be read back"), error))?;
    }
    let check = |unit, found: usize, limit: usize| {
        let advice = "save fewer of them, with shorter names, in the program's own sections";
        within(|| "the checkpoint".to_owned(), unit, found as u64, limit as u64, advice)
    };
    check("scalars", scalars.len(), MAX_SCALARS)?;
    check("strings", strings.len(), MAX_STRINGS)?;
    let names = scalars.keys().chain(strings.keys());
    let longest = names.map(String::len).max().unwrap_or_default();
    check("bytes in a name", longest, MAX_ENTRY_NAME_BYTES)
}

/// Checks a section's name. The name of a program's own part has no dot, as the part's name in the file ends
/// at a dot.
pub(crate) fn check_name(section: &str) -> Result<()> {
    let known = [Section::MODEL, Section::OPTIMIZER, Section::SCHEDULER, Section::HISTORY].contains(&section);
    let own = section
        .strip_prefix(Section::USER_PREFIX)
        .is_some_and(|part| !part.is_empty() && !part.contains('.'));
    if known || own {
        return Ok(());
    }
    let reason = "a section is model, optimizer, scheduler, history, or user.<part> where <part> has no dot";
    Err(name_error("the section", section, reason.to_owned()))
}
