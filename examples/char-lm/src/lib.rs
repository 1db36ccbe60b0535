//! A small GPT that says which byte of a text comes next: the model, its hyperparameters, and the text that
//! it writes.
//!
//! As `digits`, whose page says how such a crate is laid out, it is a library for the programs that use the
//! model, and has what only training needs behind the feature `train`.
//!
//! | file | has | with `train` only |
//! |---|---|---|
//! | `hparams.rs` | [`CharLmConfig`], which a checkpoint carries, and the sizes by name, [`Size`] | |
//! | `layers.rs` | the transformer's layers over whole texts | |
//! | `model.rs` | [`CharLm`], from texts to what comes next | |
//! | `writing.rs` | [`Writing`], how the model continues a text | |
//! | `dataset.rs` | the text to train on, and batches of its windows | x |
//! | `steps.rs` | a training step, a validation step, optimizer and schedule | x |
//! | `main.rs` | the training program | x |
//! | `bin/sample.rs` | the program that writes | x |

mod hparams;
mod layers;
mod model;
mod writing;

#[cfg(feature = "train")]
mod dataset;
#[cfg(feature = "train")]
mod steps;

#[cfg(feature = "train")]
pub use dataset::{Batch, Text, Window, WindowBatcher, Windows, load};
pub use hparams::{BYTES, CharLmConfig, InvalidSetting, Shape, Size};
pub use model::CharLm;
pub use writing::{Drawing, NotANumber, Writing};
