//! What a hostile file takes: 64 MB of memory beyond the file's header or metadata, and a second.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use burn::nn::LinearConfig;
use burn_ckpt::chain;
use burn_ckpt::{Catalog, Checkpoint, Error, ErrorKind, Metadata, Section};
use ciborium::{Value, cbor};
use serde_json::json;
use system_tests::backend;
use system_tests::cpu_time;
use system_tests::forged_checkpoint::Parts;
use system_tests::hand_made_files::save_as_model;
use system_tests::peak_memory::peak_memory;
use system_tests::programs::commands::burn_ckpt_command;
use system_tests::programs::test_alone::run_alone;
use system_tests::run_files::metadata_path;

/// In the child: the directory with the file.
const DIRECTORY: &str = "SYSTEM_TESTS_BOUNDED_MEMORY";
const MOST_MEMORY: u64 = 64_000_000;
/// Of the processors, by all threads, also in the development profile, which does not optimise what parses
/// JSON.
const LONGEST: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

/// A file, and the kind of the error of reading it; `None` for one that is read.
const CASES: [(&str, Option<ErrorKind>); 12] = [
    ("hyperparameters of 38 MiB", Some(ErrorKind::Damaged)),
    ("hyperparameters of 120,000 values", None),
    ("a metadata file of 60 MB", Some(ErrorKind::Damaged)),
    ("a metadata file of 47 MB of free JSON", Some(ErrorKind::Damaged)),
    ("a metadata file of one text of 47 MB", Some(ErrorKind::Damaged)),
    ("a metadata file with 700,000 metrics", Some(ErrorKind::Damaged)),
    ("a metadata file of 150,000 tensors", None),
    ("700,000 values in the file's own metadata", Some(ErrorKind::Damaged)),
    ("a sparse tensor of 2.6 GB", Some(ErrorKind::Mismatch)),
    ("100 names for one range", Some(ErrorKind::Damaged)),
    ("a tensor of 1,000,000 dimensions", Some(ErrorKind::Damaged)),
    ("a name of 10 MB", Some(ErrorKind::Damaged)),
];

fn model() -> burn::nn::Linear {
    LinearConfig::new(4, 2).init(&backend::device())
}

/// Makes a case's `a.ckpt` and the metadata beside it.
fn make(case: &str, directory: &Path) {
    let path = save_as_model(directory, "a.ckpt", &json!({}), Section::from_module(&model()));
    let mut metadata = serde_json::to_value(Checkpoint::open(&path).unwrap().metadata().unwrap()).unwrap();
    let mut parts = Parts::read(&path);
    let text = |text: String| Value::Text(text);
    let tensor = |shape: Vec<u64>, to: u64| {
        cbor!({ "dtype" => "F32", "shape" => shape, "data_offsets" => [0, to] }).unwrap()
    };
    let hparams = |parts: &mut Parts, json: String| {
        parts.map("metadata").retain(|(key, _)| key.as_text() != Some("burn-ckpt.hparams"));
        parts.map("metadata").push((text("burn-ckpt.hparams".to_owned()), text(json)));
    };
    let beside = |metadata: &serde_json::Value| {
        std::fs::write(metadata_path(&path), metadata.to_string()).unwrap();
    };
    let objects = |count: usize| vec![json!({ "a": {} }); count];
    match case {
        "hyperparameters of 38 MiB" => hparams(&mut parts, format!("[{}0]", "{},".repeat(38 * MIB / 3))),
        "hyperparameters of 120,000 values" => {
            hparams(&mut parts, format!("[{}0]", r#"{"a":{}},"#.repeat(29_990)));
        }
        "a metadata file of 60 MB" => metadata["environment"] = json!("a".repeat(60_000_000)),
        "a metadata file of 47 MB of free JSON" => {
            metadata["environment"] = json!([objects(400_000), "a".repeat(43_000_000)]);
        }
        "a metadata file of one text of 47 MB" => metadata["environment"] = json!("\n".repeat(23_500_000)),
        "a metadata file with 700,000 metrics" => {
            let metrics = (0..700_000).map(|number| (number.to_string(), json!(0)));
            metadata["metrics"] = serde_json::Value::Object(metrics.collect());
        }
        "a metadata file of 150,000 tensors" => {
            let info = metadata["tensors"]["model.weight"].clone();
            let tensors = (0..150_000).map(|number| {
                let mut info = info.clone();
                info["shape"] = json!([1024, 1024, 3, 3]);
                (format!("optimizer.layers.{number}.attention.projection.weight.moment"), info)
            });
            metadata["tensors"] = serde_json::Value::Object(tensors.collect());
        }
        "700,000 values in the file's own metadata" => metadata["environment"] = json!(objects(230_000)),
        "a sparse tensor of 2.6 GB" => {
            parts.map("tensors").clear();
            parts
                .map("tensors")
                .push((text("model.weight".to_owned()), tensor(vec![650_000_000], 2_600_000_000)));
            parts.write_alone(&path);
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            return file.set_len(2_600_100_000).unwrap();
        }
        "100 names for one range" => {
            let names = (0..100).map(|number| (text(format!("model.{number}")), tensor(vec![8], 32)));
            parts.map("tensors").extend(names);
        }
        "a tensor of 1,000,000 dimensions" => {
            parts.map("tensors").push((text("model.w".to_owned()), tensor(vec![1; 1_000_000], 4)));
        }
        "a name of 10 MB" => {
            parts.map("tensors").push((text("n".repeat(10_000_000)), tensor(vec![1], 4)));
        }
        _ => panic!("{case}"),
    }
    match case.starts_with("a metadata file") {
        true => beside(&metadata),
        false if case.contains("own metadata") => parts.write(&path, metadata),
        false => parts.write_alone(&path),
    }
}

fn read(case: &str, path: &Path) -> Result<(), Error> {
    if case.starts_with("a metadata file") {
        return Metadata::read(metadata_path(path)).map(drop);
    }
    let checkpoint = Checkpoint::open(path)?;
    if case.contains("own metadata") {
        return checkpoint.metadata().map(drop);
    }
    if case.starts_with("hyperparameters") {
        return checkpoint.hparams::<serde_json::Value>().map(drop);
    }
    let options = burn_ckpt::LoadOptions::new().with_verify(false);
    checkpoint.load_into_with(model(), &options).map(drop)
}

/// In the child: reads a case's file, and leaves the figures.
fn measure(case: &str, kind: Option<ErrorKind>, directory: &Path) {
    let path = directory.join("a.ckpt");
    // The device and its threads take memory once.
    let _warm: burn::nn::Linear = model();
    let own = match case.starts_with("a metadata file") {
        true => std::fs::metadata(metadata_path(&path)).unwrap().len(),
        // The header, for a file that is sparse.
        false => std::fs::metadata(&path).unwrap().len().min(200_000_000),
    };
    let own = if case.contains("sparse") { 0 } else { own };
    let (before, begin) = (peak_memory(true), cpu_time::of_process());
    let outcome = read(case, &path);
    let (took, more) = (cpu_time::of_process() - begin, peak_memory(false).saturating_sub(before));
    let said = outcome.as_ref().map_or_else(|error| chain(error), |()| "it is read".to_owned());
    let beyond = more.saturating_sub(own);
    let mb = |bytes: u64| bytes / 1_000_000;
    let figures = format!(
        "{case}: {} MB, {} MB beyond its own {} MB, {:.2} s: {said:.200}",
        mb(more),
        mb(beyond),
        mb(own),
        took.as_secs_f64()
    );
    std::fs::write(directory.join("figures"), &figures).unwrap();
    assert!(before > 0, "the system tells no memory");
    assert_eq!(outcome.as_ref().err().map(Error::kind), kind, "{figures}");
    assert!(beyond <= MOST_MEMORY && took <= LONGEST && said.len() < 5000, "{figures}");
}

#[test]
fn a_hostile_file_takes_64_megabytes_at_most() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let directory = Path::new(&directory);
        let number: usize = std::fs::read_to_string(directory.join("case")).unwrap().parse().unwrap();
        return measure(CASES[number].0, CASES[number].1, directory);
    }
    for (number, (case, _)) in CASES.iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        make(case, directory.path());
        std::fs::write(directory.path().join("case"), number.to_string()).unwrap();
        let child = std::panic::catch_unwind(|| {
            run_alone(
                module_path!(),
                "a_hostile_file_takes_64_megabytes_at_most",
                DIRECTORY,
                directory.path(),
            );
        });
        println!("{}", std::fs::read_to_string(directory.path().join("figures")).unwrap());
        assert!(child.is_ok(), "{case}");
    }
}

#[test]
fn a_run_with_such_a_metadata_file_is_listed_and_pruned_within_bounds() {
    for case in ["a metadata file of 60 MB", "a metadata file of 47 MB of free JSON"] {
        let directory = tempfile::tempdir().unwrap();
        make(case, directory.path());
        let listed = Catalog::scan_directory(directory.path()).unwrap();
        assert_eq!(listed.entries.len() + listed.broken.len(), 1);
        for verb in [&["ls"][..], &["show"], &["verify"], &["prune", "--keep=last=1"]] {
            let program = burn_ckpt_command();
            let mut limited = std::process::Command::new("sh");
            // The program itself takes less than 20 MB, and the file 48.
            limited
                .args(["-c", r#"ulimit -c 0; ulimit -d 135000 && exec "$@""#, "sh"])
                .arg(program.get_program());
            let path = if verb[0] == "show" || verb[0] == "verify" { "a.ckpt" } else { "" };
            let output = limited.args(verb).arg(directory.path().join(path)).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{case}, {verb:?}: {}, {said}",
                output.status
            );
        }
    }
}
