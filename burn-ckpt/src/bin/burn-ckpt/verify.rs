//! `burn-ckpt verify`.

use crate::{Answer, Failure};

/// Read checkpoints whole and compare them with their digests
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
