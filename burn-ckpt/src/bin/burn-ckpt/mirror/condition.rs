//! What is sound of a run in a mirror, and what is not: its links, and what its checkpoints do without.

use std::collections::BTreeMap;

use burn_ckpt::mirror::MirroredRun;
use burn_ckpt::plumbing::{CHECKPOINT_SUFFIX, METADATA_SUFFIX};

use crate::terminal::output::say;
use crate::verb_result::Failure;

/// Says what a run lacks that its checkpoints do without, and that it is another run's.
pub fn say_what_is_lost(run: &MirroredRun) {
    for name in run.without_metadata() {
        let address = run.address_of(name);
        say(format!(
            "warning: {address}{METADATA_SUFFIX} is lost: the metadata in the checkpoint's own file is used"
        ));
    }
    if let Some(other) = run.renamed_from() {
        let (address, run) = (directory(run), run.run_id());
        say(format!(
            "note: {address} has checkpoints of the run {other}, whose objects were renamed or copied to {run}"
        ));
    }
}

/// The address below which a run's checkpoints are.
pub fn directory(run: &MirroredRun) -> String {
    run.address_of("").trim_end_matches('/').to_owned()
}

/// The links to each checkpoint, without ending.
pub fn links(run: &MirroredRun) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for link in run.links() {
        if let Some(target) = run.link_target(link)? {
            let name = link.strip_suffix(CHECKPOINT_SUFFIX).unwrap_or(link);
            links.entry(target).or_default().push(name.to_owned());
        }
    }
    Ok(links)
}

/// The links to missing checkpoints, each with what it leads to.
pub fn dangling(run: &MirroredRun, links: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
    let there = run.checkpoints().iter().map(|checkpoint| &checkpoint.name);
    let there: Vec<&String> = there.chain(run.broken().iter().map(|(name, _)| name)).collect();
    let dangling = links.iter().filter(|(target, _)| !there.contains(target));
    let link = |name: &String| format!("{name}{CHECKPOINT_SUFFIX}");
    dangling.flat_map(|(target, names)| names.iter().map(move |name| (link(name), target.clone()))).collect()
}
