//! `burn-ckpt rm` of an address: removes a run in a mirror, and only what is the run's.

use burn_ckpt::chain;
use burn_ckpt::mirror::{MirrorAddress, MirroredRun, Removed, RunMirror, Store, Writer};
use serde_json::json;

use crate::mirror::{check_has_no_runs, writable_run};
use crate::terminal::confirm::is_confirmed;
use crate::terminal::figures::{count, size};
use crate::terminal::output::{Output, say};
use crate::terminal::printable::first_names;
use crate::verb_result::{Failure, VerbResult};

/// What the command line says beside the address.
#[derive(Clone, Copy)]
pub struct How {
    pub yes: bool,
    pub dry_run: bool,
    pub json: bool,
}

/// Removes a run of an address while its lease is held, if what is there then is what was found before.
pub fn run(address: &MirrorAddress, how: How) -> VerbResult {
    let (mirror, run) = writable_run(address)?;
    let (found, _) = run.own_objects();
    if found.checkpoints.is_empty() {
        check_has_no_runs(address)?;
    }
    if how.dry_run {
        report(address, &run, &found, how)?;
        return Ok(true);
    }
    if !how.yes && !is_confirmed(&in_words(&found, &run), &address.to_string())? {
        say("nothing is removed");
        return Ok(false);
    }
    let (store, writer) = (Store::connect(&mirror)?, Writer::of_this_process());
    let (mirror, run) = RunMirror::open_and_read(&store, run.run_id(), &writer)?;
    let (now, _) = run.own_objects();
    if !how.yes && now != found {
        mirror.close()?;
        let now = in_words(&now, &run);
        return Err(Failure::Other(format!(
            "nothing is removed: {address} has changed since the question was asked, and has {now} now"
        )));
    }
    let mut removed = Removed::default();
    let outcome = mirror.remove_run(&mut removed);
    // What was removed before an error is gone, and is printed.
    report(address, &run, &removed, how)?;
    outcome.map(|()| true).map_err(|error| {
        Failure::Other(format!("{address} is not removed as a whole: {}; remove it again", chain(&error)))
    })
}

/// What of a run is to be removed, in words.
fn in_words(found: &Removed, run: &MirroredRun) -> String {
    let checkpoints = count(found.checkpoints.len(), "checkpoint");
    let objects = usize::try_from(found.objects).unwrap_or(usize::MAX);
    format!("{checkpoints} of the run {}, {}, {}", run.run_id(), count(objects, "object"), size(found.bytes))
}

fn report(address: &MirrorAddress, run: &MirroredRun, removed: &Removed, how: How) -> Result<(), Failure> {
    let (_, left) = run.own_objects();
    let mut output = Output::new();
    if how.json {
        output.json(&json!({
            "run": run.run_id(),
            "directory": address.to_string(),
            "dry_run": how.dry_run,
            "checkpoints": removed.checkpoints,
            "objects": removed.objects,
            "size_bytes": removed.bytes,
            "left": left,
        }))?;
    } else {
        let verb = if how.dry_run { "would remove" } else { "removed" };
        output.line(format!("{verb} {}", in_words(removed, run)))?;
    }
    output.flush()?;
    if !left.is_empty() {
        let names = first_names(&left, String::clone);
        say(format!("note: {address} has what is not known to be the run's, which stays: {names}"));
    }
    Ok(())
}
