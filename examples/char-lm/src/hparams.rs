//! The hyperparameters, which every checkpoint carries, and the sizes of model there are.

use burn::config::Config;
use serde::{Deserialize, Serialize};

/// Tokens are bytes.
pub const BYTES: usize = 256;

// Layers are allocated by the hyperparameters, which may come from an untrusted file.
const MAX_WIDTH: usize = 8192;
const MAX_LAYERS: usize = 256;
const MAX_HEADS: usize = 64;
/// Attention looks at each pair of places, so that memory grows with the square.
const MAX_CONTEXT: usize = 2048;
/// Of 4 bytes each: 4 GB, and three times that with the optimizer's moments.
const MAX_PARAMETERS: usize = 1_000_000_000;
/// Bytes of text in a training step.
const MAX_STEP: usize = 1 << 20;

/// The hyperparameters, which every checkpoint carries.
#[derive(Config, Debug)]
pub struct CharLmConfig {
    /// The size of the model, by name.
    #[config(default = "Size::Tiny")]
    pub size: Size,
    /// Bytes that the model looks back at, if not as many as its size has.
    pub context: Option<usize>,
    /// Width of the model, if not that of its size.
    pub width: Option<usize>,
    /// Transformer layers, if not as many as its size has.
    pub layers: Option<usize>,
    /// Attention heads in each, if not as many as its size has.
    pub heads: Option<usize>,
    /// Probability that a value is left out of a training step: the larger models need some, as they memorize
    /// a text of this length.
    #[config(default = 0.0)]
    pub dropout: f64,
    /// Windows of text in a batch, each as long as the context.
    #[config(default = 8)]
    pub batch_size: usize,
    /// Batches whose gradients are added up before an optimizer step.
    #[config(default = 1)]
    pub grads_accumulation: usize,
    /// Windows in an epoch: the text is cut into so many parts, and each epoch takes a window from a random
    /// place in each.
    #[config(default = 512)]
    pub windows_per_epoch: usize,
    /// Windows that validation looks at, always the same.
    #[config(default = 128)]
    pub valid_windows: usize,
    /// Learning rate of AdamW after the warm-up, if not that of its size.
    pub learning_rate: Option<f64>,
    /// The share of it that is left at the end of the schedule.
    #[config(default = 0.1)]
    pub final_share: f64,
    /// The share of the schedule in which the learning rate rises.
    #[config(default = 0.1)]
    pub warmup_share: f64,
    /// Optimizer steps of the schedule, after which the learning rate stays where it is. Unless set, those of
    /// all epochs: a run that resumes with more epochs continues at the rate that the longer schedule has at
    /// that step.
    pub schedule_steps: Option<usize>,
    /// Weight decay of AdamW.
    #[config(default = 0.1)]
    pub weight_decay: f64,
    /// Largest norm of a parameter's gradient: what is longer is shortened to it.
    #[config(default = 1.0)]
    pub clip_norm: f64,
    /// Threads that prepare batches; 0 prepares them in the loop.
    #[config(default = 1)]
    pub num_workers: usize,
}

/// The sizes of model there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// 1 million parameters: trains on a CPU
    Tiny,
    /// 11 million
    Small,
    /// 32 million
    Medium,
    /// 124 million: the smallest GPT-2, its vocabulary included
    Gpt2Small,
}

/// What a model's parameters follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of the embedding, which is the output layer too. Those beyond the 256 bytes are never read or
    /// drawn: they are there so that a model named after GPT-2 has GPT-2's parameters, and saving it costs
    /// what saving GPT-2 does.
    pub vocabulary: usize,
    /// Bytes that the model looks back at.
    pub context: usize,
    /// Width of the model.
    pub width: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads in each.
    pub heads: usize,
}

/// A hyperparameter, or a setting of the text to write, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} cannot be used: {reason}")]
pub struct InvalidSetting {
    /// Its name.
    pub setting: &'static str,
    /// Which values can be used.
    pub reason: String,
}

impl InvalidSetting {
    /// An error that names the setting and the values that can be used.
    pub(crate) fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self { setting, reason: reason.into() }
    }
}

impl Size {
    /// All of them, from the smallest.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Small, Self::Medium, Self::Gpt2Small];

    /// What the name stands for.
    #[must_use]
    pub fn shape(self) -> Shape {
        let (vocabulary, context, width, layers, heads) = match self {
            Self::Tiny => (BYTES, 128, 128, 5, 4),
            Self::Small => (BYTES, 256, 384, 6, 6),
            Self::Medium => (BYTES, 512, 512, 10, 8),
            Self::Gpt2Small => (50_257, 1024, 768, 12, 12),
        };
        Shape { vocabulary, context, width, layers, heads }
    }

    /// The learning rate that a model of this size does well with: the larger, the lower.
    #[must_use]
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::Tiny => 2e-3,
            Self::Small => 1e-3,
            Self::Medium | Self::Gpt2Small => 6e-4,
        }
    }
}

impl Shape {
    /// Parameters of a model, or `None` for more than can be counted.
    #[must_use]
    pub fn parameters(&self) -> Option<usize> {
        let Self { vocabulary, context, width, layers, .. } = *self;
        // Of a layer: four projections, the two of the feed-forward network four times as wide, their biases,
        // and two norms.
        let layer = width.checked_mul(width)?.checked_mul(12)?.checked_add(width.checked_mul(13)?)?;
        let rows = vocabulary.checked_add(context)?.checked_add(2)?;
        layer.checked_mul(layers)?.checked_add(rows.checked_mul(width)?)
    }
}

impl CharLmConfig {
    /// That of the size, with what is set beside it.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let named = self.size.shape();
        Shape {
            vocabulary: named.vocabulary,
            context: self.context.unwrap_or(named.context),
            width: self.width.unwrap_or(named.width),
            layers: self.layers.unwrap_or(named.layers),
            heads: self.heads.unwrap_or(named.heads),
        }
    }

    /// That of the size, unless one is set.
    #[must_use]
    pub fn top_learning_rate(&self) -> f64 {
        self.learning_rate.unwrap_or_else(|| self.size.learning_rate())
    }

    /// Optimizer steps in an epoch, on one device.
    #[must_use]
    pub fn steps_per_epoch(&self) -> usize {
        self.windows_per_epoch.div_ceil(self.batch_size.max(1)).div_ceil(self.grads_accumulation.max(1))
    }

    /// Checks that a model can be made of it, and trained.
    ///
    /// # Errors
    ///
    /// The first hyperparameter that cannot be used.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let wrong = |setting, reason: &str| Err(InvalidSetting::new(setting, reason));
        let shape = self.shape();
        let limits = [
            ("context", shape.context, MAX_CONTEXT),
            ("width", shape.width, MAX_WIDTH),
            ("layers", shape.layers, MAX_LAYERS),
            ("heads", shape.heads, MAX_HEADS),
            ("batch_size", self.batch_size, MAX_STEP),
            ("grads_accumulation", self.grads_accumulation, usize::MAX),
            ("windows_per_epoch", self.windows_per_epoch, usize::MAX),
            ("valid_windows", self.valid_windows, usize::MAX),
            ("schedule_steps", self.schedule_steps.unwrap_or(1), usize::MAX),
        ];
        for (setting, value, most) in limits {
            if value == 0 {
                return wrong(setting, "it must be above 0");
            }
            if value > most {
                return wrong(setting, &format!("it must be at most {most}"));
            }
        }
        if !shape.width.is_multiple_of(shape.heads) {
            let reason = format!("a width of {} cannot be divided among {} heads", shape.width, shape.heads);
            return wrong("heads", &reason);
        }
        if shape.parameters().is_none_or(|parameters| parameters > MAX_PARAMETERS) {
            let reason = format!("with {} layers it makes over {MAX_PARAMETERS} parameters", shape.layers);
            return wrong("width", &reason);
        }
        if self.batch_size.saturating_mul(shape.context) > MAX_STEP {
            let reason =
                format!("with a context of {} it makes over {MAX_STEP} bytes a batch", shape.context);
            return wrong("batch_size", &reason);
        }
        let shares = [("final_share", self.final_share), ("warmup_share", self.warmup_share)];
        if let Some((setting, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return wrong(setting, "it must be from 0 to 1");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong("dropout", "it must be from 0 to below 1");
        }
        if !(self.top_learning_rate() > 0.0 && self.top_learning_rate() <= 1.0) {
            return wrong("learning_rate", "it must be above 0 and at most 1");
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return wrong("weight_decay", "it must be from 0 to 1");
        }
        if !(self.clip_norm.is_finite() && self.clip_norm > 0.0) {
            return wrong("clip_norm", "it must be above 0");
        }
        Ok(())
    }
}

/// The training program treats it as any other invalid setting.
#[cfg(feature = "train")]
impl From<InvalidSetting> for burn_trainer::Error {
    fn from(InvalidSetting { setting, reason }: InvalidSetting) -> Self {
        Self::Config { setting: setting.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_can_be_used_and_are_known_by_their_names() {
        for (size, name) in Size::ALL.into_iter().zip(["tiny", "small", "medium", "gpt2-small"]) {
            CharLmConfig::new().with_size(size).check().unwrap();
            let json = CharLmConfig::new().with_size(size).to_string();
            assert!(json.contains(&format!("{name:?}")), "{json}");
        }
    }

    #[test]
    fn what_is_set_beside_the_size_counts() {
        let config = CharLmConfig::new().with_size(Size::Small).with_layers(Some(2));
        assert_eq!(config.shape(), Shape { layers: 2, ..Size::Small.shape() });
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_it() {
        type Change = fn(&mut CharLmConfig);
        let cases: [(Change, &str, &str); 25] = [
            (|c| c.context = Some(0), "context", "above 0"),
            (|c| c.context = Some(usize::MAX), "context", "at most"),
            (|c| c.width = Some(0), "width", "above 0"),
            (|c| c.width = Some(usize::MAX), "width", "at most"),
            (|c| (c.width, c.layers) = (Some(8192), Some(256)), "width", "parameters"),
            (|c| c.layers = Some(0), "layers", "above 0"),
            (|c| c.layers = Some(usize::MAX), "layers", "at most"),
            (|c| c.heads = Some(0), "heads", "above 0"),
            (|c| c.heads = Some(128), "heads", "at most"),
            (|c| c.heads = Some(3), "heads", "128"),
            (|c| c.batch_size = 0, "batch_size", "above 0"),
            (|c| c.batch_size = 8193, "batch_size", "over 1048576 bytes"),
            (|c| c.batch_size = usize::MAX, "batch_size", "at most"),
            (|c| c.grads_accumulation = 0, "grads_accumulation", "above 0"),
            (|c| c.windows_per_epoch = 0, "windows_per_epoch", "above 0"),
            (|c| c.valid_windows = 0, "valid_windows", "above 0"),
            (|c| c.schedule_steps = Some(0), "schedule_steps", "above 0"),
            (|c| c.dropout = 1.0, "dropout", "below 1"),
            (|c| c.dropout = f64::NAN, "dropout", "below 1"),
            (|c| c.learning_rate = Some(0.0), "learning_rate", "above 0"),
            (|c| c.learning_rate = Some(f64::INFINITY), "learning_rate", "at most 1"),
            (|c| c.final_share = -0.1, "final_share", "from 0 to 1"),
            (|c| c.warmup_share = f64::NAN, "warmup_share", "from 0 to 1"),
            (|c| c.weight_decay = 2.0, "weight_decay", "from 0 to 1"),
            (|c| c.clip_norm = 0.0, "clip_norm", "above 0"),
        ];
        for (change, setting, reason) in cases {
            let mut config = CharLmConfig::new();
            change(&mut config);
            let said = config.check().unwrap_err().to_string();
            assert!(said.starts_with(setting) && said.contains(reason), "{setting} {reason}: {said}");
        }
    }
}
