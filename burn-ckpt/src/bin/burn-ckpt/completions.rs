//! `burn-ckpt completions`: a script with which a shell completes the command line.

use clap::Command;
use clap_complete::Shell;

use crate::terminal::output::Output;
use crate::verb_result::VerbResult;

/// Print a script with which a shell completes the command line
///
/// In ~/.bashrc: eval "$(burn-ckpt completions bash)"
/// For fish:     burn-ckpt completions fish > ~/.config/fish/completions/burn-ckpt.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, program: &mut Command) -> VerbResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, program, "burn-ckpt", &mut script);
    let mut output = Output::new();
    output.bytes(&script)?;
    output.flush()?;
    Ok(true)
}
