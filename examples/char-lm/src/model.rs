//! The network: GPT-2's, of burn's own parts.

use burn::module::{Initializer, Module};
use burn::nn::attention::generate_autoregressive_mask;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderAutoregressiveCache, TransformerEncoderConfig,
    TransformerEncoderInput,
};
use burn::nn::{
    Dropout, DropoutConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, LinearConfig,
};
use burn::tensor::{Device, Int, Tensor};
use burn_ckpt::FromCheckpoint;

use crate::hparams::{BYTES, CharLmConfig};
use crate::layers::Texts;

/// Standard deviation of GPT-2's weights before training.
const INITIAL_SPREAD: f64 = 0.02;

/// Says which byte comes next.
#[derive(Module, Debug)]
pub struct CharLm {
    /// Also the output layer's weights: the more a byte's row is like the last layer's output, the likelier
    /// it is next.
    tokens: Embedding,
    positions: Embedding,
    dropout: Dropout,
    layers: TransformerEncoder,
    norm: LayerNorm,
}

/// What a model has computed of a text that grows.
pub(crate) struct Past(TransformerEncoderAutoregressiveCache);

impl CharLmConfig {
    /// The untrained network.
    #[must_use]
    pub fn init(&self, device: &Device) -> CharLm {
        let shape = self.shape();
        let normal = |std: f64| Initializer::Normal { mean: 0.0, std };
        let (width, inner) = (shape.width, 4 * shape.width);
        let embedding = |rows: usize| {
            EmbeddingConfig::new(rows, width).with_initializer(normal(INITIAL_SPREAD)).init(device)
        };
        let mut layers = TransformerEncoderConfig::new(width, inner, shape.heads, shape.layers)
            .with_dropout(self.dropout)
            .with_norm_first(true)
            .with_initializer(normal(INITIAL_SPREAD))
            .init(device);
        // As in GPT-2: each layer adds twice to what goes through all of them, whose spread would grow with
        // their number.
        let added = normal(INITIAL_SPREAD / (2.0 * shape.layers as f64).sqrt());
        let linear =
            |inputs: usize| LinearConfig::new(inputs, width).with_initializer(added.clone()).init(device);
        for layer in &mut layers.layers {
            layer.mha.output = linear(width);
            layer.pwff.linear_outer = linear(inner);
        }
        CharLm {
            tokens: embedding(shape.vocabulary),
            positions: embedding(shape.context),
            dropout: DropoutConfig::new(self.dropout).init(),
            layers,
            norm: LayerNormConfig::new(width).init(device),
        }
    }
}

impl FromCheckpoint for CharLm {
    type Hparams = CharLmConfig;

    fn from_hparams(hparams: &CharLmConfig, device: &Device) -> Self {
        hparams.init(device)
    }
}

impl CharLm {
    /// From texts `[batch, length]` to logits `[batch, length, vocabulary]`: at each place, of what comes
    /// after it.
    ///
    /// # Panics
    ///
    /// If the texts are longer than [`CharLm::context`].
    #[must_use]
    pub fn forward(&self, texts: Tensor<2, Int>) -> Tensor<3> {
        let x = self.dropout.forward(self.embed(texts));
        let [batch, length, width] = x.dims();
        let texts = Texts::new(batch, length, &x.device());
        let rows = x.reshape([batch * length, width]);
        let rows = self.layers.layers.iter().fold(rows, |x, layer| texts.layer(layer, x));
        self.logits(rows, self.tokens.weight.val()).reshape([batch as i64, length as i64, -1])
    }

    /// The logits of the 256 bytes after a text, of which all but the last byte was given before with the
    /// same past, or nothing was.
    pub(crate) fn next(&self, text: Tensor<2, Int>, past: &mut Past) -> Tensor<1> {
        let x = self.embed(text);
        let [_, length, _] = x.dims();
        let mask = generate_autoregressive_mask(1, length, &x.device());
        let input = TransformerEncoderInput::new(x).mask_attn(mask);
        let x = self.layers.forward_autoregressive_inference(input, &mut past.0);
        let last = x.slice_dim(1, length - 1..length).flatten(0, 1);
        // A number above 255 is not a byte, and cannot be drawn.
        self.logits(last, self.tokens.weight.val().slice_dim(0, 0..BYTES)).flatten(0, 1)
    }

    /// A past without anything in it.
    pub(crate) fn no_past(&self) -> Past {
        Past(self.layers.new_autoregressive_cache())
    }

    /// Bytes that it looks back at.
    #[must_use]
    pub fn context(&self) -> usize {
        self.positions.weight.dims()[0]
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> Device {
        self.positions.weight.device()
    }

    fn embed(&self, texts: Tensor<2, Int>) -> Tensor<3> {
        let length = texts.dims()[1];
        let positions = self.positions.weight.val().slice_dim(0, 0..length);
        self.tokens.forward(texts) + positions.unsqueeze()
    }

    /// From `[places, width]` to `[places, rows]`.
    fn logits(&self, x: Tensor<2>, rows: Tensor<2>) -> Tensor<2> {
        self.norm.forward(x).matmul(rows.transpose())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::hparams::Size;

    #[test]
    fn each_size_has_the_parameters_that_it_is_named_after() {
        let counts = Size::ALL.map(|size| {
            let config = CharLmConfig::new().with_size(size);
            // A GPU in software takes a minute to make the largest.
            let count = config.init(&Device::flex()).num_params();
            assert_eq!(config.shape().parameters(), Some(count), "{size:?}");
            count
        });
        // The last is GPT-2's own number.
        assert_eq!(counts, [1_040_768, 10_844_160, 31_918_080, 124_439_808]);
    }

    fn small() -> CharLmConfig {
        let config = CharLmConfig::new().with_width(Some(32)).with_layers(Some(2)).with_heads(Some(2));
        config.with_context(Some(16))
    }

    fn texts(bytes: &[u8]) -> Tensor<2, Int> {
        let bytes: Vec<i64> = bytes.iter().map(|byte| i64::from(*byte)).collect();
        let length = bytes.len();
        Tensor::from_data(TensorData::new(bytes, [1, length]), &Device::default())
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn a_place_knows_what_comes_before_it_and_nothing_of_what_comes_after() {
        let model = small().init(&Device::default());
        let logits = |text: &[u8]| {
            let all = values(model.forward(texts(text)));
            all.chunks(BYTES).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let (one, other) = (logits(b"in the beginning"), logits(b"in the bEginning"));
        let differ = one.iter().zip(&other).map(|(one, other)| one != other);
        let expected: Vec<bool> = (0..16).map(|place| place >= 8).collect();
        assert_eq!(differ.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_forward_pass_is_that_of_burns_layers() {
        let bytes = TensorData::new(b"in the beginning".map(i64::from).to_vec(), [2, 8]);
        for device in [Device::default(), Device::default().autodiff()] {
            let model = small().init(&device);
            let texts = Tensor::<2, Int>::from_data(bytes.clone(), &device);
            let x = model.embed(texts.clone());
            let mask = generate_autoregressive_mask(2, 8, &device);
            let x = model.layers.forward(TransformerEncoderInput::new(x).mask_attn(mask));
            let burns = values(model.logits(x.flatten(0, 1), model.tokens.weight.val()));
            let ours = values(model.forward(texts));
            assert_eq!((ours.len(), burns.len()), (16 * BYTES, 16 * BYTES));
            for (ours, burns) in ours.iter().zip(&burns) {
                assert!((ours - burns).abs() < 1e-5, "{ours} {burns}");
            }
        }
    }

    #[test]
    fn a_backward_pass_is_that_of_burns_layers() {
        let device = Device::default().autodiff();
        let model = small().init(&device);
        let texts =
            Tensor::from_data(TensorData::new(b"in the beginning".map(i64::from).to_vec(), [2, 8]), &device);
        let gradients = |logits: Tensor<2>| {
            // The sum of the logits' squares, of which each depends on each parameter.
            let gradients = logits.square().sum().backward();
            let layer = &model.layers.layers[0];
            let of = |weight: &Tensor<2>| values(weight.grad(&gradients).unwrap());
            [&layer.mha.query, &layer.mha.key, &layer.mha.value, &layer.pwff.linear_inner]
                .map(|linear| of(&linear.weight.val()))
        };
        let ours = gradients(model.forward(texts.clone()).flatten(0, 1));
        let mask = generate_autoregressive_mask(2, 8, &device);
        let input = TransformerEncoderInput::new(model.embed(texts)).mask_attn(mask);
        let x = model.layers.forward(input).flatten(0, 1);
        let burns = gradients(model.logits(x, model.tokens.weight.val()));
        for (ours, burns) in ours.iter().flatten().zip(burns.iter().flatten()) {
            assert!((ours - burns).abs() < 1e-4 * burns.abs().max(1.0), "{ours} {burns}");
        }
    }

    #[test]
    fn what_comes_next_is_the_same_with_a_past_and_without() {
        let model = small().init(&Device::default());
        let text = b"in the beginning";
        let mut past = model.no_past();
        // A prompt at once, then byte by byte.
        for length in 4..=text.len() {
            let ours = values(model.next(texts(&text[..length]), &mut past));
            let all = values(model.forward(texts(&text[..length])));
            assert_eq!(ours.len(), BYTES);
            for (ours, whole) in ours.iter().zip(&all[all.len() - BYTES..]) {
                assert!((ours - whole).abs() < 1e-5, "{length}: {ours} {whole}");
            }
        }
    }
}
