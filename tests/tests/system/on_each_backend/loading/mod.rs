//! Loading a trained model: whole, in part, verified, and what does not fit.

mod from_checkpoint;
mod partial_loading;
mod verified_weights;
mod wrong_hparams;
