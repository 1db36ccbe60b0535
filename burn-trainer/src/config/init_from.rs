//! Where the initial weights of a run are from.

use std::path::PathBuf;

use burn::store::KeyRemapper;
use burn_ckpt::LoadOptions;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The checkpoint whose weights a new run begins with: optimizer, epoch and step start from the beginning. A
/// run that resumes ignores it, so the same command starts, resumes, or says that all is done.
///
/// In JSON a path, or an object: `"runs/pretrain/best"`,
/// `{"checkpoint": "runs/pretrain/best", "part": "ema", "allow_partial": true}`.
///
/// ```
/// use burn_trainer::TrainerConfig;
/// use burn_trainer::config::InitFrom;
///
/// let encoder = InitFrom::new("runs/pretrain/best").with_remap("^backbone\\.", "encoder.").with_allow_partial(true);
/// let config = TrainerConfig::new().with_init_from(encoder);
/// let json = r#"{"init_from": "runs/pretrain/best"}"#;
/// assert_eq!(serde_json::from_str::<TrainerConfig>(json)?, TrainerConfig::new().with_init_from("runs/pretrain/best"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
#[non_exhaustive]
pub struct InitFrom {
    /// A file, a link, or `best` or `last` in a run's directory.
    pub checkpoint: PathBuf,
    /// The part that is loaded: `ema` for averaged weights. By default the model.
    #[serde(default)]
    pub part: Option<String>,
    /// Regular expressions, and what their matches in the checkpoint's names are replaced by, one after the
    /// other.
    #[serde(default)]
    pub remap: Vec<(String, String)>,
    /// Whether parameters that the checkpoint lacks keep their initial values.
    #[serde(default)]
    pub allow_partial: bool,
    /// Whether tensors that the model lacks are left out.
    #[serde(default)]
    pub allow_unused: bool,
    /// Whether parameters of another shape keep their initial values.
    #[serde(default)]
    pub allow_mismatched: bool,
}

impl InitFrom {
    /// All weights of a checkpoint, each of which must fit.
    #[must_use]
    pub fn new(checkpoint: impl Into<PathBuf>) -> Self {
        Self { checkpoint: checkpoint.into(), ..Self::default() }
    }

    /// Sets the part that is loaded.
    #[must_use]
    pub fn with_part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    /// Adds a regular expression, and what its matches are replaced by; `$1` stands for the first group.
    #[must_use]
    pub fn with_remap(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.remap.push((from.into(), to.into()));
        self
    }

    /// Sets whether parameters that the checkpoint lacks keep their initial values.
    #[must_use]
    pub fn with_allow_partial(mut self, allow: bool) -> Self {
        self.allow_partial = allow;
        self
    }

    /// Sets whether tensors that the model lacks are left out.
    #[must_use]
    pub fn with_allow_unused(mut self, allow: bool) -> Self {
        self.allow_unused = allow;
        self
    }

    /// Sets whether parameters of another shape keep their initial values.
    #[must_use]
    pub fn with_allow_mismatched(mut self, allow: bool) -> Self {
        self.allow_mismatched = allow;
        self
    }

    /// The options of loading. The error says which expression is invalid.
    pub(crate) fn options(&self) -> Result<LoadOptions, String> {
        let mut remapper = KeyRemapper::new();
        for (from, to) in &self.remap {
            remapper = remapper.add_pattern(from, to).map_err(|error| format!("{from:?}: {error}"))?;
        }
        Ok(LoadOptions::new()
            .with_part(self.part.as_deref())
            .with_remapper(remapper)
            .with_allow_partial(self.allow_partial)
            .with_allow_unused(self.allow_unused)
            .with_allow_mismatched(self.allow_mismatched))
    }
}

impl<P: Into<PathBuf>> From<P> for InitFrom {
    fn from(checkpoint: P) -> Self {
        Self::new(checkpoint)
    }
}

impl Serialize for InitFrom {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if *self == Self::new(self.checkpoint.clone()) {
            return self.checkpoint.serialize(to);
        }
        // The derived one, with all fields.
        Self::serialize(self, to)
    }
}

impl<'de> Deserialize<'de> for InitFrom {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Path(PathBuf),
            Fields(#[serde(with = "InitFrom")] InitFrom),
        }
        match Given::deserialize(from) {
            Ok(Given::Path(checkpoint)) => Ok(Self::new(checkpoint)),
            Ok(Given::Fields(given)) => Ok(given),
            Err(_) => Err(serde::de::Error::custom(
                "it is a path (\"runs/a/best\"), or an object with checkpoint, part, remap (pairs), allow_partial, allow_unused and \
                 allow_mismatched",
            )),
        }
    }
}
