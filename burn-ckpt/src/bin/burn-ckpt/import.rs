//! `burn-ckpt import`.

use crate::{Answer, Failure};

/// Make a checkpoint of a safetensors file or a PyTorch file
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
