//! `burn-ckpt diff`.

use crate::{Answer, Failure};

/// Compare two checkpoints
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
