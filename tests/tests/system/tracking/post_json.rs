//! The tracker of `docs/trackers.md`, which posts JSON to any address.

use burn_ckpt::metrics_log::Line;
use burn_trainer::callbacks::{RunEnd, RunInfo};
use burn_trainer::trackers::{StartAt, Tracker, TrackerResult};
use serde_json::{Value, json};
use system_tests::config;
use system_tests::models::small::{Script, train_by};
use system_tests::programs::http_server::{HttpServer, Reply};

use super::{log, patient, without_times};

/// Posts the values of a run to an address, as JSON.
struct PostJson {
    url: String,
    run_id: String,
}

impl Tracker for PostJson {
    fn name(&self) -> String {
        "post_json".to_owned()
    }

    fn start(&mut self, run: &RunInfo, state: Option<Value>) -> TrackerResult<StartAt> {
        self.run_id = run.run_id.clone();
        // There is a state if an earlier process of the run has posted it.
        if state.is_none() {
            self.post(&json!({ "run": run.run_id, "hparams": run.hparams }))?;
        }
        Ok(StartAt::FirstUnsent)
    }

    fn log(&mut self, lines: &[Line]) -> TrackerResult {
        self.post(&json!({ "run": self.run_id, "lines": lines }))
    }

    fn end(&mut self, end: &RunEnd) -> TrackerResult {
        self.post(&json!({ "run": self.run_id, "ended": format!("{:?}", end.outcome) }))
    }

    fn state(&self) -> Option<Value> {
        Some(json!({ "run": self.run_id }))
    }
}

impl PostJson {
    fn post(&self, body: &Value) -> TrackerResult {
        ureq::post(&self.url).content_type("application/json").send(body.to_string())?;
        Ok(())
    }
}

#[test]
fn the_tracker_of_the_page_posts_the_run_and_each_line_once_though_the_server_fails_at_times() {
    let root = tempfile::tempdir().unwrap();
    let mut count = 0;
    let server = HttpServer::start(move |_| {
        count += 1;
        match count {
            1 => Reply::Json(503, String::new()),
            3 => Reply::Close,
            _ => Reply::Json(200, String::new()),
        }
    });
    for epochs in 1..=2 {
        let config = config(root.path(), epochs).with_ckpt_path("auto");
        let tracker = PostJson { url: server.uri() + "/runs", run_id: String::new() };
        train_by(config, Script::default(), |trainer| trainer.callback(patient(tracker))).unwrap();
    }
    // What was answered with an error, or not at all, came twice.
    let mut bodies: Vec<String> = server.requests().into_iter().map(|request| request.body).collect();
    bodies.remove(2);
    bodies.remove(0);
    let bodies: Vec<Value> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let lines: Vec<Line> = bodies
        .iter()
        .filter_map(|body| body["lines"].as_array())
        .flatten()
        .map(|line| serde_json::from_value(line.clone()).unwrap())
        .collect();
    assert_eq!(without_times(&lines), without_times(&log(root.path())));
    let begun = bodies.iter().filter(|body| body["hparams"].is_object()).count();
    assert_eq!(begun, 1, "a resume does not post the run again: {bodies:?}");
    assert_eq!(bodies.iter().filter(|body| body["ended"] == "Done(None)").count(), 2, "{bodies:?}");
}
