//! A loss of power at any moment: what is left of a run is complete, has all that was promised, and resumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_ckpt::metrics_log::{LogMark, METRICS_FILE};
use burn_ckpt::plumbing::Limits;
use burn_ckpt::plumbing::storage::observer::observe;
use burn_ckpt::{Catalog, Checkpoint, RunLayout};
use burn_trainer::{FitResult, Result};
use system_tests::models::small::{Model, Script, train_within};
use system_tests::run_files::{compare, files, in_memory, leftovers, run_dir};
use system_tests::storage_faults::{CrashState, Recorder, Step, crash_states, crash_states_from};
use system_tests::{config, train_scripted};

use super::at_each_operation::not_whole;
use super::sample::has_all;

const EPOCHS: usize = 3;
/// Every so many different states of the disk are resumed from, over the whole run; every one with
/// `STORAGE_FAULTS=all`.
const RESUMED: usize = 5;

/// Trains a run to this number of epochs, and resumes where there is one.
type Train = fn(&Path, usize) -> Result<FitResult<Model>>;

fn in_one_file(root: &Path, epochs: usize) -> Result<FitResult<Model>> {
    train_scripted(config(root, epochs).with_ckpt_path("auto"), Script::default())
}

fn in_several_files(root: &Path, epochs: usize) -> Result<FitResult<Model>> {
    train_within(config(root, epochs).with_ckpt_path("auto"), Limits { tensors: 12, ..Limits::READER })
}

/// A run of as many epochs as starts. After each start its checkpoints are promised.
fn recorded(root: &Path, starts: usize, train: Train) -> Vec<Step> {
    // burn's metric files, the lock and what is for git are not promised to be there after a loss of power.
    let is_kept = |path: &Path| {
        let below_run = path.strip_prefix("burn_trainer_logs/r1");
        let is_kept = |below: &Path| {
            below.as_os_str().is_empty() || below.starts_with("checkpoint") || below.ends_with(METRICS_FILE)
        };
        !path.ends_with(".gitignore") && below_run.map_or(true, is_kept)
    };
    let recorder = Arc::new(Recorder::new(root, is_kept));
    let observation = observe(root, recorder.clone());
    for epochs in 1..=starts {
        let result = train(root, epochs).unwrap();
        for saved in result.checkpoints.values() {
            recorder.promise(&saved.path);
        }
    }
    drop(observation);
    recorder.steps()
}

/// What must be there after these steps: the promised checkpoints of which no removal was begun.
fn promised(steps: &[Step]) -> BTreeSet<&Path> {
    let mut promised = BTreeSet::new();
    for step in steps {
        match step {
            Step::Promise(path) => drop(promised.insert(path.as_path())),
            Step::RemoveFile(path) => drop(promised.remove(path.as_path())),
            _ => {}
        }
    }
    promised
}

/// The optimizer step of the newest checkpoint that was promised at any time.
fn newest_promised(steps: &[Step]) -> Option<u64> {
    let step_of = |path: &PathBuf| path.to_str()?.split("step=").nth(1)?.split('.').next()?.parse().ok();
    steps.iter().filter_map(|step| if let Step::Promise(path) = step { step_of(path) } else { None }).max()
}

/// What is on a disk, as a reader sees it.
#[derive(Clone)]
struct Seen {
    wrong: Vec<String>,
    /// Checkpoints that can be verified.
    whole: BTreeSet<PathBuf>,
    /// The optimizer step of the newest checkpoint, and of the one that `last.ckpt` leads to.
    newest: Option<u64>,
    linked: Option<u64>,
}

/// Looks at states of the disk, at each once.
struct Reader<'a> {
    root: &'a Path,
    seen: HashMap<u64, Seen>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, seen: HashMap::new() }
    }

    /// What is wrong with a state of the disk.
    fn violations(&mut self, state: &CrashState, done: &[Step]) -> Vec<String> {
        let root = self.root;
        let seen = self.seen.entry(digest(state)).or_insert_with(|| look(state, root));
        let mut wrong = seen.wrong.clone();
        let lost = promised(done).into_iter().filter(|path| !seen.whole.contains(*path));
        wrong.extend(lost.map(|path| format!("{} was promised, and is not complete", path.display())));
        let promised = newest_promised(done);
        if seen.newest < promised || seen.linked < promised {
            let (newest, linked) = (seen.newest, seen.linked);
            wrong.push(format!(
                "step {promised:?} was promised, the newest is {newest:?}, and last.ckpt is {linked:?}"
            ));
        }
        wrong
    }
}

fn digest(state: &CrashState) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn write(state: &CrashState, root: &Path) {
    if root.exists() {
        std::fs::remove_dir_all(root).unwrap();
    }
    std::fs::create_dir(root).unwrap();
    state.write_to(root);
}

fn look(state: &CrashState, root: &Path) -> Seen {
    write(state, root);
    let is_whole = |path: &&Path| Checkpoint::open(root.join(path)).and_then(|it| it.verify()).is_ok();
    let checkpoints = state.paths().filter(|path| path.extension().is_some_and(|end| end == "ckpt"));
    let without_lines =
        state.paths().filter(|path| is_checkpoint(path) && lines_are_missing(&root.join(path), root));
    let mut wrong = not_whole(root);
    wrong.extend(without_lines.map(|path| format!("{METRICS_FILE} lacks lines of {}", path.display())));
    let newest = Catalog::scan(&RunLayout::at(run_dir(root))).unwrap().entries.pop();
    let linked = Checkpoint::open(run_dir(root).join("checkpoint/last.ckpt")).and_then(|it| it.metadata());
    Seen {
        wrong,
        whole: checkpoints.filter(is_whole).map(Path::to_path_buf).collect(),
        newest: newest.map(|entry| entry.metadata.global_step),
        linked: linked.ok().map(|metadata| metadata.global_step),
    }
}

/// Whether the log of metrics does not have the lines that a checkpoint counts.
fn lines_are_missing(checkpoint: &Path, root: &Path) -> bool {
    let Ok(checkpoint) = Checkpoint::open(checkpoint) else { return false };
    let state: serde_json::Value = checkpoint.trainer_state().unwrap();
    let mark: LogMark = serde_json::from_value(state["metrics_log"].clone()).unwrap();
    !mark.is_in(&run_dir(root).join(METRICS_FILE)).unwrap()
}

fn copy_metric_files(from: &Path, to: &Path) {
    for split in ["train", "valid"] {
        let from = run_dir(from).join(split);
        for name in files(&from) {
            let place = run_dir(to).join(split).join(&name);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(from.join(name), place).unwrap();
        }
    }
}

#[test]
fn whatever_a_loss_of_power_leaves_is_whole_and_resumes_to_the_same_bytes() {
    resumes_after_each_loss(in_one_file, EPOCHS);
}

#[test]
fn of_a_state_in_several_files_too() {
    resumes_after_each_loss(in_several_files, 1);
}

fn resumes_after_each_loss(train: Train, epochs: usize) {
    let home = in_memory();
    let undisturbed = home.path().join("undisturbed");
    std::fs::create_dir(&undisturbed).unwrap();
    let steps = recorded(&undisturbed, epochs, train);
    let root = home.path().join("run");
    let mut reader = Reader::new(&root);
    let mut wrong = Vec::new();
    let (mut states, mut resumed, mut different) = (0, 0, BTreeSet::new());
    let every_nth = if has_all() { 1 } else { RESUMED };
    for (done, state) in crash_states(&steps) {
        let mut here = reader.violations(&state, &steps[..done]);
        states += 1;
        // The same state at another moment resumes in the same way.
        if different.insert(digest(&state)) && different.len() % every_nth == 0 {
            resumed += 1;
            write(&state, &root);
            copy_metric_files(&undisturbed, &root);
            match train(&root, epochs) {
                Ok(_) => {
                    here.extend(compare(&run_dir(&undisturbed), &run_dir(&root)).err());
                    here.extend(leftovers(&run_dir(&root)));
                }
                Err(error) => here.push(format!("the next start fails: {error}")),
            }
        }
        if !here.is_empty() {
            let last = done.checked_sub(1).map(|last| &steps[last]);
            wrong.push(format!("after step {done}, {last:?}:\n    {}", here.join("\n    ")));
        }
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for step in &steps {
        let text = format!("{step:?}");
        *kinds.entry(text.split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!(
        "power loss: {} steps {kinds:?}, {states} states, {} of them different, {resumed} resumed, {} violations",
        steps.len(),
        different.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a mutation of the record makes wrong, at this step or later.
fn first_violation(steps: &[Step], from: usize, reader: &mut Reader<'_>) -> Option<String> {
    crash_states_from(steps, from).find_map(|(done, state)| reader.violations(&state, &steps[..done]).pop())
}

/// The directory of a step that changes names in it, by its name for this test.
fn changed_directories(step: &Step) -> Vec<&Path> {
    match step {
        Step::CreateDirectory(path)
        | Step::CreateFile(path, _)
        | Step::HardLink(_, path)
        | Step::Symlink(_, path)
        | Step::RemoveFile(path)
        | Step::RemoveDirectory(path) => path.parent().into_iter().collect(),
        Step::Rename(from, path) => [from.parent(), path.parent()].into_iter().flatten().collect(),
        _ => Vec::new(),
    }
}

/// The syncs of a record that make anything durable. The others are for what a killed process did before.
fn working_syncs(steps: &[Step]) -> Vec<usize> {
    let mut changed: BTreeSet<&Path> = BTreeSet::new();
    let mut working = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Sync(_) => working.push(number),
            Step::SyncDirectory(directory) if changed.remove(directory.as_path()) => working.push(number),
            _ => changed.extend(changed_directories(step)),
        }
    }
    working
}

/// Whether the names of a directory are made durable once more before anything is promised, or removed: both
/// can then be missing.
fn is_repeated(steps: &[Step], sync: usize) -> bool {
    let Step::SyncDirectory(directory) = &steps[sync] else { return false };
    let is_final = |path: &Path| !path.to_string_lossy().ends_with(".staging");
    let mut later = steps[sync + 1..].iter().take_while(|step| match step {
        Step::Promise(_) => false,
        Step::RemoveFile(path) => !is_final(path),
        // A checkpoint may not get its name before its metadata has one.
        Step::HardLink(_, path) => path.parent() != Some(directory) || !is_final(path),
        _ => true,
    });
    later.any(|step| matches!(step, Step::SyncDirectory(other) if other == directory))
}

/// Mutations of a record that do no harm, as far as this test sees.
fn harmless(
    steps: &[Step],
    reader: &mut Reader<'_>,
    mutate: impl Fn(&mut Vec<Step>, usize) -> bool,
) -> (usize, Vec<String>) {
    let (mut count, mut harmless) = (0, Vec::new());
    for number in working_syncs(steps).into_iter().filter(|number| !is_repeated(steps, *number)) {
        let mut mutated = steps.to_vec();
        if mutate(&mut mutated, number) {
            count += 1;
            if first_violation(&mutated, number, reader).is_none() {
                let around = &steps[number.saturating_sub(1)..(number + 2).min(steps.len())];
                harmless.push(format!("{number}: {around:?}"));
            }
        }
    }
    (count, harmless)
}

#[test]
fn without_any_one_of_the_syncs_or_after_the_next_step_a_loss_of_power_does_harm() {
    each_sync_is_needed(2, in_one_file);
}

#[test]
fn the_same_holds_for_the_syncs_of_a_state_in_several_files() {
    // The first save of a run: the second differs in no step of a commit.
    each_sync_is_needed(1, in_several_files);
}

fn each_sync_is_needed(starts: usize, train: Train) {
    let home = in_memory();
    let undisturbed = home.path().join("undisturbed");
    std::fs::create_dir(&undisturbed).unwrap();
    let steps = recorded(&undisturbed, starts, train);
    let root = home.path().join("run");
    let reader = &mut Reader::new(&root);
    assert_eq!(first_violation(&steps, 0, reader), None);
    let (left_out, harmless_without) = harmless(&steps, reader, |steps, sync| {
        let directory = match steps.remove(sync) {
            Step::SyncDirectory(directory) => directory,
            _ => return true,
        };
        // The next syncs of the same names would do the same.
        let mut next = sync;
        while next < steps.len() && !changed_directories(&steps[next]).contains(&directory.as_path()) {
            match &steps[next] {
                Step::SyncDirectory(other) if *other == directory => drop(steps.remove(next)),
                _ => next += 1,
            }
        }
        true
    });
    println!("{left_out} syncs left out, one at a time: {} do no harm", harmless_without.len());
    let (late, harmless_late) = harmless(&steps, reader, |steps, sync| {
        let Some(next) = steps[sync + 1..].iter().position(|step| comes_after(&steps[..=sync], step)) else {
            return false;
        };
        let step = steps.remove(sync);
        steps.insert(sync + next + 1, step);
        true
    });
    println!("{late} syncs swapped with the step that needs them: {} do no harm", harmless_late.len());
    assert!(harmless_without.is_empty(), "these syncs are not needed:\n{}", harmless_without.join("\n"));
    assert!(harmless_late.is_empty(), "these syncs may come later:\n{}", harmless_late.join("\n"));
}

/// Whether a path is the directory of shards before it has its name, or in it.
fn is_of_shards(path: &Path) -> bool {
    path.to_string_lossy().contains(".shards.")
}

fn is_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "ckpt")
}

/// Whether a step must come after the sync at the end of these: a checkpoint gets its final name after its
/// data is durable, and the data and the name of its metadata; and after the names in a directory are durable
/// comes what is promised, or removed.
fn comes_after(until: &[Step], step: &Step) -> bool {
    let is_final = |path: &Path| !path.to_string_lossy().ends_with(".staging");
    match (until.last(), step) {
        (Some(Step::Sync(file)), Step::HardLink(from, path)) => {
            let created = until.iter().find_map(|step| match step {
                Step::CreateFile(path, id) | Step::Open(path, id) if id == file => Some(path),
                _ => None,
            });
            let is_metadata = created.is_some_and(|path| path.to_string_lossy().contains(".metadata.json."));
            let is_log = created.is_some_and(|path| path.ends_with(METRICS_FILE));
            // Shards are nothing without their index, which gets its name last.
            let is_of_shards = created.is_some_and(|path| is_of_shards(path));
            let is_before_the_checkpoint = is_metadata || is_log || is_of_shards;
            is_final(path)
                && if is_before_the_checkpoint { is_checkpoint(path) } else { created == Some(from) }
        }
        (Some(Step::SyncDirectory(directory)), Step::HardLink(_, path)) => {
            (path.parent() == Some(directory) || is_of_shards(directory)) && is_checkpoint(path)
        }
        // What a checkpoint was measured to be goes before it, at any moment.
        (Some(Step::SyncDirectory(_)), Step::RemoveFile(path)) => {
            is_final(path) && !path.to_string_lossy().ends_with(".evaluation.json")
        }
        (Some(Step::SyncDirectory(_)), Step::Promise(_)) => true,
        _ => false,
    }
}
