//! `burn-ckpt ls`: the checkpoints of a run, or of several, as a table.

pub mod broken;
pub mod columns;
pub mod listing;
pub mod listings_of;
pub mod metric_mode;
pub mod metrics;
pub mod not_whole;
mod shortened;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn_ckpt::chain;
use burn_ckpt::plumbing::{CHECKPOINT_DIR, LaterTags};
use burn_ckpt::{Error, Metadata};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ls::broken::{Broken, is_damage};
use crate::ls::columns::checkpoint_table;
use crate::ls::listing::{Listing, Row, is_without_metadata, reason};
use crate::ls::listings_of::listings;
use crate::ls::metrics::{check_metrics, metrics_of};
use crate::ls::not_whole::NotWhole;
use crate::ls::shortened::{are_many, shown_rows, table_of_runs};
use crate::metrics::json::json_metrics;
use crate::tag::run_tags::{RunTags, unknown_tag};
use crate::terminal::figures::{age, count, grouped, number, size};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::in_one_line;
use crate::terminal::table::{Cell, Table, Tone};
use crate::verb_result::{Failure, VerbResult};

/// In a row.
const DAMAGED: &str = "damaged";

/// List the checkpoints of a run, oldest first
///
/// Prints one line per file: epoch (counted from 0), optimizer step, metrics, size, age, the links that
/// point to it, and its state: "whole" where its size is right ("burn-ckpt verify" reads the bytes), else
/// "damaged", and "not finite" where a parameter was NaN or infinite when it was saved. In a directory of
/// several runs, each is listed; where that takes more than 50 lines, each run has one line, and a run of
/// more than 50 checkpoints shows the newest and those that stand out. A run that cannot be read is named
/// on standard error, and the others are listed. Exit status 1 then, if a checkpoint is damaged, if a link
/// leads to a missing file, and if there is no checkpoint. Unfinished files are counted on standard error.
#[derive(clap::Args)]
pub struct Args {
    /// A run's directory, a directory of runs, or one with .ckpt files
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The metrics to show, or "all"; by default, the primary metric and two of the validation split
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    metrics: Vec<String>,
    /// List only checkpoints of runs with this tag; may be repeated, and all are needed then
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// List all checkpoints, however many there are
    #[arg(long)]
    all: bool,
    /// Print JSON: all checkpoints, with all metrics
    #[arg(long, conflicts_with_all = ["metrics", "all"])]
    json: bool,
}

pub fn run(args: &Args) -> VerbResult {
    #[cfg(feature = "mirror")]
    if let Some(address) = crate::mirror::address_of(&args.directory)? {
        if !args.tag.is_empty() {
            let message = "--tag is not for addresses: what a mirror says of a checkpoint has no tags";
            return Err(Failure::Usage(message.to_owned()));
        }
        // It lists all checkpoints, also without --all.
        return crate::mirror::ls::run(&address, &args.metrics, args.json);
    }
    let mut listings = listings(&args.directory)?;
    keep_tagged(&mut listings, &args.tag)?;
    let metadata = listings.iter().flat_map(|listing| &listing.rows).filter_map(|row| row.metadata.as_ref());
    check_metrics(&args.metrics, metadata.flat_map(|metadata| metadata.metrics.keys()))?;
    let mut output = Output::new();
    if args.json {
        output.json(&listings.iter().map(listing_json).collect())?;
    } else {
        print(&listings, args, &mut output)?;
    }
    output.flush()?;
    listings.iter().filter(|listing| !listing.unfinished.is_empty()).for_each(say_unfinished);
    let unreadable: Vec<&Error> = listings.iter().flat_map(|listing| &listing.unreadable).collect();
    unreadable.iter().for_each(|error| say(format!("error: {}", chain(*error))));
    let not_whole = not_whole(&listings, &args.directory);
    not_whole.iter().for_each(say);
    Ok(unreadable.is_empty() && not_whole.is_none())
}

/// The line that says how many checkpoints are not whole, how many links lead to none, and what to do. `None`
/// where all is well.
fn not_whole(listings: &[Listing], directory: &Path) -> Option<String> {
    let mut all = NotWhole::default();
    listings.iter().for_each(|listing| all += NotWhole::of(listing));
    let said = all.in_words()?;
    let directory = in_one_line(&directory.display().to_string());
    // Those that prune removes.
    let is_damaged =
        |broken: &Broken<'_>| broken.why_kept.is_none() && broken.row.problem.as_ref().is_some_and(is_damage);
    // prune leaves a run of which nothing whole would stay.
    let has_whole = |listing: &Listing| listing.rows.iter().any(|row| row.problem.is_none());
    let has_damaged = |listing: &&Listing| has_whole(listing) && Broken::of(listing).iter().any(is_damaged);
    let removes = match listings.iter().filter(has_damaged).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        [one] if one.directory.ends_with(CHECKPOINT_DIR) => {
            let run = one.directory.parent().map(Path::display).map(|run| in_one_line(&run.to_string()));
            format!(
                ", and burn-ckpt prune {} --broken removes damaged files, and the links to them",
                run.unwrap_or_default()
            )
        }
        _ => ", and burn-ckpt prune RUN --broken removes damaged files of a run, and the links to them"
            .to_owned(),
    };
    Some(format!("error: {said}: burn-ckpt verify {directory} says what is wrong{removes}"))
}

fn print(listings: &[Listing], args: &Args, output: &mut Output) -> Result<(), Failure> {
    let now = Timestamp::now();
    // The summary has no place for the metrics that a user names.
    if !args.all && args.metrics.is_empty() && are_many(listings) {
        let table = table_of_runs(listings, now);
        let runs = count(table.len(), "run");
        output.table(table, 0)?;
        output.flush()?;
        say(format!(
            "note: {runs}, a line each: --all lists their checkpoints, and burn-ckpt runs {} says how the runs did",
            args.directory.display()
        ));
        return Ok(());
    }
    for (place, listing) in listings.iter().filter(|listing| !listing.is_empty()).enumerate() {
        if listings.len() > 1 {
            let name = in_one_line(&listing.name);
            output.line(format!("{}{name}:", if place > 0 { "\n" } else { "" }))?;
        }
        let rows = shown_rows(listing, args.all);
        let more = listing.rows.len() - rows.len();
        output.table(table(listing, &rows, &args.metrics, now), 0)?;
        if more > 0 {
            output.line(format!("and {} older (--all)", grouped(more)))?;
        }
    }
    Ok(())
}

/// Keeps the checkpoints whose runs have all of these tags.
fn keep_tagged(listings: &mut Vec<Listing>, wanted: &[String]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut there = BTreeSet::new();
    for Listing { rows, tags, dangling, .. } in listings.iter_mut() {
        rows.retain(|row| {
            let tags = row.metadata.as_ref().map(|metadata| tags_of(metadata, tags)).unwrap_or_default();
            there.extend(tags.iter().cloned());
            wanted.iter().all(|tag| tags.contains(tag))
        });
        dangling.clear();
    }
    listings.retain(|listing| !listing.is_empty() || !listing.unreadable.is_empty());
    if listings.iter().any(|listing| !listing.is_empty()) {
        return Ok(());
    }
    Err(unknown_tag("checkpoint", wanted, there))
}

/// The tags of the run that saved a checkpoint.
fn tags_of(metadata: &Metadata, later: &LaterTags) -> Vec<String> {
    RunTags::new(&metadata.trainer_config, later).tags
}

/// Says how many unfinished files there are, and what removes them.
fn say_unfinished(listing: &Listing) {
    let bytes = listing.unfinished.iter().map(|(_, bytes)| bytes).sum();
    say(format!(
        "note: {} has {} of saves in progress or of killed processes, {}: the next start of the run removes the latter, and so does \
         burn-ckpt prune",
        listing.name,
        count(listing.unfinished.len(), "unfinished file"),
        size(bytes)
    ));
}

fn table(listing: &Listing, rows: &[&Row], wanted: &[String], now: Timestamp) -> Table {
    let metrics = metrics_of(listing, wanted);
    let mut table = checkpoint_table(&metrics);
    for row in rows {
        let metadata = row.metadata.as_ref();
        let fact = |of: &dyn Fn(&Metadata) -> String| metadata.map(of).unwrap_or_default();
        let mut cells = vec![
            listing.shown(&row.path),
            fact(&|metadata| metadata.epoch.to_string()),
            fact(&|metadata| metadata.global_step.to_string()),
        ];
        cells.extend(metrics.iter().map(|metric| {
            fact(&|metadata| metadata.metrics.get(metric).copied().map_or_else(String::new, number))
        }));
        cells.extend([size(row.bytes), age(row.saved(), now)]);
        let is_sound = row.problem.is_none() && metadata.is_none_or(|metadata| metadata.is_finite());
        let links = Cell::new(row.links.join(" "), Tone::Good);
        let state = Cell::new(state(row), if is_sound { Tone::Plain } else { Tone::Bad });
        table.row(cells.into_iter().map(Cell::from).chain([links, state]));
    }
    for link in &listing.dangling {
        let mut cells = vec![listing.shown(&link.path)];
        cells.resize(table.columns() - 1, String::new());
        let state = format!("points to a missing file: {}", link.target.display());
        table.row(cells.into_iter().map(Cell::from).chain([Cell::new(state, Tone::Bad)]));
    }
    table
}

/// Whether a file is complete, in a few words for a table.
fn state(row: &Row) -> String {
    match (&row.problem, &row.metadata) {
        (None, Some(metadata)) if !metadata.is_finite() => "whole, not finite".to_owned(),
        (None, _) => "whole".to_owned(),
        (Some(Error::Checksum { .. }), Some(metadata)) => {
            format!("{DAMAGED}: {} of {} bytes", row.bytes, metadata.total_bytes())
        }
        (Some(Error::Metadata { .. }), _) => format!("{DAMAGED}: invalid metadata"),
        (Some(error), _) if is_without_metadata(error) => "no metadata".to_owned(),
        (Some(error @ Error::NotACheckpoint { path, .. }), _) if *path == row.path => {
            format!("{DAMAGED}: it is not a checkpoint: {}", reason(error))
        }
        (Some(error), _) if is_damage(error) => format!("{DAMAGED}: {}", reason(error)),
        (Some(error), _) => reason(error),
    }
}

fn listing_json(listing: &Listing) -> Value {
    let rows: Vec<Value> = listing.rows.iter().map(|row| row_json(listing, row)).collect();
    let dangling: Vec<Value> = listing
        .dangling
        .iter()
        .map(|link| json!({ "link": listing.shown(&link.path), "target": link.target.display().to_string() }))
        .collect();
    json!({
        "run": listing.name,
        "directory": listing.directory.display().to_string(),
        "checkpoints": rows,
        "dangling_links": dangling,
        "unfinished": listing.unfinished_json(),
        "unreadable": listing.unreadable.iter().map(|error| chain(error)).collect::<Vec<_>>(),
    })
}

fn row_json(listing: &Listing, row: &Row) -> Value {
    let metadata = row.metadata.as_ref();
    json!({
        "file": listing.shown(&row.path),
        "path": row.path.display().to_string(),
        "links": row.links,
        "whole": row.problem.is_none(),
        "problem": row.problem.as_ref().map(reason),
        "size_bytes": row.bytes,
        "non_finite": metadata.and_then(|metadata| metadata.non_finite.as_ref()),
        "run_id": metadata.map(|metadata| &metadata.run_id),
        "checkpoint_timestamp": metadata.map(|metadata| metadata.checkpoint_timestamp),
        "epoch": metadata.map(|metadata| metadata.epoch),
        "global_step": metadata.map(|metadata| metadata.global_step),
        "metrics": metadata.map(|metadata| json_metrics(&metadata.metrics)),
        "reason": metadata.map(|metadata| &metadata.reason),
        "tags": metadata.map(|metadata| tags_of(metadata, &listing.tags)),
        "notes": metadata.map(|metadata| RunTags::new(&metadata.trainer_config, &listing.tags).notes),
        "checkpoint_checksum": metadata.map(|metadata| &metadata.checkpoint_checksum),
    })
}
