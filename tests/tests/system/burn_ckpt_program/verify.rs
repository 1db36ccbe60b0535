//! `burn-ckpt verify`: it passes what `sha256sum` passes, and nothing else.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Bytes, DType};
use burn_ckpt::burn_pack::Tensor;
use burn_ckpt::{Checkpoint, Contents, Error, Metadata, Section};
use jiff::Timestamp;
use serde_json::{Value, json};
use system_tests::programs::commands::{burn_ckpt, ended_with, sha256sum};
use system_tests::run_files::{checkpoints, last_tensor_byte, metadata, run_dir};
use system_tests::{config, train, train_and_keep_all};

fn last(root: &Path, epoch: usize) -> PathBuf {
    checkpoints(root).join(format!("last/epoch={epoch}-step={}.ckpt", 10 * (epoch + 1)))
}

fn change_metadata(checkpoint: &Path, change: impl FnOnce(&mut Value)) {
    let mut described = metadata(checkpoint);
    change(&mut described);
    fs::write(format!("{}.metadata.json", checkpoint.display()), described.to_string()).unwrap();
}

#[test]
fn complete_checkpoints_pass_with_the_sum_that_sha256sum_gives() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 1.0, 2.0], 1).unwrap();
    for jobs in ["1", "2", "7"] {
        let (out, err) = ended_with(&burn_ckpt(&[&"verify", &run_dir(root.path()), &"--jobs", &jobs]), 0);
        assert_eq!(out.lines().count(), 4, "{out}");
        for line in out.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[0], "verified");
            assert_eq!(words[2], format!("sha256:{}", sha256sum(Path::new(words[1])).unwrap()));
        }
        assert!(err.contains("4 checkpoints, all verified"), "{err}");
    }
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &run_dir(root.path()), &"--quiet"]), 0);
    assert!(out.is_empty(), "{out}");
}

#[test]
fn every_form_of_a_path_is_verified() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (run, directory) = (run_dir(root.path()), checkpoints(root.path()));
    let paths =
        [run.join("best"), run.join("last"), directory.join("best_val_loss.ckpt"), last(root.path(), 0)];
    let [a, b, c, d] = &paths;
    let (out, err) = ended_with(&burn_ckpt(&[&"verify", a, b, c, d]), 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("verified ")).count(), 4, "{out}");
    assert!(err.contains("4 checkpoints"), "{err}");
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &root.path()]), 0);
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn what_is_not_whole_is_named_and_the_others_are_verified_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[6.0, 5.0, 4.0, 3.0, 2.0], 1).unwrap();
    let of = |epoch| last(root.path(), epoch);
    // A bit in a tensor; cut; without metadata; a link that leads nowhere; whole.
    let info = Checkpoint::open(of(0)).unwrap().section("model").unwrap();
    let weight =
        info.tensors.iter().find(|tensor| tensor.name == "input.weight").unwrap().to_bytes().unwrap();
    let mut bytes = fs::read(of(0)).unwrap();
    let place = bytes.windows(weight.len()).position(|window| window == &weight[..]).unwrap();
    bytes[place] ^= 1;
    fs::write(of(0), bytes).unwrap();
    let half = fs::metadata(of(1)).unwrap().len() / 2;
    fs::File::options().write(true).open(of(1)).unwrap().set_len(half).unwrap();
    fs::remove_file(format!("{}.metadata.json", of(2).display())).unwrap();
    fs::remove_file(of(4)).unwrap();

    let (out, err) = ended_with(&burn_ckpt(&[&"verify", &run_dir(root.path())]), 1);
    let line = |name: &str| out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{out}"));
    assert!(line("last/epoch=0-step=10.ckpt").starts_with("damaged  "), "{out}");
    assert!(line("last/epoch=0-step=10.ckpt").contains("in the tensor model.input.weight"), "{out}");
    assert!(line("last/epoch=1-step=20.ckpt").starts_with("damaged  "), "{out}");
    assert!(line("last/epoch=2-step=30.ckpt").starts_with("verified  "), "{out}");
    assert!(line("last/epoch=3-step=40.ckpt").starts_with("verified  "), "{out}");
    assert!(line("last.ckpt").starts_with("missing  "), "{out}");
    assert!(line("best/epoch=4-step=50.ckpt").starts_with("verified  "), "{out}");
    assert!(err.contains("6 checkpoints, 3 not verified"), "{err}");
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &run_dir(root.path()), &"-q"]), 1);
    assert_eq!(out.lines().count(), 3, "{out}");
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &checkpoints(root.path()).join("last.ckpt")]), 1);
    assert!(out.starts_with("missing  "), "{out}");
}

#[test]
fn metadata_beside_that_says_something_else_than_the_file_is_not_believed() {
    type Change = fn(&mut Value);
    let changes: [Change; 7] = [
        |described| described["hparams"]["hidden"] = json!(7),
        |described| described["tensors"]["model.input.bias"]["shape"] = json!([3, 2]),
        |described| described["tensors"]["model.input.bias"]["dtype"] = json!("f16"),
        |described| described["tensors"]["model.input.bias"]["blake3"] = json!("0".repeat(64)),
        |described| _ = described["tensors"].as_object_mut().unwrap().remove("model.input.bias"),
        |described| described["checkpoint_size_bytes"] = json!(7),
        |described| described["global_step"] = json!(7),
    ];
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let (first, second) = (checkpoints(root.path()).join("best/epoch=0-step=10.ckpt"), last(root.path(), 0));
    let beside = metadata(&second);
    for change in changes {
        change_metadata(&second, |described| {
            *described = beside.clone();
            change(described);
        });
        let (out, err) = ended_with(&burn_ckpt(&[&"verify", &first, &second]), 0);
        let sum = format!("sha256:{}", sha256sum(&second).unwrap());
        assert_eq!(
            out.lines().filter(|line| line.starts_with("verified ") && line.ends_with(&sum)).count(),
            2,
            "{out}"
        );
        let command = format!("`burn-ckpt describe {} --force`", second.display());
        assert_eq!(err.matches(&command).count(), 1, "{err}");
    }
    // All but the SHA-256 agrees: who is right is not known.
    change_metadata(&second, |described| {
        *described = beside.clone();
        described["checkpoint_checksum"] = json!(format!("sha256:{}", "0".repeat(64)));
    });
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &second]), 1);
    assert!(out.starts_with("damaged  ") && out.contains("burn-ckpt describe"), "{out}");
}

/// A checkpoint of tensors larger than what is hashed at a time, and of one that is empty.
fn large(directory: &Path) -> PathBuf {
    let path = directory.join("large.ckpt");
    let tensor = |name: &str, length: usize| {
        let bytes = (0..length).map(|place| (place * 31 % 251) as u8).collect();
        Tensor::new(name.to_owned(), DType::U8, [length], None, Bytes::from_bytes_vec(bytes))
    };
    const PIECE: usize = 4 * 1024 * 1024;
    let tensors = vec![
        tensor("a", 2 * PIECE + 1),
        tensor("b", 0),
        tensor("c", PIECE),
        tensor("d", 1),
        tensor("e", 3 * PIECE),
    ];
    let section = Section::new().with_tensors(tensors);
    let contents = Contents::new(&()).unwrap().with_section("model", section);
    contents.save(&path, Metadata::new(Timestamp::UNIX_EPOCH)).unwrap();
    path
}

#[test]
fn threads_and_pieces_change_nothing_and_all_bytes_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = large(directory.path());
    let checkpoint = Checkpoint::open(&path).unwrap();
    let described = checkpoint.metadata().unwrap();
    let tensors: u64 =
        checkpoint.section("model").unwrap().tensors.iter().map(|tensor| tensor.byte_len() as u64).sum();
    for threads in [1, 2, 3, 16] {
        let done = AtomicU64::new(0);
        let progress = |bytes| _ = done.fetch_add(bytes, Ordering::Relaxed);
        let threads = NonZeroUsize::new(threads).unwrap();
        assert_eq!(checkpoint.verify_with(threads, &progress).unwrap(), described);
        assert_eq!(done.load(Ordering::Relaxed), fs::metadata(&path).unwrap().len() + tensors);
        assert_eq!(checkpoint.tensor_digests(threads, &|_| ()).unwrap(), described.tensors);
    }
    // In the last piece of the last tensor.
    let mut bytes = fs::read(&path).unwrap();
    let place = last_tensor_byte(&bytes);
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    for threads in [1, 3] {
        let error = checkpoint.verify_with(NonZeroUsize::new(threads).unwrap(), &|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Checksum { .. }) && error.to_string().contains("model.e"), "{error}");
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_verified_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = large(directory.path());
    let checkpoint = Checkpoint::open(&path).unwrap();
    let cut = |_| fs::File::options().write(true).open(&path).unwrap().set_len(1024 * 1024).unwrap();
    for threads in [1, 3] {
        let result = checkpoint.verify_with(NonZeroUsize::new(threads).unwrap(), &cut);
        assert!(result.is_err());
    }
}

#[test]
fn what_names_no_checkpoint_is_counted_apart_and_is_in_the_json() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let empty = run.with_file_name("empty");
    fs::create_dir_all(empty.join("checkpoint")).unwrap();
    let nosuch = root.path().join("nosuch");
    let (out, err) = ended_with(&burn_ckpt(&[&"verify", &nosuch]), 1);
    assert!(out.is_empty() && err.contains("0 checkpoints; 1 path not read"), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"verify", &run, &empty, &nosuch]), 1);
    assert!(err.contains("2 checkpoints, all verified; 2 paths not read"), "{err}");
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &run, &empty, &nosuch, &"--json"]), 1);
    let found: Value = serde_json::from_str(&out).unwrap();
    let of = |place: usize, key: &str| found[place][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(found.as_array().map(Vec::len), Some(4), "{out}");
    assert_eq!([of(0, "state"), of(1, "state")], ["verified", "verified"]);
    for (place, path, problem) in [(2, &empty, "has no checkpoint"), (3, &nosuch, "No such file")] {
        assert_eq!(
            (of(place, "path"), of(place, "state")),
            (path.display().to_string(), "unknown".to_owned())
        );
        assert!(of(place, "problem").contains(problem), "{out}");
    }
}

#[test]
fn a_file_that_never_was_a_checkpoint_is_not_called_a_damaged_one() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let log = run_dir(root.path()).join("metrics.jsonl");
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &log]), 1);
    assert!(out.starts_with("unknown  ") && out.contains(": it is not a checkpoint: "), "{out}");
    // A file with the name of one was one.
    fs::write(last(root.path(), 0), fs::read(&log).unwrap()).unwrap();
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &last(root.path(), 0)]), 1);
    assert!(out.starts_with("damaged  ") && out.contains(": it is not a checkpoint: "), "{out}");
}
