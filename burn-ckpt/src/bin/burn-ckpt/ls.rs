//! `burn-ckpt ls`.

use crate::{Answer, Failure};

/// List the checkpoints of a run
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
