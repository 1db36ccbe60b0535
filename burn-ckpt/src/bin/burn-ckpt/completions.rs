//! `burn-ckpt completions`.

use crate::{Answer, Failure};

/// Print what a shell needs to complete the command line
#[derive(clap::Args)]
pub struct Args {}

/// Not written yet.
pub fn run(_args: &Args) -> Answer {
    Err(Failure::Other("not written yet".to_owned()))
}
