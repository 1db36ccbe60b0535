//! `burn-ckpt`: exit statuses, which output gets what, and readers that go away.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::programs::commands::{burn_ckpt, burn_ckpt_command, ended_with, stdout};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{run_dir, stems};
use system_tests::{config, train, train_and_keep_all};

#[test]
fn wrong_usage_ends_with_status_2_and_an_error_on_standard_error() {
    for arguments in [
        &["no-such-verb"][..],
        &["ls", "--no-such-flag"],
        &["show"],
        &["verify"],
        &["verify", ".", "--jobs", "0"],
        &["diff", "a"],
        &["prune", "."],
        &["prune", ".", "--keep", "last=0"],
        &["prune", ".", "--keep", "newest=1"],
        &["prune", ".", "--broken", "--mode", "min"],
        // What chooses among what is shown, beside --json, which has all of it.
        &["runs", "--columns", "run", "--json"],
        &["log", ".", "--metrics", "loss", "--json"],
        &["log", ".", "--all", "--json"],
        &["plot", ".", "--log", "--json"],
        &["ls", "--metrics", "loss", "--json"],
        &["ls", "--all", "--json"],
        &["show", "a", "--all", "--json"],
        &["diff", "a", "b", "--all", "--json"],
        &["env", "--packages", "--json"],
        &["completions", "no-such-shell"],
    ] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = arguments.iter().map(|word| word as _).collect();
        let (out, err) = ended_with(&burn_ckpt(&arguments), 2);
        assert!(out.is_empty() && err.contains("error:"), "{out}{err}");
    }
    let (_, err) = ended_with(&burn_ckpt(&[&"prune", &"."]), 2);
    for rule in ["last=N", "best=", "links"] {
        assert!(err.contains(rule), "{err}");
    }
}

#[test]
fn with_json_an_error_of_usage_is_one_line() {
    for arguments in [
        &["no-such-verb", "--json"][..],
        &["ls", "--no-such-flag", "--json"],
        &["show", "--json"],
        &["verify", ".", "--jobs", "a\nb", "--json"],
        &["ls", "--jsn", "--json"],
        &["prune", ".", "--json"],
        &["mirror", "run", "--json"],
    ] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = arguments.iter().map(|word| word as _).collect();
        let (out, err) = ended_with(&burn_ckpt(&arguments), 2);
        assert!(out.is_empty() && err.starts_with("error: "), "{out}{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (_, err) = ended_with(&burn_ckpt(&[&"diff", &"a", &"--json"]), 2);
    assert!(err.contains("<B>") && !err.contains("Usage"), "{err}");
    // Not the option, but a path of that name.
    let (_, err) = ended_with(&burn_ckpt(&[&"show", &"a", &"--", &"--json"]), 2);
    assert!(err.contains("Usage: "), "{err}");
    // Nor a word of the program that is started for each checkpoint.
    let (_, err) = ended_with(&burn_ckpt(&[&"watch", &"--exec", &"a", &"--json"]), 2);
    assert!(err.contains("Usage: "), "{err}");
    let (_, err) = ended_with(&burn_ckpt(&[&"watch", &"--json", &"--bad", &"--exec", &"a"]), 2);
    assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    // Help is none.
    let help = stdout(&burn_ckpt(&[&"ls", &"--json", &"--help"]));
    assert!(help.lines().count() > 10, "{help}");
}

#[test]
fn a_metric_that_is_not_there_has_one_status() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let run = run.to_str().unwrap();
    for words in [
        &["runs", run, "--sort", "nosuch"][..],
        &["runs", run, "--columns", "nosuch"],
        &["ls", run, "--metrics", "nosuch"],
        &["log", run, "--metrics", "nosuch"],
        &["plot", run, "nosuch"],
        &["prune", run, "--keep", "best=nosuch:1"],
        &["watch", run, "--metric", "nosuch"],
    ] {
        let words: Vec<&dyn AsRef<std::ffi::OsStr>> = words.iter().map(|word| word as _).collect();
        let (_, err) = ended_with(&burn_ckpt(&words), 1);
        assert!(err.contains("nosuch"), "{err}");
    }
}

#[test]
fn what_is_not_there_or_no_checkpoint_ends_with_status_1_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let gone = directory.path().join("gone");
    let text = directory.path().join("text");
    fs::write(&text, "no checkpoint").unwrap();
    let fails = |arguments: &[&dyn AsRef<std::ffi::OsStr>], name: &str| {
        let (out, err) = ended_with(&burn_ckpt(arguments), 1);
        assert!(out.is_empty() && err.starts_with("error: ") && err.contains(name), "{out}{err}");
    };
    for path in [&empty, &gone, &text] {
        let name = path.file_name().unwrap().to_str().unwrap();
        fails(&[&"ls", path], name);
        fails(&[&"ls", path, &"--json"], name);
        fails(&[&"show", path], name);
        fails(&[&"show", path, &"--json"], name);
        fails(&[&"diff", path, path], name);
        fails(&[&"prune", path, &"--keep", &"links"], name);
    }
    // An order to remove makes no directory of a run that is not there.
    assert!(!gone.exists() && fs::read_dir(&empty).unwrap().count() == 0);
    for path in [&empty, &gone] {
        let (out, err) = ended_with(&burn_ckpt(&[&"verify", path]), 1);
        assert!(out.is_empty() && err.contains("error: "), "{out}{err}");
    }
    let (out, _) = ended_with(&burn_ckpt(&[&"verify", &text]), 1);
    assert!(out.starts_with("unknown  ") && out.contains("text"), "{out}");
}

#[test]
fn a_path_with_a_line_break_stays_in_its_line() {
    let root = tempfile::tempdir().unwrap();
    for (run, seed) in [("r1", 1), ("r2", 2)] {
        train(config(root.path(), 1).with_run_id(run).with_seed(seed)).unwrap();
    }
    let logs = root.path().join("burn_trainer_logs");
    let evil = logs.join("a\nfake");
    fs::rename(logs.join("r1"), &evil).unwrap();
    let (last, other) = (evil.join("last"), logs.join("r2/last"));
    let [copy, exported, average] =
        ["b\nfake.ckpt", "b\nfake.safetensors", "c\nfake.ckpt"].map(|name| root.path().join(name));
    let verbs: [(&str, &[&Path]); 8] = [
        ("runs", &[&logs]),
        ("ls", &[&logs]),
        ("show", &[&last]),
        ("diff", &[&last, &other]),
        ("verify", &[&evil]),
        ("cp", &[&last, &copy]),
        ("export", &[&last, &exported]),
        ("average", &[&last, &other, Path::new("-o"), &average]),
    ];
    for (verb, arguments) in verbs {
        let output = burn_ckpt_command().arg(verb).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("\\nfake"), "{verb}: {text}");
        assert!(!text.lines().any(|line| line.starts_with("fake")), "{verb}: {text}");
    }
    // The lines of a training program too. The command that resumes the run is as a shell takes it.
    let text = Running::start(warmup(&root.path().join("a\nfake"), "--epochs 1")).end_well().stdout;
    let text = text.split("\nresume: ").next().unwrap();
    assert!(text.contains("checkpoints: ") && text.contains("\\nfake"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
}

#[test]
fn each_verb_prints_json() {
    let help = stdout(&burn_ckpt(&[&"--help"]));
    let (_, verbs) = help.split_once("Commands:").unwrap();
    let (verbs, _) = verbs.split_once("Options:").unwrap();
    let verbs = verbs.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    // A shell takes the script.
    let verbs: Vec<&str> = verbs.filter(|verb| !["", "help", "completions"].contains(verb)).collect();
    assert!(verbs.len() > 15 && verbs.contains(&"describe"), "{verbs:?}");
    for verb in verbs {
        let help = stdout(&burn_ckpt(&[&verb, &"--help"]));
        assert!(help.contains("--json"), "{verb}: {help}");
    }
}

#[test]
fn an_error_of_a_path_with_a_line_break_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    let (gone, file) = (root.path().join("a\nfake.ckpt"), root.path().join("b\nfake.txt"));
    fs::write(&file, "no run").unwrap();
    let out = root.path().join("out.ckpt");
    let weights = root.path().join("out.safetensors");
    let (gone, file, out, weights) =
        (gone.as_os_str(), file.as_os_str(), out.as_os_str(), weights.as_os_str());
    let word = |word: &'static str| std::ffi::OsStr::new(word);
    let verbs: [&[&std::ffi::OsStr]; 18] = [
        &[word("runs"), gone],
        &[word("log"), gone],
        &[word("csv"), gone],
        &[word("plot"), gone, word("val_loss")],
        &[word("report"), gone, word("-o"), out],
        &[word("ls"), gone],
        &[word("show"), gone],
        &[word("verify"), gone],
        &[word("diff"), gone, gone],
        &[word("describe"), gone],
        &[word("export"), gone, weights],
        &[word("import"), gone, out, word("--hparams"), word("{}")],
        &[word("average"), gone, gone, word("-o"), out],
        &[word("cp"), gone, out],
        &[word("prune"), gone, word("--keep"), word("last=1")],
        &[word("tag"), gone, word("old")],
        &[word("rm"), gone, word("--yes")],
        &[word("watch"), file],
    ];
    for arguments in verbs {
        let output = burn_ckpt_command().args(arguments).output().unwrap();
        let (_, err) = ended_with(&output, 1);
        assert!(err.contains("error: ") && err.contains("fake"), "{arguments:?}: {err}");
        assert!(!err.lines().any(|line| line.starts_with("fake")), "{arguments:?}: {err}");
    }
}

#[test]
fn verbs_of_one_run_name_the_runs_of_a_directory_and_runs_says_that_a_file_is_one() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let logs = root.path().join("burn_trainer_logs");
    let verbs: [&[&dyn AsRef<std::ffi::OsStr>]; 2] =
        [&[&"prune", &logs, &"--keep", &"last=1"], &[&"average", &logs, &"--last", &"2", &"-o", &"x.ckpt"]];
    for arguments in verbs {
        let (_, err) = ended_with(&burn_ckpt(arguments), 1);
        let expected = format!("but one of runs: name one of them: {}", logs.join("r1").display());
        assert!(err.contains(&expected), "{err}");
    }
    // Each of these takes a run by its directory alone, and says what to name for its id.
    for words in [&["log"][..], &["csv"], &["plot"], &["tag"], &["rm"], &["prune", "--broken"]] {
        let output = burn_ckpt_command().args(words).arg("r1").current_dir(root.path()).output().unwrap();
        let (_, err) = ended_with(&output, 1);
        assert_eq!(err, "error: r1 is not there: name burn_trainer_logs/r1\n", "{words:?}");
    }
    let file = logs.join("r1/metrics.jsonl");
    for verb in ["runs", "report"] {
        let (_, err) = ended_with(&burn_ckpt(&[&verb, &file]), 1);
        assert!(err.contains("metrics.jsonl is a file: name a directory of runs"), "{err}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_not_an_error() {
    let root = tempfile::tempdir().unwrap();
    train(config(root.path(), 1)).unwrap();
    let run = run_dir(root.path());
    let last = run.join("last");
    for arguments in [
        vec!["ls", run.to_str().unwrap()],
        vec!["ls", run.to_str().unwrap(), "--json"],
        vec!["show", last.to_str().unwrap(), "--json"],
        vec!["show", last.to_str().unwrap(), "--all"],
        vec!["verify", run.to_str().unwrap()],
        vec!["diff", last.to_str().unwrap(), last.to_str().unwrap()],
        vec!["completions", "bash"],
    ] {
        let mut command = burn_ckpt_command();
        let mut child =
            command.args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Gone before it writes, or while it does: no difference.
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panic") && !said.contains("error"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_make_a_damaged_checkpoint_whole() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    let damaged = run_dir(root.path()).join("checkpoint/last/epoch=0-step=10.ckpt");
    let mut bytes = fs::read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let mut command = burn_ckpt_command();
    command.arg("verify").arg(run_dir(root.path())).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn completions_name_the_verbs_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&burn_ckpt(&[&"completions", &shell]));
        for verb in ["ls", "show", "verify", "diff", "prune"] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
    // bash takes it.
    let script = stdout(&burn_ckpt(&[&"completions", &"bash"]));
    let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn an_address_in_the_place_of_a_path_is_wrong_usage_and_makes_no_directory_of_that_name() {
    let directory = tempfile::tempdir().unwrap();
    for words in [
        &["export", "x.ckpt", "s3://canary@b/x.safetensors"][..],
        &["import", "x", "s3://canary@b/x.ckpt"],
        &["report", ".", "-o", "s3://canary@b/x.html"],
        &["average", "a.ckpt", "b.ckpt", "-o", "gs://canary/x.ckpt"],
        &["average", "--last", "2", "s3://canary@b/r1", "-o", "x.ckpt"],
        &["cp", "x.ckpt", "s3://canary@b/x.ckpt"],
        &["describe", "file:///canary/r1/best"],
        &["runs", "az://canary/p"],
        &["watch", "file:///canary/r1"],
        &["rm", "file:///canary/r1", "--yes"],
    ] {
        let output = burn_ckpt_command().args(words).current_dir(directory.path()).output().unwrap();
        let (out, err) = ended_with(&output, 2);
        let verb = words[0];
        // In a build without mirrors nothing takes an address.
        assert!(out.is_empty() && err.contains(&format!("{verb} ")), "{out}{err}");
        assert!(err.contains(" takes no address as ") || err.contains("in this build"), "{err}");
        assert!(!err.contains("canary") && err.lines().count() == 1, "{err}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{words:?}");
    }
}

/// The verbs, with what each is asked of a run, and the statuses: of a whole run, of one with a damaged
/// checkpoint, with a link that leads nowhere, and with an invalid line in its log.
const VERBS: [(&str, &[&str], [i32; 4]); 11] = [
    ("runs", &["RUN"], [0, 1, 1, 0]),
    ("ls", &["RUN"], [0, 1, 1, 0]),
    ("verify", &["RUN"], [0, 1, 1, 0]),
    ("report", &["RUN", "-o", "-"], [0, 1, 1, 1]),
    ("watch", &["RUN"], [0, 1, 0, 0]),
    ("show", &["RUN/OLD"], [0, 1, 0, 0]),
    ("diff", &["RUN/OLD", "RUN/OLD"], [0, 1, 0, 0]),
    ("log", &["RUN"], [0, 0, 0, 1]),
    ("csv", &["RUN"], [0, 0, 0, 1]),
    ("plot", &["RUN", "val_score"], [0, 0, 0, 1]),
    ("tag", &["RUN"], [0, 0, 0, 0]),
];

/// What was done to a copy of the run.
fn copies(directory: &Path, run: &Path, old: &Path) -> [PathBuf; 4] {
    let copies = ["whole", "damaged", "dangling", "invalid"].map(|name| {
        let copy = directory.join(name);
        assert!(Command::new("cp").arg("-r").arg(run).arg(&copy).status().unwrap().success());
        copy
    });
    let [_, damaged, dangling, invalid] = &copies;
    let file = damaged.join(old);
    // Its metadata stays as it is, at the end: only the size says it.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, [&bytes[..], &[0; 256]].concat()).unwrap();
    symlink("last/none.ckpt", dangling.join("checkpoint/best_none.ckpt")).unwrap();
    let mut log = OpenOptions::new().append(true).open(invalid.join("metrics.jsonl")).unwrap();
    log.write_all(b"{bad\n").unwrap();
    copies
}

#[test]
fn what_a_verb_lists_is_whole_or_its_status_is_1() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[0.5, 0.3], 2).unwrap();
    let run = run_dir(root.path());
    let last = run.join("checkpoint/last");
    let oldest = fs::read_dir(last).unwrap().map(|entry| entry.unwrap().path());
    let oldest = oldest.filter(|path| path.extension().is_some_and(|it| it == "ckpt")).min().unwrap();
    let old = oldest.strip_prefix(&run).unwrap();
    let copies = copies(root.path(), &run, old);
    for (verb, words, statuses) in VERBS {
        for (copy, status) in copies.iter().zip(statuses) {
            let name = copy.file_name().unwrap().to_str().unwrap();
            let words =
                words.iter().map(|word| word.replace("RUN", name).replace("OLD", old.to_str().unwrap()));
            let words: Vec<String> = std::iter::once(verb.to_owned()).chain(words).collect();
            let output = burn_ckpt_command().args(&words).current_dir(root.path()).output().unwrap();
            let (out, err) = ended_with(&output, status);
            let says_so =
                ["error", "warning", "not whole", "not verified"].iter().any(|word| err.contains(word));
            assert_eq!(says_so, status == 1, "{words:?}: {err}");
            assert!(!out.is_empty(), "{words:?} prints the rest: {err}");
        }
    }
}

#[test]
fn a_run_may_stand_behind_the_rules_of_prune_and_damaged_tags_block_nothing() {
    let root = tempfile::tempdir().unwrap();
    train_and_keep_all(root.path(), &[3.0, 2.0, 1.0], 1).unwrap();
    let run = run_dir(root.path());
    fs::write(run.join("tags.json"), r#"{"added": [" "], "removed": [], "notes": null}"#).unwrap();
    let (_, err) = ended_with(&burn_ckpt(&[&"prune", &"--keep", &"last=2", &run]), 0);
    assert!(err.lines().any(|line| line.starts_with("warning: ") && line.contains("tags.json")), "{err}");
    assert!(err.contains("it is empty; correct it, or remove the file"), "{err}");
    let left = stems(&run.join("checkpoint/last"));
    assert!(left.len() == 2 && left.iter().all(|stem| !stem.contains("step=10")), "{left:?}");
}
