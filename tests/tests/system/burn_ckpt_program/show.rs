//! `burn-ckpt show`: what it prints is what the files say.

use std::fs;
use std::path::Path;

use burn_ckpt::Checkpoint;
use burn_ckpt::plumbing::blake3_hex;
use serde_json::Value;
use system_tests::programs::commands::{burn_ckpt, ended_with, stdout};
use system_tests::run_files::{checkpoints, metadata, run_dir};
use system_tests::{config, train};

fn shown(path: &Path) -> Value {
    serde_json::from_str(&stdout(&burn_ckpt(&[&"show", &path, &"--json"]))).unwrap()
}

#[test]
fn every_form_of_a_path_shows_the_same_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, directory) = (run_dir(root.path()), checkpoints(root.path()));
    let expected = shown(&directory.join("best/epoch=0-step=10.ckpt"));
    for path in [
        directory.join("best_val_loss.ckpt"),
        run.join("best"),
        run.join("best_val_loss"),
        directory.join("best"),
        directory.join("best_val_loss"),
    ] {
        let shown = shown(&path);
        assert_eq!(shown["metadata"], expected["metadata"], "{}", path.display());
        assert_eq!(shown["sections"], expected["sections"], "{}", path.display());
    }
    assert_eq!(shown(&run.join("last"))["metadata"]["reason"], "last");
}

#[test]
fn the_json_is_the_metadata_file_and_the_tensors_of_the_file() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let path = checkpoints(root.path()).join("last.ckpt");
    // A key of a later version stays.
    let target = fs::canonicalize(&path).unwrap();
    let mut described = metadata(&target);
    described["of_a_later_version"] = Value::from(7);
    fs::write(format!("{}.metadata.json", target.display()), described.to_string()).unwrap();

    let shown = shown(&path);
    assert_eq!(shown["metadata"], described);
    assert_eq!(shown["hparams"], described["hparams"]);
    assert_eq!(shown["trainer_state"]["global_step"], 10);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let names: Vec<&str> = shown["sections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|section| section["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, checkpoint.sections());
    let mut order = Vec::new();
    for section in shown["sections"].as_array().unwrap() {
        let name = section["name"].as_str().unwrap();
        let stored = checkpoint.section(name).unwrap();
        assert_eq!(section["tensors"].as_array().unwrap().len(), stored.tensors.len());
        assert_eq!(section["scalars"].as_object().unwrap().len(), stored.scalars.len());
        for tensor in section["tensors"].as_array().unwrap() {
            let own = tensor["name"].as_str().unwrap();
            order.push(format!("{name}.{own}"));
            let found = stored.tensors.iter().find(|tensor| tensor.name == own).unwrap();
            let bytes = found.to_bytes().unwrap();
            assert_eq!(tensor["size_bytes"], bytes.len());
            assert_eq!(tensor["blake3"], blake3_hex(&bytes));
            assert_eq!(tensor["shape"], serde_json::json!(found.shape.to_vec()));
            assert_eq!(tensor["dtype"], found.dtype.name());
        }
    }
    let stored: Vec<&String> = described["tensors"].as_object().unwrap().keys().collect();
    assert_eq!(order.iter().collect::<Vec<_>>(), stored, "in the order in which they are stored");
    let model = names.iter().position(|name| *name == "model").unwrap();
    let module = |tensor: usize| shown["sections"][model]["tensors"][tensor]["module"].clone();
    assert_eq!((module(0), module(2)), (Value::from("Linear"), Value::from("BatchNorm")));
}

#[test]
fn the_text_says_where_the_checkpoint_comes_from_and_what_is_in_it() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path(), 1);
    train(config.with_project("a project")).unwrap();
    let path = run_dir(root.path()).join("last");
    let text = stdout(&burn_ckpt(&[&"show", &path]));
    let described = metadata(&checkpoints(root.path()).join("last.ckpt"));
    let line = |name: &str| {
        let found = text.lines().map(str::trim).find(|line| line.split_whitespace().next() == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    };
    assert!(line("run").contains("r1") && line("run").contains("a project"));
    assert!(line("saved").ends_with("as last"));
    assert!(line("checksum").contains(described["checkpoint_checksum"].as_str().unwrap()));
    assert!(line("size").contains(&described["checkpoint_size_bytes"].to_string()));
    assert!(line("host").contains(described["environment"]["os"]["hostname"].as_str().unwrap()));
    assert!(line("devices").contains(if system_tests::backend::is_flex() { "Flex" } else { "Wgpu" }));
    assert!(line("hidden").ends_with('6'), "a hyperparameter");
    assert_eq!(line("input.weight").split_whitespace().nth(1), Some("Linear"));
    // 4*6 + 6, 4*6 of the normalisation, 6 + 1.
    assert!(text.contains("model: 8 tensors, 61 numbers"), "{text}");
    assert!(!text.contains("optimizer:") && text.lines().all(|line| line.len() < 120), "{text}");
    let all = stdout(&burn_ckpt(&[&"show", &path, &"--all"]));
    assert!(all.contains("optimizer: ") && all.contains("momentum.moment_1"), "{all}");
}

#[test]
fn a_long_model_is_cut_unless_all_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long.ckpt");
    let tensor = |name: usize| {
        let bytes = burn::tensor::Bytes::from_bytes_vec(vec![0; 8]);
        burn_ckpt::burn_pack::Tensor::new(format!("t{name:03}"), burn::tensor::DType::F32, [2], None, bytes)
    };
    let section = burn_ckpt::Section::new().with_tensors((0..100).map(tensor).collect());
    let contents = burn_ckpt::Contents::new(&()).unwrap().with_section("model", section);
    contents.save(&path, burn_ckpt::Metadata::new(jiff::Timestamp::UNIX_EPOCH)).unwrap();
    let text = stdout(&burn_ckpt(&[&"show", &path]));
    assert!(
        text.contains("t039") && !text.contains("t040") && text.contains("and 60 more (--tensors)"),
        "{text}"
    );
    assert!(text.contains("model: 100 tensors, 200 numbers"), "{text}");
    assert!(stdout(&burn_ckpt(&[&"show", &path, &"--tensors"])).contains("t099"));
    let json = shown(&path);
    assert_eq!(json["sections"][0]["tensors"].as_array().unwrap().len(), 100);
}

#[test]
fn a_file_alone_is_shown_with_its_own_metadata() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let path = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    fs::remove_file(format!("{}.metadata.json", path.display())).unwrap();
    let (out, err) = ended_with(&burn_ckpt(&[&"show", &path]), 0);
    let says = |name: &str, value: &str| {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        out.lines().any(|line| words(line) == [name, value])
    };
    assert!(says("step", "10") && says("run", "r1") && out.contains("input.weight"), "{out}");
    assert_eq!(err, "");
    let shown = shown(&path);
    assert_eq!(
        (&shown["metadata"]["global_step"], &shown["hparams"]["hidden"]),
        (&Value::from(10), &Value::from(6))
    );
    assert_eq!(shown["sections"][0]["tensors"][0]["blake3"].as_str().map(str::len), Some(64));
}
