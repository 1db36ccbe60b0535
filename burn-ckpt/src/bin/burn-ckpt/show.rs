//! `burn-ckpt show`.

use crate::{Answer, Failure};

/// Show what is in a checkpoint
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
