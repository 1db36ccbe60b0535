//! The transformer's layers over whole texts, as training and validation run them: what burn's own forward
//! pass computes, in an order that takes less time.
//!
//! - All places of all texts are the rows of one matrix. A linear layer is then one product. burn's forward
//!   pass gives it a product for each text, and each prepares the weights once more.
//! - The mask is made once for all layers, and added. Its gradient takes no time.
//! - Attention divides by the sum of the weights after the weights have been applied to the values, which are
//!   fewer numbers. Without gradients it is one operation of burn's.
//!
//! `forward_autoregressive_inference`, which writes text, is burn's.

use burn::nn::transformer::TransformerEncoderLayer;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor};

/// The texts of a batch: how many there are, how long each is, and what no place may look at.
pub(crate) struct Texts {
    batch: usize,
    length: usize,
    /// What is added to the attention of each place to each other: nothing to earlier ones, and to later ones
    /// so much less that they count nothing. `None` where no gradients are computed.
    mask: Option<Tensor<4>>,
}

impl Texts {
    pub(crate) fn new(batch: usize, length: usize, device: &Device) -> Self {
        let mask = || {
            let later = Tensor::<2, Bool>::tril_mask([length, length], 0, device);
            Tensor::zeros([length, length], device).mask_fill(later, f32::NEG_INFINITY).unsqueeze()
        };
        Self { batch, length, mask: device.is_autodiff().then(mask) }
    }

    /// One layer, which normalizes before attention and before the feed-forward network. From and to
    /// `[batch * length, width]`.
    pub(crate) fn layer(&self, layer: &TransformerEncoderLayer, x: Tensor<2>) -> Tensor<2> {
        let attended = self.attention(layer, layer.norm_2.forward(x.clone()));
        let x = x + layer.dropout.forward(attended);
        let added = layer.pwff.forward(layer.norm_1.forward(x.clone()));
        x + layer.dropout.forward(added)
    }

    fn attention(&self, layer: &TransformerEncoderLayer, x: Tensor<2>) -> Tensor<2> {
        let (parts, [rows, width]) = (&layer.mha, x.dims());
        let heads =
            |x: Tensor<2>| x.reshape([self.batch, self.length, parts.n_heads, parts.d_k]).swap_dims(1, 2);
        let query = heads(parts.query.forward(x.clone()));
        let key = heads(parts.key.forward(x.clone()));
        let value = heads(parts.value.forward(x));
        let context = match &self.mask {
            None => {
                let options = AttentionModuleOptions { is_causal: true, ..AttentionModuleOptions::default() };
                attention(query, key, value, None, None, options)
            }
            Some(mask) => {
                let scores = (query / (parts.d_k as f32).sqrt()).matmul(key.transpose()) + mask.clone();
                // A number that is taken from all scores of a place changes no weight, and so no gradient.
                let highest = scores.clone().detach().max_dim(3);
                let weights = (scores - highest).exp();
                let sum = weights.clone().sum_dim(3);
                parts.dropout.forward(weights).matmul(value) / sum
            }
        };
        parts.output.forward(context.swap_dims(1, 2).reshape([rows, width]))
    }
}
