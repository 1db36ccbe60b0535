//! A checkpoint's origin in short: the part of `show` that comes from the metadata.

use burn_ckpt::Metadata;
use burn_ckpt::metadata::RunStart;
use burn_ckpt::plumbing::{SettingChange, changes_of};
use jiff::Timestamp;
use serde_json::Value;

use crate::contents::Contents;
use crate::show::averages;
use crate::tag::run_tags::RunTags;
use crate::terminal::figures::{age, count, exact_size, grouped, moment, number, size, span};

/// How many digits of a commit are shown.
const COMMIT_DIGITS: usize = 12;

/// A name and a text for each thing that is known about the checkpoint.
pub fn rows(contents: &Contents, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let Ok(metadata) = &contents.metadata else {
        rows.extend(progress_of(&contents.trainer_state));
        rows.push(("size", size_of(contents)));
        return rows;
    };
    rows.push(("run", run(metadata)));
    let RunTags { tags, notes } = &contents.tags;
    rows.extend((!tags.is_empty()).then(|| ("tags", tags.join(", "))));
    rows.extend(notes.as_ref().map(|notes| ("notes", notes.clone())));
    let saved = metadata.checkpoint_timestamp;
    rows.push(("saved", format!("{}, {} ago, as {}", moment(saved), age(saved, now), metadata.reason)));
    let averages = contents.sections.iter();
    let averages = averages.filter_map(|part| averages::of_section(&part.name, &part.section));
    rows.extend(averages.map(|average| ("average", average)));
    rows.push(("epoch", format!("{} (counted from 0)", metadata.epoch)));
    rows.push(("step", metadata.global_step.to_string()));
    let trained = span(metadata.training_time_seconds);
    rows.push(("trained", format!("{trained}, since {}", moment(metadata.start_timestamp))));
    rows.extend(speed(&metadata.speed).map(|speed| ("speed", speed)));
    rows.extend(model(&metadata.model).map(|model| ("model", model)));
    if let Some(last) = metadata.starts.last() {
        let from = last.resumed_from.as_deref().map_or_else(String::new, |from| format!(", from {from}"));
        rows.push((
            "starts",
            format!("{}, the last {}{from}", metadata.starts.len(), moment(last.timestamp)),
        ));
    }
    rows.extend(changes(&metadata.starts).into_iter().map(|change| ("changed", change)));
    rows.extend(ended(&contents.trainer_state).map(|ended| ("ended", ended)));
    let metrics: Vec<String> =
        metadata.metrics.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
    rows.push(("metrics", if metrics.is_empty() { "none".to_owned() } else { metrics.join("  ") }));
    if let Some(found) = metadata.found_non_finite() {
        rows.push((
            "not finite",
            format!("it has {found}: it is not resumed by auto, and is never the best"),
        ));
    }
    rows.push(("size", size_of(contents)));
    let checksum = match metadata.checkpoint_checksum.as_str() {
        "" => "the digests in the file (burn-ckpt verify prints its SHA-256)".to_owned(),
        known => known.to_owned(),
    };
    rows.push(("checksum", checksum));
    rows.extend(environment(&metadata.environment));
    rows
}

/// The size of the checkpoint, and in how many files it is.
fn size_of(contents: &Contents) -> String {
    match contents.checkpoint.files().len() {
        1 => exact_size(contents.bytes),
        files => format!("{}, in {}", exact_size(contents.bytes), count(files, "file")),
    }
}

fn run(metadata: &Metadata) -> String {
    let named = |what: &str, value: &Option<String>| match value {
        Some(value) => format!(", {what} {value:?}"),
        None => String::new(),
    };
    let id = if metadata.run_id.is_empty() { "none" } else { &metadata.run_id };
    format!("{id}{}{}", named("called", &metadata.name), named("of the project", &metadata.project))
}

/// What each start changed, as far as it changed something.
fn changes(starts: &[RunStart]) -> Vec<String> {
    let in_words = |(start, changes): (&RunStart, Vec<SettingChange>)| {
        let changed: Vec<String> = changes.iter().map(SettingChange::in_words).collect();
        let (when, step) = (moment(start.timestamp), start.global_step);
        (!changed.is_empty()).then(|| format!("by the start {when}, at step {step}: {}", changed.join(", ")))
    };
    starts.iter().zip(changes_of(starts)).filter_map(in_words).collect()
}

/// How fast the run trained, which is JSON in any form.
fn speed(speed: &Value) -> Option<String> {
    let steps = speed["steps_per_second"].as_f64()?;
    let items = speed["items_per_second"].as_f64().map(|rate| format!("{} items/s, ", number(rate)));
    let percent = |key: &str| 100.0 * speed[key].as_f64().unwrap_or_default();
    let (items, steps) = (items.unwrap_or_default(), number(steps));
    let (data, saves) = (percent("data_share"), percent("save_share"));
    Some(format!("{items}{steps} steps/s; {data:.0} % of the time waiting for data, {saves:.0} % for saves"))
}

/// What the model consists of, in short.
fn model(model: &Value) -> Option<String> {
    let [parameters, trainable, bytes] =
        ["parameters", "trainable", "bytes"].map(|key| model[key].as_u64().unwrap_or_default());
    let kind = model["type"].as_str()?;
    let trained = match trainable == parameters {
        true => String::new(),
        false => format!(", {} of them trained", grouped(trainable as usize)),
    };
    Some(format!("{kind}: {} parameters{trained}, {}", grouped(parameters as usize), size(bytes)))
}

/// How the start that saved the checkpoint ended, if it was saved because of that.
fn ended(trainer_state: &Value) -> Option<String> {
    let ended = trainer_state["ended"].as_str()?.to_owned();
    Some(match trainer_state["ended_because"].as_str() {
        Some(reason) => format!("{ended}, {reason}"),
        None => ended,
    })
}

/// Epoch and step from the training loop's state, for a file without metadata.
fn progress_of(trainer_state: &Value) -> Vec<(&'static str, String)> {
    [("epoch", "epoch"), ("step", "global_step")]
        .into_iter()
        .filter_map(|(name, key)| Some((name, trainer_state[key].as_u64()?.to_string())))
        .collect()
}

/// Those of the environment, which is JSON in any form: missing values, and values of other types, are
/// left out.
fn environment(environment: &Value) -> Vec<(&'static str, String)> {
    let (hardware, os, git) = (&environment["hardware"], &environment["os"], &environment["git"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let joined = |parts: Vec<Option<String>>| parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let mut rows = Vec::new();

    let system = [text(&os["name"]), text(&os["version"])].into_iter().flatten().collect::<Vec<_>>();
    let system = (!system.is_empty()).then(|| system.join(" "));
    rows.push(("host", joined(vec![text(&os["hostname"]), system])));

    let cores = hardware["cpu_count"].as_u64().map(|cores| count(cores as usize, "core"));
    let memory = hardware["memory_bytes"].as_u64().map(size);
    rows.push(("cpu", joined(vec![text(&hardware["cpu_model"]), cores, memory])));

    let devices = hardware["gpu_devices"].as_array();
    if let Some(devices) = devices {
        let names: Vec<String> = devices.iter().map(|device| name_of_gpu(device, &text)).collect();
        rows.push(("gpu", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
    }

    let used = hardware["devices_used"].as_array();
    let used = used.map(|used| used.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
    rows.push(("devices", used.unwrap_or_default()));

    let commit = text(&git["commit"]).map(|commit| commit.chars().take(COMMIT_DIGITS).collect());
    let is_dirty = git["dirty"].as_bool().map(|dirty| if dirty { "with changes" } else { "clean" });
    rows.push(("git", joined(vec![text(&git["branch"]), commit, is_dirty.map(str::to_owned)])));

    let packages = environment["packages"].as_array().filter(|packages| !packages.is_empty());
    let burn = packages.and_then(|packages| {
        let burn = packages.iter().find(|package| package["name"] == "burn")?;
        Some(format!("burn {}", burn["version"].as_str()?))
    });
    let number = packages.map(|packages| count(packages.len(), "package"));
    let profile = text(&environment["rust"]["profile"]).map(|profile| format!("{profile} build"));
    rows.push(("built with", joined(vec![burn, number, text(&environment["rust"]["version"]), profile])));

    for (name, key) in [("slurm", "slurm"), ("lsf", "lsf")] {
        if let Some(job) = environment[key]["job_id"].as_str() {
            rows.push((name, format!("job {job}")));
        }
    }
    rows.retain(|(_, text)| !text.is_empty());
    rows
}

fn name_of_gpu(device: &Value, text: &dyn Fn(&Value) -> Option<String>) -> String {
    text(&device["name"]).or_else(|| text(device)).unwrap_or_else(|| "a GPU without a name".to_owned())
}
