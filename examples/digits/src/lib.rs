//! A small convolutional network for handwritten digits: the model, its hyperparameters, and how an image
//! becomes its input.
//!
//! # A crate for a model
//!
//! A model has two kinds of programs: the one that trains it, and those that use it. This crate is made for
//! both, and is there to be copied. The model is a library. What only training needs stands behind the
//! feature `train`: burn's training with its data sets and dashboard, the trainer, the command line, the
//! training data. So
//!
//! ```toml
//! digits = { path = "../digits", default-features = false }
//! ```
//!
//! gives a program the model without any of them. Such a program builds in a fraction of the time, and cannot
//! disagree with the training program on what the model computes or how an image is prepared, as both use
//! this code.
//!
//! Two things follow for a crate of your own:
//!
//! - The steps of training ([`TrainStep`](https://docs.rs/burn/latest/burn/train/trait.TrainStep.html)) are
//!   burn's traits for your type, so they can only stand in the model's crate: here in `steps.rs`, behind the
//!   feature.
//! - The hyperparameters and whatever prepares the input are part of the model. A checkpoint carries the
//!   former and, by `DigitsConfig::data`, says which of the latter to use.
//!
//! | file | has | with `train` only |
//! |---|---|---|
//! | `hparams.rs` | [`DigitsConfig`], which a checkpoint carries | |
//! | `model.rs` | [`Digits`], from images to probabilities | |
//! | `image.rs` | [`Image`], from grey values to the model's input | |
//! | `dataset.rs` | the images to train on, and their batches | x |
//! | `steps.rs` | a training step and a validation step | x |
//! | `main.rs`, `predictions.rs` | the training program | x |
//!
//! # Using the model
//!
//! ```no_run
//! use burn::tensor::Device;
//! use burn_ckpt::FromCheckpoint;
//! use digits::{Digits, Image};
//!
//! let path = "burn_trainer_logs/r1/best";
//! let data = Digits::hparams_from_checkpoint(path)?.data;
//! let model = Digits::from_checkpoint(path, &Device::default())?;
//!
//! let blank = Image::from_grey(data, &vec![0; data.side() * data.side()])?;
//! for probabilities in model.classify(&[blank]) {
//!     println!("{probabilities:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod hparams;
mod image;
mod model;

#[cfg(feature = "train")]
mod dataset;
#[cfg(feature = "train")]
mod steps;

#[cfg(feature = "train")]
pub use dataset::{Batch, ImageBatcher, LabelledImage, load};
pub use hparams::{Data, DigitsConfig, InvalidSetting};
pub use image::{Image, PixelCount, image_tensor};
pub use model::{CLASSES, Digits, probabilities};
