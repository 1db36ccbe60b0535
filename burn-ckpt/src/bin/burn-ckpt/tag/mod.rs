//! `burn-ckpt tag`: gives a run tags and notes after it was trained.

pub mod run_tags;

use std::path::PathBuf;

use burn_ckpt::plumbing::{LaterTags, check_tag, is_directory};
use burn_ckpt::{Error, RunLayout};
use serde_json::{Value, json};

use crate::ls::listing::Listing;
use crate::runs::run_directory::run_in;
use crate::tag::run_tags::{RunTags, configured_tags};
use crate::terminal::output::Output;
use crate::terminal::printable::in_one_line;
use crate::verb_result::{Failure, VerbResult};

/// Tag a run, or write notes about it
///
/// Tags and notes are kept in tags.json in the run's directory; no checkpoint is written again. They add to
/// those that the run was started with. A tag KEY=VALUE takes the place of an earlier value of KEY. Without
/// anything to change, the tags are printed. burn-ckpt runs, show and ls --tag know them.
#[derive(clap::Args)]
pub struct Args {
    /// The run's directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Tags to add: any text, or KEY=VALUE
    #[arg(value_name = "TAG")]
    tags: Vec<String>,
    /// A tag to remove; may be repeated
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
    /// Notes in place of the present ones; "" for none
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    args.tags.iter().try_for_each(|tag| check_tag(tag))?;
    let layout = run_in(&args.run)?;
    let config = newest_config(&layout)?;
    let changes = !args.tags.is_empty() || !args.remove.is_empty() || args.notes.is_some();
    // Asking changes nothing, and creates no file.
    let lock = changes.then(|| LaterTags::lock(layout.run_dir())).transpose()?;
    let mut later = LaterTags::read(layout.run_dir())?;
    let before = later.clone();
    let configured = configured_tags(&config);
    for tag in &args.remove {
        let present = RunTags::new(&config, &later).tags;
        if !present.contains(tag) {
            let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
            return Err(Failure::Other(format!(
                "{} does not have the tag {tag:?}; its tags are {present}",
                args.run.display()
            )));
        }
        later.remove(tag, &configured);
    }
    args.tags.iter().for_each(|tag| later.add(tag, &configured));
    if let Some(notes) = &args.notes {
        let is_configured = config["notes"].as_str().unwrap_or_default() == notes;
        later.notes = (!is_configured).then(|| notes.clone());
    }
    if later != before {
        later.write(layout.run_dir())?;
    }
    drop(lock);
    let RunTags { tags, notes } = RunTags::new(&config, &later);
    let mut output = Output::new();
    if args.json {
        output.json(&json!({ "run": layout.run_id(), "tags": tags, "notes": notes }))?;
    } else {
        let tags = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
        output.line(format!("tags   {}", in_one_line(&tags)))?;
        output.line(format!("notes  {}", in_one_line(notes.as_deref().unwrap_or("none"))))?;
    }
    output.flush()?;
    Ok(true)
}

/// The trainer's configuration in the newest checkpoint. Null without one.
fn newest_config(layout: &RunLayout) -> Result<Value, Error> {
    if !is_directory(&layout.checkpoint_dir())? {
        return Ok(Value::Null);
    }
    let rows = Listing::of_run(layout)?.rows;
    let metadata = rows.into_iter().rev().find_map(|row| row.metadata);
    Ok(metadata.map_or(Value::Null, |metadata| metadata.trainer_config))
}
