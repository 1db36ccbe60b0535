//! What a save costs in requests: counted, as `docs/mirror.md` has it.

use std::collections::BTreeMap;

use burn_ckpt::Checkpoint;
use burn_ckpt::mirror::{MirrorKeep, RunMirror, Store};
use jiff::{SignedDuration, Timestamp};
use system_tests::object_stores::{FaultRates, SimulatedStore};

use super::{PART_BYTES, address, run_in, save, writer};

/// Which requests were made, and how many of each: those of content in parts, without the number of parts.
struct Requests {
    objects: SimulatedStore,
    seen: usize,
}

impl Requests {
    /// Those since the last call: `put .ckpt` -> 1. The lease is one object, and a piece of the log another.
    fn since(&mut self) -> BTreeMap<String, usize> {
        let history = self.objects.history();
        let mut counted = BTreeMap::new();
        for line in &history[self.seen..] {
            let (name, path) = line.strip_suffix(" None").unwrap().rsplit_once(' ').unwrap();
            let of = [
                "lease.json",
                ".commit.json",
                ".metadata.json",
                ".evaluation.json",
                "/last.ckpt",
                "/best_val_loss.ckpt",
                ".ckpt",
            ];
            let of = of.into_iter().find(|end| path.ends_with(end));
            let of = of.unwrap_or(if path.contains("/metrics/") { "piece" } else { "run" });
            *counted.entry(format!("{name} {of}")).or_default() += 1;
        }
        self.seen = history.len();
        counted
    }
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.map(|(name, count)| (name.to_owned(), count)).into()
}

#[test]
fn each_step_takes_the_requests_that_the_page_names() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let mut requests = Requests { objects: objects.clone(), seen: 0 };
    let paths = [1, 2, 3].map(|step: u64| {
        let time = Timestamp::new(1_800_000_000 + step.cast_signed(), 0).unwrap();
        save(&run, &format!("last/step={step}.ckpt"), step, time, step, false)
    });
    let size = std::fs::metadata(&paths[0]).unwrap().len();
    let open = |token: u64| {
        let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
        RunMirror::open(&store, "r1", &writer(&objects, "w", token)).unwrap()
    };
    let mut mirror = open(1);
    // The first time also a look at which terms there are, and whether the store can replace a version.
    assert_eq!(requests.since(), counts([("get lease.json", 3), ("put lease.json", 4), ("list run", 2)]));
    for path in &paths[..2] {
        mirror.send(&run, path, &|_| Ok(())).unwrap();
        let parts = size.div_ceil(PART_BYTES) as usize;
        let of_save = counts([
            ("begin parts .ckpt", 1),
            ("part .ckpt", parts),
            ("complete .ckpt", 1),
            ("head .ckpt", 1),
            ("put .metadata.json", 1),
            ("head .metadata.json", 1),
            ("put piece", 1),
            ("head piece", 1),
            ("put .commit.json", 1),
            ("get .commit.json", 1),
        ]);
        assert_eq!(requests.since(), of_save);
    }
    // What is there costs nothing.
    mirror.send(&run, &paths[1], &|_| Ok(())).unwrap();
    assert_eq!(requests.since(), counts([]));
    std::os::unix::fs::symlink("last/step=2.ckpt", run.checkpoint_dir().join("last.ckpt")).unwrap();
    for moved in [1, 0] {
        mirror.send_links(&run).unwrap();
        let expected = if moved == 1 { counts([("put /last.ckpt", 1)]) } else { counts([]) };
        assert_eq!(requests.since(), expected);
    }
    objects.pass(SignedDuration::from_secs(100));
    mirror.keep_lease().unwrap();
    assert_eq!(requests.since(), counts([("put lease.json", 1), ("get lease.json", 1)]));
    mirror.apply_retention(&MirrorKeep::last(1)).unwrap();
    let of_deletion = counts([
        ("put lease.json", 1),
        ("get lease.json", 1),
        ("delete .commit.json", 1),
        ("delete .ckpt", 1),
        ("delete .metadata.json", 1),
    ]);
    assert_eq!(requests.since(), of_deletion);
    mirror.look_again().unwrap();
    assert_eq!(requests.since(), counts([("list run", 1)]));
    mirror.close().unwrap();
    assert_eq!(requests.since(), counts([("put lease.json", 1), ("get lease.json", 1)]));
    // One checkpoint and one link are there.
    drop(open(2));
    let of_opening = counts([
        ("get lease.json", 2),
        ("put lease.json", 2),
        ("list run", 1),
        ("get .commit.json", 1),
        ("get /last.ckpt", 1),
    ]);
    assert_eq!(requests.since(), of_opening);
}

#[test]
fn a_checkpoint_by_the_name_of_a_link_takes_the_requests_that_the_page_names() {
    let root = tempfile::tempdir().unwrap();
    let (run, objects) = (run_in(root.path()), SimulatedStore::new(1, FaultRates::default()));
    let time = Timestamp::new(1_800_000_001, 0).unwrap();
    let path = save(&run, "last/step=1.ckpt", 1, time, 1, false);
    let store = Store::with_objects(&address(), objects.client(None, None), PART_BYTES).unwrap();
    let mut mirror = RunMirror::open(&store, "r1", &writer(&objects, "w", 1)).unwrap();
    mirror.send(&run, &path, &|_| Ok(())).unwrap();
    for link in ["last.ckpt", "best_val_loss.ckpt"] {
        mirror.point(link, "last/step=1.ckpt").unwrap();
    }
    let mut requests = Requests { objects: objects.clone(), seen: objects.history().len() };
    let mut of_name = |name: &str| {
        Checkpoint::open_in(&store, "r1", name).unwrap();
        requests.since()
    };
    // The header of the file as well.
    let by_path = of_name("last/step=1.ckpt");
    assert_eq!(by_path, counts([("get .commit.json", 1), ("get .ckpt", 1)]));
    let with = |more: &[(&str, usize)]| {
        let mut counted = by_path.clone();
        counted.extend(more.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        counted
    };
    assert_eq!(of_name("last"), with(&[("get /last.ckpt", 1), ("head .ckpt", 1)]));
    let of_best = [("get /best_val_loss.ckpt", 1), ("head .ckpt", 1)];
    assert_eq!(of_name("best_val_loss"), with(&of_best));
    assert_eq!(of_name("best"), with(&[&of_best[..], &[("list run", 1)]].concat()));
}
