//! `metrics.csv` and TensorBoard's event file: what the log has, also after a kill.

use std::fs;
use std::path::Path;

use burn_ckpt::metrics_log::{self, Scope};
use indexmap::IndexMap;
use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, stdout};
use system_tests::programs::python::run_script_of_trackers;
use system_tests::programs::running::{Running, warmup};
use system_tests::programs::test_hooks::{Gate, Split, TestHooks};
use system_tests::run_files::run_dir;

/// An epoch has 30 batches, so that this one is of the second epoch.
const BATCH: usize = 45;

#[test]
fn the_files_of_a_run_that_was_killed_beyond_its_checkpoint_have_what_its_log_has() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let arguments = "--run-id r1 --epochs 3 --save-every-steps 8 --ckpt-path auto --set notes=tried \
                     --set trackers=[\"csv\",\"tensorboard\"] --set trackers_wait_seconds=600";
    let gate = Gate::closed();
    let hooks = TestHooks::wait(Split::Train, BATCH, &gate);
    let mut running = Running::start(hooks.given_to(warmup(root.path(), arguments)));
    // The tracker writes once a second.
    running.wait_for("rows beyond the checkpoint", |_| {
        let table = fs::read_to_string(run.join("metrics.csv")).unwrap_or_default();
        table.lines().any(|row| row.starts_with(&format!("{},", BATCH - 3)))
    });
    running.kill();
    let of_the_first = event_files(&run);
    Running::start(warmup(root.path(), arguments)).end_well();
    assert_table_and_events_are_those_of_the_log(&run);
    let [before, now] = [of_the_first, event_files(&run)];
    assert_eq!((before.len(), now.len()), (1, 1), "{before:?} {now:?}");
    assert!(before < now, "it is read after the one that it replaces: {before:?} {now:?}");
    let removed = burn_ckpt(&[&"rm", &run, &"--yes"]);
    assert!(removed.status.success(), "{removed:?}");
    let left: Vec<String> = if run.exists() { names(&run).collect() } else { Vec::new() };
    let is_of_a_tracker =
        |name: &&String| ["metrics.", "tracker-", "events."].iter().any(|start| name.starts_with(start));
    assert_eq!(left.iter().filter(is_of_a_tracker).count(), 0, "{left:?}");
}

fn event_files(run: &Path) -> Vec<String> {
    names(run).filter(|name| name.contains("tfevents")).collect()
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// Compares `metrics.csv` and TensorBoard's view with the log of a run.
pub fn assert_table_and_events_are_those_of_the_log(run: &Path) {
    let table = fs::read_to_string(run.join("metrics.csv")).unwrap();
    assert_eq!(table, stdout(&burn_ckpt(&[&"csv", &run])));
    assert!(table.contains("valid,validation") && table.lines().count() > 60, "{table}");
    let read = run_script_of_trackers("read_events.py", &[run]);
    let mut curves: IndexMap<String, Vec<(u64, String)>> = IndexMap::new();
    for line in metrics_log::read(run).unwrap() {
        let line = line.unwrap();
        for (name, value) in line.metrics {
            let suffix = match line.scope {
                Scope::Batch => "_step",
                Scope::Epoch => "_epoch",
                _ => "",
            };
            // In 32 bits, as Python shows it.
            let value = format!("{:?}", f64::from(value as f32));
            curves.entry(name + suffix).or_default().push((line.step, value));
        }
    }
    let shown =
        |tag: &str| -> Vec<(u64, String)> { serde_json::from_value(read["scalars"][tag].clone()).unwrap() };
    assert_eq!(read["scalars"].as_object().unwrap().len(), curves.len(), "{read}");
    for (tag, points) in &curves {
        let shown = shown(tag);
        let number = |(step, value): &(u64, String)| (*step, value.parse::<f64>().unwrap().to_bits());
        assert_eq!(
            shown.iter().map(number).collect::<Vec<_>>(),
            points.iter().map(number).collect::<Vec<_>>(),
            "{tag}"
        );
    }
    assert_eq!((&read["hparams"]["hidden"], &read["hparams"]["everything"]), (&32.0.into(), &false.into()));
    assert_eq!(read["status"], 1, "STATUS_SUCCESS");
    assert_eq!(read["texts"]["notes"], "tried");
    let text = |tag: &str| read["texts"][tag].as_str().unwrap().to_owned();
    assert!(text("trainer_config").contains("- `max_epochs`: `"), "{}", text("trainer_config"));
    assert!(text("environment").contains("- `os.name`: `"), "{}", text("environment"));
    assert!(text("environment").len() < 10_000, "{}", text("environment"));
    assert_ne!(read["texts"]["hparams"], Value::Null);
}
