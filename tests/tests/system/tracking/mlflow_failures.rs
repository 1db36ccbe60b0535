//! Servers that fail in every way: the run ends well, says so once, and no credentials are anywhere.

use std::fs;
use std::path::Path;

use system_tests::programs::http_server::{HttpServer, Reply, Request};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, run_dir};

const SECRET: &str = "open-sesame";

/// Starts a run of two epochs that logs to an address.
fn start(root: &Path, uri: &str, wait: &str) -> Running {
    start_with(root, uri, wait, "--epochs 2")
}

fn start_with(root: &Path, uri: &str, wait: &str, flags: &str) -> Running {
    let arguments =
        format!("--run-id r1 {flags} --set trackers=[\"mlflow\"] --set trackers_wait_seconds={wait}");
    let mut command = warmup(root, &arguments);
    command.env("MLFLOW_TRACKING_URI", uri).env("MLFLOW_TRACKING_TOKEN", SECRET);
    Running::start(command)
}

/// All text in a directory.
fn text_below(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            text += &text_below(&entry);
        } else {
            text += &String::from_utf8_lossy(&fs::read(&entry).unwrap());
        }
    }
    text
}

/// Answers as an MLflow server until a run exists.
fn until_created(request: &Request) -> Option<Reply> {
    let body = if request.line.contains("experiments/get-by-name") {
        r#"{"experiment":{"experiment_id":"7"}}"#
    } else if request.line.contains("runs/create") {
        r#"{"run":{"info":{"run_id":"abc","artifact_uri":"s3://bucket/7/abc"}}}"#
    } else {
        return None;
    };
    Some(Reply::Json(200, body.to_owned()))
}

#[test]
fn a_server_that_fails_neither_ends_the_run_nor_gets_into_its_files() {
    type Fault = (&'static str, fn(&Request) -> Reply, &'static str);
    let faults: [Fault; 7] = [
        (
            "500",
            |_| Reply::Json(500, r#"{"error_code":"INTERNAL_ERROR"}"#.to_owned()),
            "answers 500 INTERNAL_ERROR",
        ),
        ("401", |_| Reply::Json(401, String::new()), "MLFLOW_TRACKING_TOKEN"),
        (
            "echo",
            |_| {
                Reply::Json(401, format!("{{\"message\":\"no such token: {SECRET} {}\"}}", "x".repeat(5_000)))
            },
            "no such token: *** xx",
        ),
        ("page", |_| Reply::Json(200, "<html>".to_owned()), "is not JSON"),
        ("close", |_| Reply::Close, "the tracker mlflow: "),
        ("garbage", |_| Reply::Garbage, "the tracker mlflow: "),
        ("hang", |_| Reply::Hang, "the tracker mlflow did not get"),
    ];
    let started: Vec<_> = faults
        .into_iter()
        .map(|(name, reply, reason)| {
            let (root, server) = (tempfile::tempdir().unwrap(), HttpServer::start(reply));
            let running = start(root.path(), &server.uri(), "6");
            (name, root, server, running, reason)
        })
        .collect();
    for (name, root, server, running, reason) in started {
        let ended = running.end_well();
        assert!(ended.stderr.contains(reason), "{name}: {}", ended.stderr);
        assert!(ended.stderr.matches("the tracker mlflow: ").count() <= 1, "{name}: {}", ended.stderr);
        // 30 batches in each of two epochs, and two lines for the epoch.
        assert!(ended.stderr.contains("did not get 64 lines of values"), "{name}: {}", ended.stderr);
        let everything = text_below(&run_dir(root.path())) + &ended.stderr + &ended.stdout;
        assert!(!everything.contains(SECRET), "{name}");
        let sent = server.requests();
        assert!(sent.iter().all(|request| {
            request.head.iter().any(|line| line.to_lowercase() == format!("authorization: bearer {SECRET}"))
        }));
    }
}

#[test]
fn values_that_the_server_rejects_are_counted_and_the_end_is_told() {
    let root = tempfile::tempdir().unwrap();
    let server = HttpServer::start(|request| {
        let rejected =
            || Reply::Json(400, r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"a name"}"#.to_owned());
        until_created(request).unwrap_or_else(|| match request.body.contains("\"metrics\"") {
            true => rejected(),
            false => Reply::Json(200, "{}".to_owned()),
        })
    });
    let ended = start(root.path(), &server.uri(), "120").end_well();
    assert!(ended.stderr.contains("the tracker mlflow has rejected 64 lines of values"), "{}", ended.stderr);
    assert!(ended.stderr.contains("INVALID_PARAMETER_VALUE a name"), "{}", ended.stderr);
    assert!(ended.stderr.contains("uploads no checkpoints"), "{}", ended.stderr);
    let last = server.requests().pop().unwrap();
    assert!(last.line.contains("runs/update") && last.body.contains("FINISHED"), "{last:?}");
}

#[test]
fn a_run_without_the_address_of_a_server_fails_before_its_first_step() {
    let root = tempfile::tempdir().unwrap();
    let mut command = warmup(root.path(), "--run-id r1 --set trackers=[\"mlflow\"]");
    command.env_remove("MLFLOW_TRACKING_URI");
    let ended = Running::start(command).end();
    assert_eq!(ended.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("MLFLOW_TRACKING_URI cannot be used: it is not set"), "{}", ended.stderr);
}

#[test]
fn a_checkpoint_that_the_server_has_is_not_uploaded_again_when_the_next_file_fails() {
    let root = tempfile::tempdir().unwrap();
    let server = HttpServer::start(|request| {
        let created = r#"{"run":{"info":{"run_id":"abc","artifact_uri":"mlflow-artifacts:/7/abc"}}}"#;
        match until_created(request) {
            Some(_) if request.line.contains("runs/create") => Reply::Json(200, created.to_owned()),
            Some(reply) => reply,
            None if request.line.contains(".metadata.json") => Reply::Json(503, String::new()),
            None => Reply::Json(200, "{}".to_owned()),
        }
    });
    let ended = start(root.path(), &server.uri(), "6").end_well();
    let said = "was told that the run has ended, but did not get all of its files: the server answers 503";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let sent = server.requests();
    let uploads = |name: &str| sent.iter().filter(|request| request.line.contains(name)).count();
    assert_eq!((uploads(".ckpt HTTP"), uploads("PUT ") > 2), (1, true), "{:?}", sent.len());
    // Pauses grow: 0.5, 1 and 2 seconds, and the last one to the end of the wait.
    assert!(uploads(".metadata.json") <= 5, "{}", uploads(".metadata.json"));
}

#[test]
fn a_checkpoint_of_several_files_is_uploaded_whole_and_an_earlier_one_is_removed_whole() {
    let root = tempfile::tempdir().unwrap();
    let earlier = "checkpoints/last/epoch=0-step=9.shards";
    let server = HttpServer::start(move |request| {
        let created = r#"{"run":{"info":{"run_id":"abc","artifact_uri":"mlflow-artifacts:/7/abc"}}}"#;
        let folder = format!(r#"{{"files":[{{"path":"{earlier}","is_dir":true}}]}}"#);
        let shard =
            format!(r#"{{"files":[{{"path":"{earlier}/state-00001-of-00002.ckpt","is_dir":false}}]}}"#);
        match until_created(request) {
            Some(_) if request.line.contains("runs/create") => Reply::Json(200, created.to_owned()),
            Some(reply) => reply,
            None if request.line.contains("artifacts/list") && request.line.contains("shards") => {
                Reply::Json(200, shard)
            }
            None if request.line.contains("artifacts/list") && request.line.contains("last") => {
                Reply::Json(200, folder)
            }
            None => Reply::Json(200, "{}".to_owned()),
        }
    });
    let flags = "--epochs 1 --set hidden=256 --set max_file_bytes=400000";
    let ended = start_with(root.path(), &server.uri(), "120", flags).end_well();
    let sent = server.requests();
    let of = |method: &str| {
        let lines = sent.iter().map(|request| request.line.replace("%3D", "="));
        lines
            .filter(|line| line.starts_with(method) && line.contains("checkpoints/last/"))
            .collect::<Vec<_>>()
    };
    let last = checkpoints(root.path()).join("last");
    let index = last.join("epoch=0-step=30.ckpt");
    let mut files: Vec<_> = fs::read_dir(index.with_extension("shards")).unwrap().collect();
    files.sort_by_key(|file| file.as_ref().unwrap().file_name());
    assert!(files.len() > 1, "{files:?}");
    let files = files.into_iter().map(|file| file.unwrap().path());
    let files = files.chain([index, last.join("epoch=0-step=30.ckpt.metadata.json")]);
    let uploads = of("PUT ");
    let names: Vec<_> =
        files.map(|path| path.strip_prefix(&last).unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(uploads.len(), names.len(), "{uploads:?} {}", ended.stderr);
    for (upload, name) in uploads.iter().zip(&names) {
        assert!(upload.contains(&format!("/checkpoints/last/{name} HTTP")), "{upload} {name}");
    }
    let removed = of("DELETE ");
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].contains(&format!("{earlier}/state-00001-of-00002.ckpt")), "{removed:?}");
}

#[test]
fn a_run_that_was_deleted_on_the_server_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    // It keeps such a run for a while, says so, and takes nothing for it.
    let server = HttpServer::start(|request| {
        until_created(request).unwrap_or_else(|| match request.line.contains("runs/get") {
            true => {
                Reply::Json(200, r#"{"run":{"info":{"lifecycle_stage":"deleted"},"data":{}}}"#.to_owned())
            }
            false => Reply::Json(200, "{}".to_owned()),
        })
    });
    start(root.path(), &server.uri(), "6").end_well();
    let created = || {
        let sent = server.requests();
        sent.iter().filter(|request| request.line.contains("runs/create")).count()
    };
    assert_eq!(created(), 1);
    let ended = start_with(root.path(), &server.uri(), "6", "--epochs 3 --ckpt-path auto").end_well();
    assert_eq!(created(), 2, "{}", ended.stderr);
}
