//! The networks: those of the examples, with everything that a peer has to know to build the same.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use char_lm::{CharLmConfig, Size};
use clap::ValueEnum;
use digits::DigitsConfig;
use serde::{Deserialize, Serialize};

/// A network, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// The convolutional network of the example `digits`
    Digits,
    /// `char-lm` with one layer of width 32, to see that everything works
    CharLmQuick,
    /// 1 million parameters
    CharLmTiny,
    /// 11 million
    CharLmSmall,
    /// 32 million
    CharLmMedium,
    /// 124 million
    CharLmGpt2Small,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Network {
    /// Two convolutions with batch normalisation and two linear layers, trained by Adam.
    Digits {
        /// Channels of the first convolution; the second has twice as many.
        channels: usize,
        /// Width of the hidden layer.
        hidden: usize,
        /// Probability that a hidden value is left out.
        dropout: f64,
        /// Rate of Adam.
        learning_rate: f64,
    },
    /// GPT-2's network on bytes, trained by AdamW.
    CharLm {
        /// Its size by name.
        size: Size,
        /// Rows of the embedding, which is the output layer too.
        vocabulary: usize,
        /// Length of a window.
        context: usize,
        /// Width.
        width: usize,
        /// Layers.
        layers: usize,
        /// Heads of each.
        heads: usize,
        /// Rate of AdamW.
        learning_rate: f64,
        /// Its weight decay.
        weight_decay: f64,
        /// The norm that gradients are shortened to.
        clip_norm: f64,
    },
}

impl Name {
    /// Its name in a table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::CharLmQuick => "char-lm, one layer",
            Self::CharLmTiny => "char-lm tiny",
            Self::CharLmSmall => "char-lm small",
            Self::CharLmMedium => "char-lm medium",
            Self::CharLmGpt2Small => "char-lm gpt2-small",
        }
    }

    /// Items in a batch: those of the examples, and fewer of the larger networks, whose steps take long on a
    /// CPU.
    pub(crate) fn batch(self) -> usize {
        match self {
            Self::Digits => DigitsConfig::new().batch_size,
            Self::CharLmQuick | Self::CharLmMedium => 2,
            _ => CharLmConfig::new().batch_size,
        }
    }

    /// Steps that are not counted, and steps that are, on a CPU.
    pub(crate) fn steps(self) -> (usize, usize) {
        match self {
            Self::Digits => (45, 450),
            Self::CharLmQuick => (2, 4),
            Self::CharLmTiny => (5, 30),
            Self::CharLmSmall => (2, 6),
            Self::CharLmMedium | Self::CharLmGpt2Small => (1, 3),
        }
    }

    /// The network.
    pub(crate) fn network(self) -> Network {
        let size = match self {
            Self::Digits => {
                let DigitsConfig { channels, hidden, dropout, learning_rate, .. } = DigitsConfig::new();
                return Network::Digits { channels, hidden, dropout, learning_rate };
            }
            Self::CharLmQuick | Self::CharLmTiny => Size::Tiny,
            Self::CharLmSmall => Size::Small,
            Self::CharLmMedium => Size::Medium,
            Self::CharLmGpt2Small => Size::Gpt2Small,
        };
        let mut hparams = CharLmConfig::new().with_size(size);
        if self == Self::CharLmQuick {
            hparams = hparams.with_width(Some(32)).with_layers(Some(1)).with_heads(Some(2));
            hparams = hparams.with_context(Some(16));
        }
        Network::char_lm(&hparams)
    }
}

impl Network {
    fn char_lm(hparams: &CharLmConfig) -> Self {
        let shape = hparams.shape();
        Self::CharLm {
            size: hparams.size,
            vocabulary: shape.vocabulary,
            context: shape.context,
            width: shape.width,
            layers: shape.layers,
            heads: shape.heads,
            learning_rate: hparams.top_learning_rate(),
            weight_decay: hparams.weight_decay,
            clip_norm: hparams.clip_norm,
        }
    }
}

/// Parameters that an optimizer trains: running statistics are not among them.
pub(crate) fn trained_parameters<M: Module>(model: &M) -> u64 {
    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

struct Count(u64);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_require_grad() {
            self.0 += value.shape().num_elements() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn running_statistics_are_not_counted() {
        let config = DigitsConfig::new();
        let model = config.init(&Device::flex().autodiff());
        // Convolutions 1 -> 16 -> 32 of 3x3 and norms, then 512 -> 64 -> 10, all with biases.
        let convolutions = (9 + 1) * 16 + 2 * 16 + (16 * 9 + 1) * 32 + 2 * 32;
        assert_eq!(trained_parameters(&model), convolutions + (512 + 1) * 64 + (64 + 1) * 10);
        let model = CharLmConfig::new().init(&Device::flex().autodiff());
        assert_eq!(Some(trained_parameters(&model) as usize), CharLmConfig::new().shape().parameters());
    }
}
