//! The benchmark runs from end to end, on a small state, and names the contenders that cannot take part.

use std::path::Path;
use std::process::{Command, Output};

use system_tests::programs::commands::{build, stderr, stdout};
use system_tests::programs::printed_table::row;
use system_tests::run_files::in_memory;

fn bench(root: &Path, arguments: &[&str]) -> Output {
    let program = build(&["bench-checkpoint"]).join("bench-checkpoint");
    Command::new(program)
        .args(["--quick", "--cases", "1MB/10", "--root"])
        .arg(root)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn ours_burns_own_and_the_limits_are_measured_in_one_run() {
    let root = tempfile::tempdir().unwrap();
    let output = bench(root.path(), &["--contenders", "ours,ours-replace,burn,plain-write,limits"]);
    let page = stdout(&output);
    for name in ["burn-trainer (best + last)", "burn's own checkpointers"] {
        let cells = row(&page, "saving", name);
        let step: f64 = cells[1].parse().unwrap();
        let file: f64 = cells[7].parse().unwrap();
        assert!(step > 0.0 && (1.0..1.3).contains(&file), "{cells:?}");
    }
    // It writes as many bytes, and leaves no checkpoint.
    let plain = row(&page, "saving", "no save: a plain write + fsync");
    let (durable, written): (f64, f64) = (plain[4].parse().unwrap(), plain[8].parse().unwrap());
    assert!(durable > 0.0 && (1.0..1.3).contains(&written), "{plain:?}");
    let loaded: f64 = row(&page, "loading", "burn-trainer (best + last)")[2].parse().unwrap();
    let sha256: f64 = row(&page, "the machine, same bytes", "SHA-256")[1].parse().unwrap();
    assert!(loaded > 0.0 && sha256 > 0.0);
    assert_eq!(row(&page, "saving every few steps", "burn-trainer, replace")[1], "3");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_peer_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let output = bench(root.path(), &["--contenders", "limits,torch", "--python", "/no/such/python"]);
    let page = stdout(&output);
    assert!(page.contains("torch.save") && page.contains("/no/such/python"), "{page}{}", stderr(&output));
}

#[test]
fn the_start_of_a_run_is_measured_and_reads_what_it_resumes_alone() {
    let root = in_memory();
    let program = build(&["bench-start"]).join("bench-start");
    let mut command = Command::new(program);
    command.args(["--kept", "8", "--starts", "1", "--case", "3MB/10", "--epochs", "40"]);
    command.arg("--root").arg(root.path());
    let page = stdout(&command.output().unwrap());
    let row = page.lines().find(|line| line.starts_with("| 8 ")).unwrap_or_else(|| panic!("{page}"));
    let cells: Vec<f64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    let [_, _, read_first, _, read_in_all, file] = cells[..] else { panic!("{row}") };
    // The newest twice, for its two digests, and the metadata of all.
    assert!(read_first < 2.0 * file + 8.0 && read_in_all > 8.0 * file, "{page}");
    // The saves, of runs of 40 epochs that keep 10 checkpoints and all.
    let saves = page.lines().filter(|line| line.starts_with("| 40 "));
    let kept: Vec<&str> = saves.map(|line| line.split('|').nth(2).unwrap_or_default().trim()).collect();
    assert_eq!(kept, ["10", "40"], "{page}");
}

#[test]
fn the_gradient_guard_is_measured_in_turns_with_steps_without_it() {
    let root = tempfile::tempdir().unwrap();
    let program = build(&["bench-guard"]).join("bench-guard");
    let mut command = Command::new(program);
    command.args(["--backend", "flex", "--size", "tiny", "--rounds", "1"]).arg("--root").arg(root.path());
    let output = command.output().unwrap();
    let page = stdout(&output);
    for (name, waits) in
        [("no guard", "0.00"), ("checked after the step", "0.00"), ("checked before the step", "1.00")]
    {
        let cells = row(&page, "gradients", name);
        assert_eq!(cells[3], waits, "{page}");
        let (step, ratio): (f64, f64) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        assert!(step > 0.0 && (0.2..5.0).contains(&ratio), "{page}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn an_update_of_adam_is_measured_beside_burns_and_has_its_bits() {
    let root = tempfile::tempdir().unwrap();
    let program = build(&["bench-optimizer"]).join("bench-optimizer");
    let mut command = Command::new(program);
    let output =
        command.args(["--size", "tiny", "--updates", "3"]).arg("--root").arg(root.path()).output().unwrap();
    let page = stdout(&output);
    for name in ["digits", "char-lm tiny"] {
        let cells = row(&page, "model", name);
        let [burns, ours] = [3, 4].map(|column| cells[column].parse::<f64>().unwrap());
        assert!(burns > 0.0 && ours > 0.0, "{page}");
        assert_eq!(cells[6], "yes", "{page}");
    }
}

#[cfg(feature = "mirror")]
#[test]
fn a_mirror_in_a_slow_store_is_measured_in_turns_with_runs_without_one() {
    let root = tempfile::tempdir().unwrap();
    let program = build(&["bench-mirror"]).join("bench-mirror");
    let mut command = Command::new(program);
    command.args(["--backend", "flex", "--size", "tiny", "--rounds", "1", "--steps", "6"]);
    command.args(["--save-every", "2", "--megabytes-per-second", "8"]);
    let output = command.arg("--root").arg(root.path()).output().unwrap();
    let page = stdout(&output);
    let [without, with] = ["none", "8 MB/s"].map(|name| row(&page, "mirror", name));
    let step = |cells: &[&str]| cells[1].parse::<f64>().unwrap();
    assert!(step(&without) > 0.0 && step(&with) > 0.0, "{page}");
    assert_eq!(without[5], "0", "{page}");
    assert!(with[5].parse::<u64>().unwrap() >= 2, "the best and the newest: {page}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}

#[cfg(feature = "mirror")]
#[test]
fn a_store_that_takes_nothing_is_a_usage_error() {
    let program = build(&["bench-mirror"]).join("bench-mirror");
    for speed in ["0", "-1", "1e-300", "NaN", "inf", "fast"] {
        let mut command = Command::new(&program);
        command.args(["--backend", "flex", "--rounds", "1", "--steps", "6", "--save-every", "2"]);
        let output = command.arg(format!("--megabytes-per-second={speed}")).output().unwrap();
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{speed}: {error}");
        assert!(
            error.contains("--megabytes-per-second") && error.contains("0.001 at least"),
            "{speed}: {error}"
        );
    }
}

#[test]
fn very_many_epochs_are_measured_and_their_checkpoints_hardly_grow() {
    let root = in_memory();
    let program = build(&["bench-epochs"]).join("bench-epochs");
    let mut command = Command::new(program);
    command.args(["--epochs", "150", "--window", "50", "--case", "30kB/2"]).arg("--root").arg(root.path());
    let page = stdout(&command.output().unwrap());
    let (_, growth) = page.split_once("a checkpoint grows by ").unwrap_or_else(|| panic!("{page}"));
    let bytes: f64 = growth.split(' ').next().unwrap().parse().unwrap();
    assert!((1.0..50.0).contains(&bytes), "{page}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn saves_are_measured_beside_busy_processes_which_end_with_the_program() {
    let root = in_memory();
    let program = build(&["bench-busy"]).join("bench-busy");
    let mut command = Command::new(program);
    command.args(["--processes", "2", "--steps", "6", "--case", "30kB/2", "--rounds", "1"]);
    let page = stdout(&command.arg("--root").arg(root.path()).output().unwrap());
    for (run, saves) in [
        ("no saves", 0..=0),
        ("every step, the loop waits", 6..=6),
        ("every step, skipped while one is written", 1..=6),
    ] {
        let cells = row(&page, "saves", run);
        let number = |cell: usize| cells[cell].parse::<f64>().ok();
        assert!(number(1) > Some(0.0) && number(2) > Some(0.0) && number(3) > Some(0.0), "{cells:?}");
        for cell in [4, 5] {
            assert!(saves.contains(&cells[cell].parse::<u64>().unwrap()), "{cells:?}");
        }
        assert_eq!(number(6).is_some(), *saves.end() > 0, "the longest save: {cells:?}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn training_speed_is_measured_in_the_trainer_and_in_burns_own_loop_with_networks_of_one_size() {
    let root = tempfile::tempdir().unwrap();
    let program = build(&["bench-train"]).join("bench-train");
    let lines = root.path().join("lines.json");
    let mut command = Command::new(program);
    command.args(["--quick", "--models", "digits,char-lm-quick", "--threads", "1", "--rounds", "1"]);
    command.args(["--python", "/no/such/python", "--json"]).arg(&lines).arg("--root").arg(root.path());
    let output = command.output().unwrap();
    let page = stdout(&output);
    // The networks' parameters: two convolutions, their norms and two linear layers; one layer of width 32.
    let convolutions = 10 * 16 + 2 * 16 + (9 * 16 + 1) * 32 + 2 * 32;
    let digits = convolutions + (32 * 16 + 1) * 64 + 65 * 10;
    let char_lm = (256 + 16 + 2) * 32 + 12 * 32 * 32 + 13 * 32;
    for (model, parameters, batch) in [("digits", digits, 32.0), ("char-lm, one layer", char_lm, 2.0)] {
        assert!(page.contains(&format!("{model}: {parameters} parameters in all contenders")), "{page}");
        for name in ["burn-trainer, ", "burn's own loop, "] {
            let cells = row(&page, model, &format!("{name}dev"));
            let number = |cell: usize| cells[cell].parse::<f64>().unwrap_or_else(|_| panic!("{cells:?}"));
            let (step, steps, items) = (number(2), number(5), number(6));
            assert!(step > 0.0 && (steps * step / 1000.0 - 1.0).abs() < 0.1, "{cells:?}");
            assert!(
                (items / steps / batch - 1.0).abs() < 0.1 && number(9) > 0.0 && number(10) > 10.0,
                "{cells:?}"
            );
        }
        assert!(page.contains(&format!("{model}, 1 threads, PyTorch: /no/such/python")), "{page}");
        assert!(page.contains(&format!("{model}, 1 threads, JAX: /no/such/python")), "{page}");
    }
    let text = std::fs::read_to_string(&lines).unwrap();
    let measured = text.lines().filter(|line| line.contains("\"failed\":null")).count();
    assert_eq!((text.lines().count(), measured), (8, 4), "{text}");
    std::fs::remove_file(&lines).unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "nothing is left");
}
