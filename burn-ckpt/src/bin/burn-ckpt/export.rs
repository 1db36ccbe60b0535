//! `burn-ckpt export`.

use crate::{Answer, Failure};

/// Write a checkpoint's tensors as safetensors
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
