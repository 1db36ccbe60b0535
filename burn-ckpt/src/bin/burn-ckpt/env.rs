//! `burn-ckpt env`: the environment that a run on this machine would write to the metadata of its
//! checkpoints.

use std::io::ErrorKind;
use std::process::Command;

use burn_ckpt::plumbing::leaves;
use burn_environment::plumbing::gpus_from;
use burn_environment::{Environment, try_gpus};
use serde_json::Value;

use crate::terminal::figures::{count, exact_size, value};
use crate::terminal::output::{Output, say};
use crate::terminal::table::{Align, Table};
use crate::verb_result::{Failure, VerbResult};

/// Show the machine, the program and the job as a checkpoint saved now would have them in its metadata
///
/// Processors, memory, GPUs, packages, compiler, operating system, repository and scheduler. GPUs are
/// those that NVIDIA's driver lists and, if burn-ckpt is built with the feature wgpu or cuda, those that
/// burn's backends of these names find. A driver that does not answer within 10 seconds is given up. A dash
/// means that a value is unknown.
#[derive(clap::Args)]
pub struct Args {
    /// List all packages
    #[arg(long)]
    packages: bool,
    /// Print everything as JSON, as it is under "environment" in the metadata
    #[arg(long, conflicts_with = "packages")]
    json: bool,
    /// Print the GPUs alone, as one line of JSON: what this program asks another process of itself for
    #[arg(long, hide = true, conflicts_with_all = ["packages", "json"])]
    gpus: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let not_json = |error| Failure::Other(format!("the environment cannot be written as JSON: {error}"));
    let mut output = Output::new();
    if args.gpus {
        let Some(gpus) = try_gpus() else { return Ok(false) };
        output.line(serde_json::to_string(&gpus).map_err(not_json)?)?;
        output.flush()?;
        return Ok(true);
    }
    let environment = serde_json::to_value(collect()).map_err(not_json)?;
    if args.json {
        output.json(&environment)?;
    } else {
        print(&environment, args.packages, &mut output)?;
    }
    output.flush()?;
    Ok(true)
}

/// The environment. GPUs are asked for in another process: a driver can hang or crash, and one that hangs
/// while it is loaded would not let this process end.
fn collect() -> Environment {
    let mut environment = Environment::without_gpus();
    let listed = std::env::current_exe().and_then(|program| {
        let mut itself = Command::new(program);
        itself.args(["env", "--gpus"]);
        gpus_from(itself)
    });
    match listed {
        Ok(gpus) => {
            environment.hardware.gpu_count = Some(gpus.len() as u64);
            environment.hardware.gpu_devices = gpus;
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            say(
                "warning: the drivers of GPUs have not answered within 10 seconds and are given up: GPUs are unknown",
            );
        }
        Err(error) => say(format!("warning: the drivers of GPUs cannot be asked: {error}; GPUs are unknown")),
    }
    environment
}

fn print(environment: &Value, all_packages: bool, output: &mut Output) -> Result<(), Failure> {
    let mut is_first = true;
    let mut group = |heading: &str, rows: Vec<(String, String)>| {
        let blank = if std::mem::take(&mut is_first) { "" } else { "\n" };
        output.line(format!("{blank}{heading}"))?;
        let mut table = Table::without_heading([Align::Left, Align::Left]).wrapped();
        rows.into_iter().for_each(|(name, text)| table.row([name, text]));
        output.table(table, 2)
    };
    for (name, part) in environment.as_object().into_iter().flatten() {
        match (name.as_str(), part) {
            ("hardware", part) => {
                let mut machine = part.clone();
                let gpus = machine.as_object_mut().and_then(|machine| machine.shift_remove("gpu_devices"));
                group(name, value_rows(&machine))?;
                let gpus = gpus.as_ref().and_then(Value::as_array).into_iter().flatten();
                for (number, gpu) in (1..).zip(gpus) {
                    group(&format!("gpu {number}"), value_rows(&with_short_apis(gpu)))?;
                }
            }
            ("packages", Value::Array(packages)) => group(name, package_rows(packages, all_packages))?,
            (_, Value::Object(_)) => group(name, value_rows(part))?,
            // There is no repository or no job.
            _ => group(&format!("{name}  none"), Vec::new())?,
        }
    }
    Ok(())
}

/// Name and text of each value. The name of a nested value is its path.
fn value_rows(part: &Value) -> Vec<(String, String)> {
    leaves(part).into_iter().map(|(name, leaf)| (name.clone(), text(&name, leaf))).collect()
}

fn text(name: &str, leaf: &Value) -> String {
    match leaf {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().join(", "),
        leaf => match leaf.as_u64().filter(|_| name.ends_with("_bytes")) {
            Some(bytes) => exact_size(bytes),
            None => value(leaf),
        },
    }
}

/// The GPU with each interface as a text of name and version: `vulkan 1.3.230`.
fn with_short_apis(gpu: &Value) -> Value {
    let mut gpu = gpu.clone();
    for api in gpu.get_mut("apis").and_then(Value::as_array_mut).into_iter().flatten() {
        let words = [&api["name"], &api["version"]].into_iter().filter_map(Value::as_str);
        *api = Value::from(words.collect::<Vec<_>>().join(" "));
    }
    gpu
}

/// The number of packages and burn's version, or all packages.
fn package_rows(packages: &[Value], all: bool) -> Vec<(String, String)> {
    let mut rows = vec![("count".to_owned(), count(packages.len(), "package"))];
    let named = |package: &Value| (value(&package["name"]), text("", &package["version"]));
    let is_shown = |package: &&Value| all || package["name"] == "burn";
    rows.extend(packages.iter().filter(is_shown).map(named));
    rows
}
