//! Tells two spirals apart: the model, and, with the feature `train`, what trains it.
//!
//! | file | has | with `train` only |
//! |---|---|---|
//! | `model.rs` | the model and its hyperparameters | |
//! | `data.rs` | the points to train on, and their batches | x |
//! | `steps.rs` | a training step and a validation step | x |
//! | `bin/train.rs` | the training program | x |
//! | `bin/predict.rs` | a program that uses a checkpoint | |

#[cfg(feature = "train")]
pub mod data;
pub mod model;
#[cfg(feature = "train")]
mod steps;
