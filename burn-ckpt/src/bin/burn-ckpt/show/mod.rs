//! `burn-ckpt show`: a checkpoint's origin and contents.

pub mod averages;
mod origin;

use std::path::PathBuf;

use burn_ckpt::plumbing::leaves;
use burn_ckpt::{Checkpoint, Section, TensorLayout};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::contents::{Contents, Part, scalar};
use crate::terminal::figures::{count, grouped, size, value};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::terminal::table::{Align, Table};
use crate::trainer_settings::of_training;
use crate::verb_result::{Failure, VerbResult};

/// How many tensors are shown by default.
const SHOWN_TENSORS: usize = 40;

/// Show what is in a checkpoint
///
/// Metadata, environment, hyperparameters, the trainer's settings (those that are set; --all: all of them),
/// sections, and the model's tensors. Reads only the header, and verifies nothing. For a file without
/// metadata, a warning is printed on standard error, and the rest is shown.
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint: a file, a link, RUN/best, RUN/last
    #[arg(value_name = "CKPT")]
    checkpoint: PathBuf,
    /// Show all of the model's tensors
    #[arg(long)]
    tensors: bool,
    /// Show the tensors of all sections, the scalars, and all of the trainer's settings
    #[arg(long)]
    all: bool,
    /// Print everything as JSON
    #[arg(long, conflicts_with_all = ["tensors", "all"])]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    let contents = Contents::of(Checkpoint::open(&args.checkpoint)?)?;
    let problem = contents.problem();
    problem.iter().for_each(|problem| say(format!("warning: {}", problem.text)));
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(&contents)?)?;
    } else {
        print(&contents, args, &mut output)?;
    }
    output.flush()?;
    Ok(problem.is_none_or(|problem| !problem.is_damage))
}

fn print(contents: &Contents, args: &Args, output: &mut Output) -> Result<(), Failure> {
    output.line(in_one_line(&contents.checkpoint.path().display().to_string()))?;
    output.line("")?;
    let mut table = Table::without_heading([Align::Left, Align::Left]).wrapped();
    for (name, text) in origin::rows(contents, Timestamp::now()) {
        table.row([name.to_owned(), text]);
    }
    output.table(table, 2)?;

    output.line("\nhyperparameters")?;
    output.table(pairs(&contents.hparams), 2)?;

    if let Ok(metadata) = &contents.metadata {
        let mut settings = of_training(&metadata.trainer_config);
        settings.retain(|_, setting| args.all || is_set(setting));
        if !settings.is_empty() {
            output.line("\ntrainer settings")?;
            let mut table = Table::without_heading([Align::Left, Align::Left]).wrapped();
            settings.iter().for_each(|(name, setting)| table.row([name.clone(), value(setting)]));
            output.table(table, 2)?;
        }
    }

    output.line("\nsections")?;
    let columns = [("name", Align::Left), ("tensors", Align::Right), ("size", Align::Right)];
    let mut sections = Table::new(&[&columns[..], &[("scalars", Align::Right)]].concat());
    for part in &contents.sections {
        let (tensors, scalars) = (grouped(part.tensors.len()), grouped(part.section.scalars.len()));
        sections.row([part.name.clone(), tensors, size(part.bytes()), scalars]);
    }
    output.table(sections, 2)?;

    let limit = if args.tensors || args.all { usize::MAX } else { SHOWN_TENSORS };
    for part in contents.sections.iter().filter(|part| args.all || part.name == Section::MODEL) {
        print_tensors(part, limit, output)?;
        if args.all {
            print_scalars(part, output)?;
        }
    }
    Ok(())
}

/// Whether a setting is there to say something: most say nothing by being null, false or empty.
fn is_set(setting: &Value) -> bool {
    !matches!(setting, Value::Null | Value::Bool(false))
        && setting.as_array().is_none_or(|list| !list.is_empty())
}

fn print_tensors(part: &Part, limit: usize, output: &mut Output) -> Result<(), Failure> {
    if part.tensors.is_empty() {
        return Ok(());
    }
    let is_model = part.name == Section::MODEL;
    let elements = part.tensors.iter().map(|tensor| tensor.elements());
    let total = elements.fold(0, usize::saturating_add);
    let layout = match part.section.layout()? {
        TensorLayout::Burn => String::new(),
        layout => format!(", laid out for {}", layout.name()),
    };
    output.line(format!(
        "\n{}: {}, {} numbers{layout}",
        part.name,
        count(part.tensors.len(), "tensor"),
        grouped(total)
    ))?;
    let mut columns = vec![("name", Align::Left)];
    if is_model {
        columns.push(("module", Align::Left));
    }
    columns.extend([("dtype", Align::Left), ("shape", Align::Left), ("numbers", Align::Right)]);
    let mut table = Table::new(&columns);
    for tensor in part.tensors.iter().take(limit) {
        let mut cells = vec![tensor.name.clone()];
        if is_model {
            cells.push(tensor.module.clone().unwrap_or_default());
        }
        cells.extend([tensor.dtype.clone(), format!("{:?}", tensor.shape), grouped(tensor.elements())]);
        table.row(cells);
    }
    output.table(table, 2)?;
    match part.tensors.len().saturating_sub(limit) {
        0 => Ok(()),
        more => output.line(format!("  and {} more (--tensors)", grouped(more))),
    }
}

fn print_scalars(part: &Part, output: &mut Output) -> Result<(), Failure> {
    if part.section.scalars.is_empty() {
        return Ok(());
    }
    output.line(format!("\n{}: {}", part.name, count(part.section.scalars.len(), "scalar")))?;
    let mut table = Table::without_heading([Align::Left, Align::Right]);
    for (name, number) in &part.section.scalars {
        table.row([name.clone(), scalar(number).to_string()]);
    }
    output.table(table, 2)
}

/// A JSON value as a table of names and values.
fn pairs(json: &Value) -> Table {
    let mut table = Table::without_heading([Align::Left, Align::Left]).wrapped();
    for (path, leaf) in leaves(json) {
        let name = if path.is_empty() { "(all)".to_owned() } else { path };
        table.row([name, value(leaf)]);
    }
    table
}

fn as_json(contents: &Contents) -> Result<Value, Failure> {
    let sections = contents.sections.iter().map(section_json).collect::<Result<Vec<Value>, Failure>>()?;
    Ok(json!({
        "path": contents.checkpoint.path().display().to_string(),
        "size_bytes": contents.bytes,
        "metadata": contents.metadata_json,
        "tags": contents.tags.tags,
        "notes": contents.tags.notes,
        "hparams": contents.hparams,
        "trainer_state": contents.trainer_state,
        "sections": sections,
    }))
}

fn section_json(part: &Part) -> Result<Value, Failure> {
    let tensors: Vec<Value> = part
        .tensors
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "module": tensor.module,
                "dtype": tensor.dtype,
                "shape": tensor.shape,
                "size_bytes": tensor.bytes,
                "blake3": tensor.blake3,
            })
        })
        .collect();
    let scalars: serde_json::Map<String, Value> =
        part.section.scalars.iter().map(|(name, value)| (name.clone(), scalar(value))).collect();
    let layout = part.section.layout()?.name();
    Ok(json!({ "name": part.name, "layout": layout, "tensors": tensors, "scalars": scalars }))
}
