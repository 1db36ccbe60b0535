//! What is Google's alone: service accounts, and that an object may be changed once a second.

use std::time::{Duration, Instant};

use burn_ckpt::mirror::{RunMirror, Store, Writer};
use jiff::Timestamp;
use system_tests::object_stores::google_cloud_server;

use super::super::{run_in, save};
use super::library::denies_each_request;

#[test]
fn a_run_is_opened_closed_and_opened_again_although_an_object_changes_once_a_second() {
    let root = tempfile::tempdir().unwrap();
    let server = google_cloud_server(root.path());
    let store = Store::connect_with(&"gs://models/p".parse().unwrap(), &server.variables()).unwrap();
    let run = run_in(root.path());
    let names = ["last/step=1.ckpt", "last/step=2.ckpt"];
    let time = |step: u64| Timestamp::new(1_800_000_000 + step as i64, 0).unwrap();
    let paths =
        [(1, names[0]), (2, names[1])].map(|(step, name)| save(&run, name, step, time(step), step, false));
    for _ in 0..2 {
        let begun = Instant::now();
        let mut mirror = RunMirror::open(&store, "r1", &Writer::of_this_process()).unwrap();
        for (name, path) in names.iter().zip(&paths) {
            mirror.send(&run, path, &|_| Ok(())).unwrap();
            mirror.point("last.ckpt", name).unwrap();
        }
        mirror.close().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
    assert!(server.log().contains("429"), "{}", server.log());
}

#[test]
fn the_service_account_of_another_project_is_an_error_without_its_key() {
    let [root, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (mut server, foreign) = (google_cloud_server(root.path()), google_cloud_server(other.path()));
    server.set("GOOGLE_SERVICE_ACCOUNT", &foreign.variables()["GOOGLE_SERVICE_ACCOUNT"]);
    server.secrets.extend(foreign.secrets.clone());
    denies_each_request(&server);
}

#[test]
fn the_service_account_can_be_in_each_of_the_variables() {
    let root = tempfile::tempdir().unwrap();
    let server = google_cloud_server(root.path());
    let mut variables = server.variables();
    let path = variables.remove("GOOGLE_SERVICE_ACCOUNT").unwrap();
    let json = std::fs::read_to_string(&path).unwrap();
    for (name, value) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", &path),
        ("GOOGLE_SERVICE_ACCOUNT_PATH", &path),
        ("SERVICE_ACCOUNT", &path),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", &json),
    ] {
        let mut variables = variables.clone();
        variables.insert(name.to_owned(), value.clone());
        let store = Store::connect_with(&"gs://models/p".parse().unwrap(), &variables).unwrap();
        assert!(store.runs().unwrap().is_empty(), "{name}");
    }
}
