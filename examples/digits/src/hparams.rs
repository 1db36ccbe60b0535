//! The hyperparameters, which every checkpoint carries, and the data sets there are, which say how an image
//! is prepared.

use burn::config::Config;
use serde::{Deserialize, Serialize};

/// The widest layer. Layers are allocated by the hyperparameters, which may come from an untrusted file.
const MAX_WIDTH: usize = 4096;

/// The hyperparameters, which every checkpoint carries.
#[derive(Config, Debug)]
pub struct DigitsConfig {
    /// Channels of the first convolution; the second has twice as many.
    #[config(default = 16)]
    pub channels: usize,
    /// Width of the hidden linear layer.
    #[config(default = 64)]
    pub hidden: usize,
    /// Probability that a hidden value is left out of a training step.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// Images in a training step.
    #[config(default = 32)]
    pub batch_size: usize,
    /// Learning rate of Adam.
    #[config(default = 1e-3)]
    pub learning_rate: f64,
    /// Batches whose gradients are added up before an optimizer step.
    #[config(default = 1)]
    pub grads_accumulation: usize,
    /// Threads that prepare batches; 0 prepares them in the loop.
    #[config(default = 1)]
    pub num_workers: usize,
    /// The images to train on.
    #[config(default = "Data::Digits")]
    pub data: Data,
}

/// Which images to train on, and so which images the model looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "train", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// 1,797 images of 8x8, which are part of the program
    Digits,
    /// 70,000 images of 28x28, which burn downloads
    Mnist,
}

/// A hyperparameter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} cannot be used: {reason}")]
pub struct InvalidSetting {
    /// The field of the hyperparameters.
    pub setting: &'static str,
    /// Which values can be used.
    pub reason: String,
}

impl DigitsConfig {
    /// Checks that a network can be made of it, and trained.
    ///
    /// # Errors
    ///
    /// The first hyperparameter that cannot be used.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let above_0 = [
            ("channels", self.channels),
            ("hidden", self.hidden),
            ("batch_size", self.batch_size),
            ("grads_accumulation", self.grads_accumulation),
        ];
        let wrong = |setting, reason: &str| Err(InvalidSetting { setting, reason: reason.to_owned() });
        if let Some((setting, _)) = above_0.iter().find(|(_, value)| *value == 0) {
            return wrong(setting, "it must be above 0");
        }
        let widths = [("channels", self.channels), ("hidden", self.hidden)];
        if let Some((setting, _)) = widths.iter().find(|(_, width)| *width > MAX_WIDTH) {
            return wrong(setting, &format!("it must be at most {MAX_WIDTH}"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong("dropout", "it must be from 0 to below 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return wrong("learning_rate", "it must be above 0");
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
