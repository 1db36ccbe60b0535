//! A process's own limits: the size of a file, open files, and the mask of new files' modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use system_tests::programs::commands::{burn_ckpt_command, ended_with};
use system_tests::programs::running::{Ended, Running, warmup};
use system_tests::run_files::{checkpoints, compare, described_state, files, run_dir};

/// A command under a limit that the shell sets.
fn under(limit: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limit}; exec \"$@\""), "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

fn trained_under(limit: &str, root: &Path, arguments: &str) -> Ended {
    Running::start(under(limit, &warmup(root, arguments))).end()
}

#[test]
fn a_file_beyond_the_limit_of_its_size_is_an_error_that_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    // In blocks of 512 bytes: less than a checkpoint has, and more than its tensors and what the program
    // prints.
    let ended = trained_under("ulimit -f 128", root.path(), "--run-id r1 --epochs 1");
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("warning: saving step 30 failed: "), "{ended:?}");
    assert!(ended.stderr.contains("file size limit") && ended.stderr.contains("ulimit -f"), "{ended:?}");
    let left = files(&checkpoints(root.path()));
    assert!(left.is_empty(), "{left:?}");

    // The program that reads checkpoints too.
    Running::start(warmup(root.path(), "--run-id r1 --epochs 1 --overwrite")).end_well();
    let out = root.path().join("out.safetensors");
    let mut export = burn_ckpt_command();
    export.arg("export").arg(checkpoints(root.path()).join("last.ckpt")).arg(&out);
    let (_, error) = ended_with(&under("ulimit -f 8", &export).output().unwrap(), 1);
    assert!(error.contains("file size limit") || error.contains("File too large"), "{error}");
    assert!(!out.exists());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no part of a file is left");
}

#[test]
fn a_checkpoint_that_exceeds_the_limit_by_its_tensors_alone_is_an_error_before_the_first_step() {
    // The weights have 7,424 bytes in a file, and with Adam's state 21,248.
    for blocks in [8, 32] {
        let root = tempfile::tempdir().unwrap();
        let limit = format!("ulimit -f {blocks}");
        let ended = trained_under(&limit, root.path(), "--run-id r1 --epochs 1");
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        let said = format!("this process may write files of at most {} bytes: raise the limit", 512 * blocks);
        assert!(ended.stderr.contains(&said), "{ended:?}");
        assert!(
            ended.stderr.contains("(ulimit -f)") && ended.stderr.contains("save_weights_only"),
            "{ended:?}"
        );
        assert!(!ended.stderr.contains("epoch 1/1"), "{ended:?}");
        assert!(!run_dir(root.path()).exists(), "{ended:?}");
        // Without checkpoints nothing needs the space. Weights alone need less.
        let unsaved = "--run-id r1 --epochs 1 --set checkpoint_saving=false";
        let ended = trained_under(&limit, root.path(), unsaved);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let weights = r#"--run-id r2 --epochs 1 --set strategies=[{"kind":"last","save_weights_only":true}]"#;
        let ended = trained_under(&limit, root.path(), weights);
        assert_eq!(ended.stderr.contains("epoch 1/1 train"), blocks == 32, "{ended:?}");
    }
}

#[test]
fn with_too_few_open_files_saves_fail_with_a_reason_and_the_next_start_makes_up_for_them() {
    let whole = tempfile::tempdir().unwrap();
    Running::start(warmup(whole.path(), "--run-id r1 --epochs 3")).end_well();
    let mut with_failed_saves = 0;
    for limit in [10, 11, 12, 13, 14, 16, 20] {
        let root = tempfile::tempdir().unwrap();
        let ended = trained_under(&format!("ulimit -n {limit}"), root.path(), "--run-id r1 --epochs 2");
        match ended.code() {
            Some(0) => {}
            Some(1 | 2) => {
                assert!(ended.stderr.contains("Too many open files"), "{limit}: {ended:?}");
                with_failed_saves += usize::from(ended.stderr.contains("saving step"));
            }
            _ => panic!("{limit}: {ended:?}"),
        }
        Running::start(warmup(root.path(), "--run-id r1 --epochs 3 --ckpt-path auto")).end_well();
        let state = |root: &Path| described_state(&checkpoints(root).join("last.ckpt"));
        assert_eq!(state(whole.path()), state(root.path()), "{limit}: {ended:?}");
        // A metric file that could not be completed before the end was named.
        if !ended.stderr.contains("metric files are incomplete") {
            compare(&run_dir(whole.path()), &run_dir(root.path()))
                .unwrap_or_else(|reason| panic!("{limit}: {reason}; {ended:?}"));
        }
    }
    assert!(with_failed_saves > 0, "no limit lets training run and saves fail");
}

#[test]
fn new_files_have_the_modes_that_the_mask_leaves() {
    let root = tempfile::tempdir().unwrap();
    let ended = trained_under("umask 077", root.path(), "--run-id r1 --epochs 2");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let run = run_dir(root.path());
    for name in files(&run) {
        let (path, is_link) = match name.split_once(" -> ") {
            Some((link, _)) => (run.join(link), true),
            None => (run.join(&name), false),
        };
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} (a link: {is_link})");
        let above = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        assert_eq!(above, 0o700, "{}", path.display());
    }
}
