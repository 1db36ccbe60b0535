//! Models that the tests train, save and load.

pub mod inference_net;
pub mod pytorch_twin;
pub mod small;
