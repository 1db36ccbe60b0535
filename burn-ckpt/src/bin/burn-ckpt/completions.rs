//! `burn-ckpt completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::output::Output;
use crate::{Answer, Cli};

/// Print what a shell needs to complete the command line
///
/// In ~/.bashrc: eval "$(burn-ckpt completions bash)"
/// For fish:     burn-ckpt completions fish > ~/.config/fish/completions/burn-ckpt.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "burn-ckpt", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.flush()?;
    Ok(true)
}
