//! What `cargo xtask train` leaves: exactly the tree of FORMAT.md, with links that resolve, digests that an
//! independent program confirms, and metadata that is true.

use std::path::Path;

use system_tests::backend;
use system_tests::programs::commands::{sha256sum, stdout, train_example};
use system_tests::run_files::{files, metadata, target};

/// 1,797 images, 1,438 of them for training, 32 in a step.
const STEPS_PER_EPOCH: u64 = 45;

fn epoch_and_step(path: &Path) -> (u64, u64) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (epoch, step) = name.split_once('-').unwrap();
    let number = |part: &str, key: &str| part.strip_prefix(key).unwrap().parse::<u64>().unwrap();
    (number(epoch, "epoch="), number(step, "step="))
}

/// The last line of a metric's log of an epoch (counted from 1) that burn wrote, which is its final value.
fn burns_value(run: &Path, split: &str, epoch: u64, metric: &str) -> f64 {
    let log = std::fs::read_to_string(run.join(format!("{split}/epoch-{epoch}/{metric}.log"))).unwrap();
    log.lines().last().unwrap().strip_suffix(",final").unwrap().parse().unwrap()
}

#[test]
fn a_run_leaves_exactly_the_documented_tree_with_true_metadata() {
    let root = tempfile::tempdir().unwrap();
    let before = jiff::Timestamp::now();
    let output = train_example(root.path(), &["--epochs", "4", "--root", "OUT", "--run-id", "r1"]);
    let printed = stdout(&output);
    let run = root.path().join("OUT/burn_trainer_logs/r1");
    let checkpoint = run.join("checkpoint");

    let best = target(&checkpoint.join("best_val_loss.ckpt"));
    let last = target(&checkpoint.join("last.ckpt"));
    assert_eq!(best.parent(), Some(Path::new("best")), "relative, and into the strategy's directory");
    assert_eq!(last, Path::new("last").join(format!("epoch=3-step={}.ckpt", 4 * STEPS_PER_EPOCH)));
    let (best, last) = (best.display().to_string(), last.display().to_string());
    let mut expected = vec![
        best.clone(),
        format!("{best}.metadata.json"),
        last.clone(),
        format!("{last}.metadata.json"),
        format!("best_val_loss.ckpt -> {best}"),
        format!("best_val_loss.ckpt.metadata.json -> {best}.metadata.json"),
        format!("last.ckpt -> {last}"),
        format!("last.ckpt.metadata.json -> {last}.metadata.json"),
    ];
    expected.sort();
    assert_eq!(files(&checkpoint), expected);
    assert!(!run.join("run.lock").exists(), "no lock of a finished run");

    for (link, reason) in [("best_val_loss.ckpt", "best"), ("last.ckpt", "last")] {
        metadata_is_true(&run, &checkpoint.join(link), reason, before);
    }

    // It prints where the checkpoints are, the best score, and a command that resumes the run.
    let directory = Path::new("OUT/burn_trainer_logs/r1/checkpoint").display();
    assert!(printed.contains(&format!("checkpoints: {directory}")), "{printed}");
    let score = metadata(&checkpoint.join("best_val_loss.ckpt"))["metrics"]["val_loss"].to_string();
    assert!(printed.contains(&format!("best val_loss: {score}")), "{printed}");
    let command = format!(
        "resume: cargo xtask train digits --backend {} --root OUT --run-id r1 --ckpt-path auto --epochs 8",
        backend::name()
    );
    assert!(printed.contains(&command), "{printed}");
}

/// Compares what the metadata of a link says with the file, the run's metric files and the clock.
fn metadata_is_true(run: &Path, link: &Path, reason: &str, before: jiff::Timestamp) {
    let described = metadata(link);
    let file = std::fs::canonicalize(link).unwrap();
    let (epoch, step) = epoch_and_step(&file);

    assert_eq!(described["checkpoint_checksum"], format!("sha256:{}", sha256sum(link).unwrap()));
    assert_eq!(described["checkpoint_size_bytes"], std::fs::metadata(link).unwrap().len());
    assert_eq!(described["checkpoint_path"], file.file_name().unwrap().to_str().unwrap());
    assert_eq!(described["run_id"], "r1");
    assert_eq!(described["reason"], reason);
    assert_eq!(described["epoch"], epoch);
    assert_eq!(described["global_step"], step);
    assert_eq!(step, (epoch + 1) * STEPS_PER_EPOCH);
    assert!(described["name"].is_null() && described["project"].is_null());

    let time = |key: &str| described[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(before <= time("start_timestamp"));
    assert!(time("start_timestamp") <= time("checkpoint_timestamp"));
    assert!(time("checkpoint_timestamp") <= jiff::Timestamp::now());
    let trained = described["training_time_seconds"].as_f64().unwrap();
    let passed = time("checkpoint_timestamp").duration_since(time("start_timestamp")).as_secs_f64();
    assert!(trained > 0.0 && trained <= passed, "{trained} of {passed} seconds");

    let metrics: Vec<_> = described["metrics"].as_object().unwrap().keys().collect();
    assert_eq!(metrics, ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]);
    for (key, split, metric) in [
        ("train_loss", "train", "Loss"),
        ("train_accuracy", "train", "Accuracy"),
        ("val_loss", "valid", "Loss"),
        ("val_accuracy", "valid", "Accuracy"),
    ] {
        let ours = described["metrics"][key].as_f64().unwrap();
        assert_eq!(ours, burns_value(run, split, epoch + 1, metric), "{key} of epoch {epoch}");
    }
    assert_eq!(described["trainer_config"]["max_epochs"], 4);
    assert_eq!(described["trainer_config"]["primary_metric"], "val_loss");
    assert_eq!(described["hparams"]["channels"], 16);
    environment_is_true(&described["environment"]);
    tensors_are_described(&described["tensors"]);
}

/// Every tensor has a type and a digest, and one of them its shape.
fn tensors_are_described(tensors: &serde_json::Value) {
    for (name, tensor) in tensors.as_object().unwrap() {
        let numbers = name.starts_with("model.") || name.starts_with("optimizer.");
        assert!(numbers || ["history.metrics", "history.epochs"].contains(&name.as_str()), "{name}");
        assert_eq!(tensor["dtype"], if numbers { "f32" } else { "u8" });
        assert_eq!(tensor["blake3"].as_str().unwrap().len(), 64);
    }
    assert_eq!(tensors["model.conv1.weight"]["shape"], serde_json::json!([16, 1, 3, 3]));
}

#[test]
fn digits_learns() {
    let root = tempfile::tempdir().unwrap();
    let output = train_example(root.path(), &["--run-id", "r1"]);
    stdout(&output);
    let described = metadata(&root.path().join("burn_trainer_logs/r1/checkpoint/best_val_loss.ckpt"));
    let accuracy = described["metrics"]["val_accuracy"].as_f64().unwrap();
    assert!(accuracy > 95.0, "{accuracy} % of the validation images");
}

/// Compares the environment with what the system says by other ways.
fn environment_is_true(environment: &serde_json::Value) {
    let keys: Vec<_> = environment.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["hardware", "packages", "rust", "os", "git", "slurm", "lsf"]);
    let hardware = &environment["hardware"];
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    assert_eq!(hardware["cpu_count"], processors);
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap();
    assert_eq!(hardware["cpu_model"].as_str().unwrap(), model.trim_start_matches(['\t', ':', ' ']).trim());
    assert_eq!(hardware["gpu_count"], hardware["gpu_devices"].as_array().unwrap().len());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(environment["os"]["kernel"].as_str().unwrap(), kernel.trim());
    let packages = environment["packages"].as_array().unwrap();
    let burn = packages.iter().find(|package| package["name"] == "burn").unwrap();
    assert_eq!(burn["version"], "0.22.1");
    assert!(environment["slurm"].is_null() && environment["lsf"].is_null());
}
