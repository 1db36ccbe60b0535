//! The benchmark runs from end to end, on a small model, and leaves neither files nor servers. It counts the
//! bytes on the loopback interface, of any sender: `cargo xtask test` runs it while no other test has
//! servers.

use std::process::Command;

use system_tests::programs::commands::{build, stdout};
use system_tests::programs::printed_table::row;

#[test]
fn one_local_device_and_two_remote_ones_are_measured_in_one_run() {
    let root = tempfile::tempdir().unwrap();
    let program = build(&["bench-remote", "burn-serve"]).join("bench-remote");
    let mut command = Command::new(program);
    command.args(["--quick", "--steps", "2", "--contenders", "local,two-websocket", "--root"]);
    let output = command.arg(root.path()).output().unwrap();
    let page = stdout(&output);
    let figure = |table, name, cell: usize| -> f64 { row(&page, table, name)[cell].parse().unwrap() };
    let (one, two) = ("one local device", "two remote, WebSocket");

    assert_eq!(figure("training", one, 8), 1.0, "{page}");
    // A step has a batch on each device.
    let (steps, windows) = (figure("training", two, 6), figure("training", two, 7));
    assert!(steps > 0.0 && (windows / steps - 2.0).abs() < 0.01, "{page}");
    let wire = "over the loopback interface";
    let (crossed, must) = (figure(wire, two, 1), figure(wire, two, 2));
    assert!(must > 0.0 && crossed >= must, "{page}");
    assert_eq!(figure(wire, one, 2), 0.0, "{page}");
    assert!(figure("a step", two, 2) > 0.0, "{page}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}
