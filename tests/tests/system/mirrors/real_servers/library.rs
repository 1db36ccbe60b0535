//! A run is sent to a real server and got back: in parts, by ranges, with conditional writes. And what a
//! server answers that has no bucket, or does not know the credentials.

use std::fs;

use burn_ckpt::burn_pack::{Bytes, DType, Tensor};
use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::{Checkpoint, Contents, Error, ErrorKind, Metadata, MirrorFailure, Section};
use jiff::{SignedDuration, Timestamp};
use system_tests::object_stores::StoreServer;

use super::super::{files_of, run_in, save};
use super::{Start, for_each_store};

/// Three parts of 16 MiB.
const LARGE: usize = 40 * 1024 * 1024;

for_each_store!(
    a_run_is_sent_and_got_back,
    a_bucket_that_is_not_there_is_an_error_that_says_so,
    a_server_that_is_gone_cannot_be_reached,
);

pub(super) fn store(server: &StoreServer, below: &str) -> Store {
    let address = format!("{}/{below}", server.bucket).parse().unwrap();
    Store::connect_with(&address, &server.variables()).unwrap()
}

/// The errors of reading and of writing.
fn errors(server: &StoreServer, store: &Store) -> [Error; 3] {
    let writer = Writer::of_this_process();
    let errors = [
        MirroredRun::open(store, "r1").map(drop).unwrap_err(),
        RunMirror::open(store, "r1", &writer).map(drop).unwrap_err(),
        store.runs().map(drop).unwrap_err(),
    ];
    for error in &errors {
        let shown = format!("{error} | {error:?} | {}", burn_ckpt::chain(error));
        server.assert_no_secret("an error", shown.as_bytes());
        assert!(shown.contains(&store.address().to_string()), "{shown}");
    }
    errors
}

fn a_run_is_sent_and_got_back(start: Start) {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path());
    let store = store(&server, "team a");
    let run = run_in(&root.path().join("disk"));
    let time = |second: i64| Timestamp::new(1_800_000_000 + second, 0).unwrap();
    let small = save(&run, "last/step=1.ckpt", 1, time(1), 1, false);
    let several = save(&run, "last/größe=2.ckpt", 2, time(2), 2, true);
    let large = run.checkpoint_dir().join("best/step=3.ckpt");
    let bytes: Vec<u8> = (0..LARGE).map(|place| (place / 4096) as u8).collect();
    let mut section = Section::new();
    section.tensors.push(Tensor::new("w".to_owned(), DType::U8, [LARGE], None, Bytes::from_bytes_vec(bytes)));
    let metadata = Metadata::new(time(3)).with_run_id("r1").with_global_step(3);
    Contents::default().with_section(Section::MODEL, section).save(&large, metadata).unwrap();

    let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
    for path in [&small, &several, &large] {
        assert!(mirror.send(&run, path, &|_| Ok(())).unwrap().bytes > 0);
    }
    mirror.point("last.ckpt", "last/größe=2.ckpt").unwrap();
    mirror.point("last.ckpt", "best/step=3.ckpt").unwrap();
    // The lease is kept by conditional writes, and a second writer meets it.
    let in_two_minutes = || Timestamp::now() + SignedDuration::from_mins(2);
    let error = RunMirror::open(&store, "r1", &Writer::new("b", 2, in_two_minutes)).unwrap_err();
    assert!(matches!(error, Error::MirrorInUse { .. }), "{error:?}");
    let in_six_minutes = || Timestamp::now() + SignedDuration::from_mins(6);
    let mut second = RunMirror::open(&store, "r1", &Writer::new("c", 3, in_six_minutes)).unwrap();

    assert_eq!(store.runs().unwrap(), ["r1"]);
    let mirrored = MirroredRun::open(&store, "r1").unwrap();
    let names: Vec<&str> = mirrored.checkpoints().iter().map(|checkpoint| checkpoint.name.as_str()).collect();
    assert_eq!(names, ["last/step=1.ckpt", "last/größe=2.ckpt", "best/step=3.ckpt"]);
    assert_eq!(mirrored.find("last").unwrap().name, "best/step=3.ckpt");
    let elsewhere = run_in(&root.path().join("elsewhere"));
    for (checkpoint, path) in mirrored.checkpoints().iter().zip([&small, &several, &large]) {
        let got = mirrored.download(checkpoint, &elsewhere, &|_| Ok(())).unwrap();
        assert_eq!(files_of(&got), files_of(path));
        Checkpoint::open(&got).unwrap().verify().unwrap();
    }
    let log = elsewhere.run_dir().join("metrics.jsonl");
    assert!(
        mirrored
            .download_metrics_log(mirrored.find("last/größe=2.ckpt").unwrap(), &log, &|_| Ok(()))
            .unwrap()
    );
    assert_eq!(fs::read(&log).unwrap(), fs::read(run.run_dir().join("metrics.jsonl")).unwrap());

    // A checkpoint is opened without a copy on disk.
    let opened = Checkpoint::open_in(&store, "r1", "last").unwrap();
    assert_eq!(opened.verified_section(Section::MODEL).unwrap().tensors.len(), 1);
    Checkpoint::open_in(&store, "r1", "last/größe=2.ckpt").unwrap().verify().unwrap();

    let removed = second.apply_retention(&MirrorKeep::last(1)).unwrap();
    assert_eq!(removed.checkpoints, ["last/step=1.ckpt", "last/größe=2.ckpt"]);
    assert_eq!(MirroredRun::open(&store, "r1").unwrap().checkpoints().len(), 1);
    second.close().unwrap();
    assert!(server.log().contains("PUT"));
    server.assert_no_secret("its log", server.log().as_bytes());
}

fn a_bucket_that_is_not_there_is_an_error_that_says_so(start: Start) {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path());
    let address = format!("{}/p", server.bucket.replace("models", "no-such-bucket"));
    let store = Store::connect_with(&address.parse().unwrap(), &server.variables()).unwrap();
    for error in errors(&server, &store) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    }
}

/// Looks whether a server that is given another account's credentials denies each request.
pub(super) fn denies_each_request(server: &StoreServer) {
    for error in errors(server, &store(server, "p")) {
        assert!(matches!(error, Error::Mirror { failure: MirrorFailure::Denied, .. }), "{error:?}");
        assert!(error.to_string().contains("check"), "{error}");
    }
}

fn a_server_that_is_gone_cannot_be_reached(start: Start) {
    let root = tempfile::tempdir().unwrap();
    let mut server = start(root.path());
    let gone = store(&server, "p");
    server.kill();
    for error in errors(&server, &gone) {
        assert!(matches!(error, Error::Mirror { failure: MirrorFailure::Unreachable, .. }), "{error:?}");
    }
}
