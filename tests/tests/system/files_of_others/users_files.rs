//! Users' files where a run writes and deletes.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Command;

use burn_trainer::burn_ckpt::retention::TopK;
use burn_trainer::strategy::{Last, StrategyConfig};
use system_tests::programs::commands::{burn_ckpt, ended_with, train_example};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{checkpoints, copy_checkpoint, files, in_memory, run_dir};
use system_tests::{config, train};

#[test]
fn overwrite_removes_metric_files_and_no_file_of_the_users_beside_them() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let mine =
        ["train/images/a.png", "train/epoch-1/notes.txt", "train/epoch-1/deeper/Loss.log", "valid/b.csv"];
    for name in mine {
        fs::create_dir_all(run.join(name).parent().unwrap()).unwrap();
        fs::write(run.join(name), "mine").unwrap();
    }
    // There has never been a run, and then one of two epochs.
    train(config(root.path(), 2).with_overwrite(true)).unwrap();
    train(config(root.path(), 1).with_overwrite(true)).unwrap();
    for name in mine {
        assert_eq!(fs::read_to_string(run.join(name)).unwrap(), "mine", "{name}");
    }
    let left = files(&run);
    assert!(!left.iter().any(|name| name.contains("epoch-2")), "{left:?}");
}

#[test]
fn resuming_removes_later_metric_files_and_no_file_of_the_users_beside_them() {
    let root = tempfile::tempdir().unwrap();
    let run = run_dir(root.path());
    let config = |epochs| {
        let all = StrategyConfig::Last(Last::new().with_topk(TopK::All));
        config(root.path(), epochs).with_strategies([all])
    };
    train(config(3)).unwrap();
    let mine = run.join("train/epoch-3/notes.txt");
    fs::write(&mine, "mine").unwrap();
    let first = checkpoints(root.path()).join("last/epoch=0-step=10.ckpt");
    train(config(2).with_ckpt_path(first.to_str().unwrap())).unwrap();
    let left: Vec<String> = files(&run).into_iter().filter(|name| name.contains("epoch-3")).collect();
    assert_eq!(left, ["train/epoch-3/notes.txt"]);
}

#[test]
fn an_average_among_the_checkpoints_of_a_run_is_left_alone_and_nothing_is_said_of_it() {
    let root = in_memory();
    let trained = |epochs: &str| {
        let set = ["--set", "limit_train_batches=2", "--set", "last.topk=all", "--progress", "plain"];
        let run = ["--run-id", "r1", "--ckpt-path", "auto", "--epochs", epochs];
        ended_with(&train_example(root.path(), &[&run[..], &set].concat()), 0).1
    };
    trained("2");
    let at = |name: &str| checkpoints(root.path()).join(name);
    let [first, second] = [at("last/epoch=0-step=2.ckpt"), at("last/epoch=1-step=4.ckpt")];
    let average = at("best/average.ckpt");
    ended_with(&burn_ckpt(&[&"average", &first, &second, &"-o", &average]), 0);
    let before = fs::read(&average).unwrap();
    let said = trained("3");
    assert!(said.contains("epoch 3/3") && !said.contains("average.ckpt"), "{said}");
    assert_eq!(fs::read(&average).unwrap(), before);
}

#[test]
fn force_replaces_a_regular_file_alone_which_keeps_its_mode() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let checkpoint = checkpoints(root.path()).join("last.ckpt");
    let at = |name: &str| root.path().join(name);
    let export = |to: &str| burn_ckpt(&[&"export", &checkpoint, &at(to), &"--force"]);
    fs::write(at("file.safetensors"), "older").unwrap();
    fs::set_permissions(at("file.safetensors"), fs::Permissions::from_mode(0o604)).unwrap();
    ended_with(&export("file.safetensors"), 0);
    assert_eq!(fs::metadata(at("file.safetensors")).unwrap().permissions().mode() & 0o777, 0o604);
    fs::write(at("imported.ckpt"), "older").unwrap();
    fs::set_permissions(at("imported.ckpt"), fs::Permissions::from_mode(0o604)).unwrap();
    ended_with(&burn_ckpt(&[&"import", &at("file.safetensors"), &at("imported.ckpt"), &"--force"]), 0);
    assert_eq!(fs::metadata(at("imported.ckpt")).unwrap().permissions().mode() & 0o777, 0o604);

    fs::write(at("precious"), "mine").unwrap();
    symlink("precious", at("link")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    for (name, what) in
        [("link", "is a link"), ("directory", "is a directory"), ("pipe", "is a device or a pipe")]
    {
        let (_, error) = ended_with(&export(name), 1);
        assert!(error.contains(what), "{error}");
        let import = burn_ckpt(&[&"import", &at("file.safetensors"), &at(name), &"--force"]);
        let (_, error) = ended_with(&import, 1);
        assert!(error.contains(what), "{error}");
    }
    assert!(fs::symlink_metadata(at("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::read_link(at("link")).unwrap().to_str(), Some("precious"));
    assert_eq!(fs::read_to_string(at("precious")).unwrap(), "mine");
    // The metadata's place too.
    assert!(Command::new("mkfifo").arg(at("new.ckpt.metadata.json")).status().unwrap().success());
    let import = burn_ckpt(&[&"import", &at("file.safetensors"), &at("new.ckpt"), &"--force"]);
    let (_, error) = ended_with(&import, 1);
    assert!(error.contains("new.ckpt.metadata.json is a device or a pipe"), "{error}");
    assert!(!at("new.ckpt").exists());
}

#[test]
fn a_checkpoint_of_another_program_is_named_and_stays() {
    let root = tempfile::tempdir().unwrap();
    let start = |more: &str| {
        let flags = format!("--run-id r1 --epochs 1 {more}");
        Running::start(warmup(root.path(), &flags)).end_well().stderr
    };
    start("");
    let last = checkpoints(root.path()).join("last");
    let (mine, pipe) = (last.join("epoch=3-step=120.ckpt"), last.join("pipe.ckpt"));
    // As PyTorch Lightning writes it.
    fs::write(&mine, b"PK\x03\x04mine").unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let prune = burn_ckpt(&[&"prune", &run_dir(root.path()), &"--keep", &"last=1", &"--broken"]);
    let (_, said) = ended_with(&prune, 0);
    assert!(said.contains("last/epoch=3-step=120.ckpt: not known to be a checkpoint, kept"), "{said}");
    let said = start("--overwrite");
    for path in [&mine, &pipe] {
        let line = format!("warning: overwrite leaves {}, which is not a checkpoint", path.display());
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(fs::read(&mine).unwrap(), b"PK\x03\x04mine");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_checkpoint_in_an_archive_that_is_not_mounted_keeps_its_metadata_and_its_link() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let directory = checkpoints(root.path());
    // The user has moved a copy to an archive.
    fs::create_dir(directory.join("kept")).unwrap();
    let kept = directory.join("kept/epoch=0-step=10.ckpt");
    copy_checkpoint(&directory.join("last/epoch=0-step=10.ckpt"), &kept);
    fs::remove_file(&kept).unwrap();
    symlink("/no-such-archive/epoch=0-step=10.ckpt", &kept).unwrap();
    symlink("/no-such-archive/mine.ckpt", directory.join("mine.ckpt")).unwrap();
    train(config(root.path(), 2).with_ckpt_path("auto")).unwrap();
    let left = files(&directory);
    for name in ["kept/epoch=0-step=10.ckpt.metadata.json", "mine.ckpt -> /no-such-archive/mine.ckpt"] {
        assert!(left.iter().any(|left| left == name), "{name}: {left:?}");
    }
}
