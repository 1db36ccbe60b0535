//! A real server of S3's interface: in parts, by ranges, with conditional writes.

use std::collections::BTreeMap;
use std::fs;

use burn_ckpt::burn_pack::{Bytes, DType, Tensor};
use burn_ckpt::mirror::{MirrorKeep, MirroredRun, RunMirror, Store, Writer};
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section};
use jiff::{SignedDuration, Timestamp};
use system_tests::object_stores::moto_server::{MotoServer, SECRET_KEY};

use super::{files_of, run_in, save};

/// Three parts of 16 MiB.
const LARGE: usize = 40 * 1024 * 1024;

fn variables(server: &MotoServer) -> BTreeMap<String, String> {
    server.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_run_is_sent_to_an_s3_server_and_got_back() {
    let root = tempfile::tempdir().unwrap();
    let server = MotoServer::start(root.path(), "models");
    let store = Store::connect_with(&"s3://models/team a".parse().unwrap(), &variables(&server)).unwrap();
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
    assert!(mirrored.download_metrics_log(mirrored.find("last/größe=2.ckpt").unwrap(), &log).unwrap());
    assert_eq!(fs::read(&log).unwrap(), fs::read(run.run_dir().join("metrics.jsonl")).unwrap());

    let removed = second.apply_retention(&MirrorKeep::last(1)).unwrap();
    assert_eq!(removed.checkpoints, ["last/step=1.ckpt", "last/größe=2.ckpt"]);
    assert_eq!(MirroredRun::open(&store, "r1").unwrap().checkpoints().len(), 1);
    second.close().unwrap();
    let log = fs::read_to_string(root.path().join("moto.log")).unwrap();
    assert!(log.contains("PUT") && !log.contains(SECRET_KEY));
}

#[test]
fn a_bucket_that_is_not_there_is_an_error_that_says_so() {
    let root = tempfile::tempdir().unwrap();
    let server = MotoServer::start(root.path(), "models");
    let store = Store::connect_with(&"s3://no-such-bucket/p".parse().unwrap(), &variables(&server)).unwrap();
    let error = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap_err();
    assert_eq!(error.kind(), burn_ckpt::ErrorKind::NotFound, "{error:?}");
    assert!(error.to_string().contains("s3://no-such-bucket/p/r1"), "{error}");
}
