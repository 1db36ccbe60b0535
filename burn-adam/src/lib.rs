//! burn's Adam and AdamW, whose update on the CPU is one pass over memory.
//!
//! burn's update is a dozen operations on tensors. On the CPU each of them goes over all elements, on one
//! thread, and half of them write a tensor that the next one reads. [`OnePass`] does the same operations,
//! in the same order, element by element: the bits are the same, each number is read and written once, and
//! all threads take part.
//!
//! A crate of its own, so that a development profile can optimise these loops and nothing else:
//!
//! ```toml
//! [profile.dev.package]
//! burn-adam.opt-level = 3
//! ```

mod element;
mod memory;
mod one_pass;

pub use one_pass::{AdamFamily, OnePass};
