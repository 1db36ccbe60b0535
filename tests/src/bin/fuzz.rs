//! `fuzz --minutes N`: changes real files by chance, and gives them to each reader of a file.
//!
//! `burn-ckpt` is found beside this program. Exit status: 0 nothing was found, 1 there are findings, 2 wrong
//! usage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use system_tests::fuzz::{Campaign, Share, Target, serve};

/// Change real files by chance, and read them: no panic, abort, hang or memory beyond the limits
#[derive(Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
struct Args {
    /// How long, all targets together
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    minutes: f64,
    /// Decides every file
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// One target: checkpoint, metadata, trainer-state, history, hparams, file-names, pickle, safetensors,
    /// shard-index
    #[arg(long, value_name = "NAME", value_parser = target)]
    target: Option<Target>,
    /// Where the files of findings are kept
    #[arg(long, value_name = "DIR", default_value = "fuzz-findings")]
    findings: PathBuf,
    /// Read one file of a finding again; takes --target
    #[arg(long, value_name = "FILE", requires = "target")]
    again: Option<PathBuf>,
    /// Read the file `input` of --directory for each line of standard input
    #[arg(long, value_name = "NAME", value_parser = target, hide = true, requires = "directory")]
    serve: Option<Target>,
    #[arg(long, value_name = "DIR", hide = true)]
    directory: Option<PathBuf>,
}

fn target(name: &str) -> Result<Target, String> {
    Target::named(name).ok_or_else(|| {
        let names: Vec<&str> = Target::ALL.into_iter().map(Target::name).collect();
        format!("the targets are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, String> {
    if let (Some(target), Some(directory)) = (args.serve, &args.directory) {
        return serve(target, directory).map(|()| ExitCode::SUCCESS);
    }
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let targets = args.target.map_or_else(|| Target::ALL.to_vec(), |target| vec![target]);
    let minutes = args.minutes / targets.len() as f64;
    let time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| format!("--minutes: {error}"))?;
    let campaign = Campaign {
        seed: args.seed,
        targets: &targets,
        share: Share::Time(time),
        programs: own.parent().unwrap_or(Path::new(".")),
        findings: &args.findings,
    };
    if let (Some(target), Some(file)) = (args.target, &args.again) {
        println!("{}", campaign.again(target, file)?);
        return Ok(ExitCode::SUCCESS);
    }
    let report = campaign.run()?;
    println!("{report}");
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
