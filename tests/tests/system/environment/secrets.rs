//! No credential that a run could see is in any file that it leaves, or in what it prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::git_repository::{Repository, without_settings};
use system_tests::programs::commands::stdout;
use system_tests::programs::running::{Running, digits, warmup};
use system_tests::programs::test_hooks::{Split, TestHooks};
use system_tests::run_files::{checkpoints, files, metadata, stems};

/// Part of every credential.
const SECRET: &str = "hunter2";

/// Where programs, clouds and schedulers keep them, and some whose names are nearly those that are recorded.
const VARIABLES: [&str; 25] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "CARGO_REGISTRY_TOKEN",
    "CARGO_REGISTRIES_PRIVATE_TOKEN",
    "CI_JOB_TOKEN",
    "DATABASE_URL",
    "GITHUB_TOKEN",
    "GIT_PASSWORD",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HF_TOKEN",
    "HTTPS_PROXY",
    "KUBECONFIG",
    "LSB_JOBID_TOKEN",
    "LSB_SUB_COMMAND_LINE",
    "LSB_PJL_TASK_GEOMETRY",
    "NETRC",
    "PASSWORD",
    "SLURM_JOB_COMMENT",
    "SLURM_JOB_NAME_SECRET",
    "SLURM_JWT",
    "SLURM_SPANK_TOKEN",
    "SLURM_SUBMIT_DIR",
    "SSH_AUTH_SOCK",
    "WANDB_API_KEY",
];

/// A repository whose remote, settings and files have credentials.
fn repository() -> Repository {
    let repository = Repository::with_a_commit();
    let url = format!("https://user:{SECRET}@git.example/a.git");
    repository.git(&["remote", "add", "origin", &url]);
    repository.git(&["remote", "set-url", "--add", "--push", "origin", &url]);
    for (name, value) in [
        ("http.extraHeader", format!("Authorization: Bearer {SECRET}")),
        ("http.proxy", format!("http://user:{SECRET}@proxy.example")),
        (&format!("url.https://{SECRET}@git.example/.insteadOf"), "https://git.example/".to_owned()),
        ("credential.helper", format!("!echo password={SECRET}")),
        ("branch.trunk.remote", url.clone()),
        ("user.name", SECRET.to_owned()),
    ] {
        repository.git(&["config", name, &value]);
    }
    // A file with a password that was changed, and one that is not tracked.
    repository.write("tracked", &format!("password = {SECRET}\n"));
    repository.write(".env", &format!("TOKEN={SECRET}\n"));
    // The address of a dependency.
    repository.write(
        "Cargo.lock",
        &format!(
            "version = 4\n[[package]]\nname = \"burn-environment\"\nversion = \"0.1.0\"\n\
             source = \"git+https://user:{SECRET}@git.example/a?token={SECRET}#0a1b\"\n"
        ),
    );
    repository
}

/// The command in such a repository, inside a job of either scheduler, with a credential in every variable.
fn in_it(repository: &Repository, mut command: Command) -> Command {
    command.current_dir(repository.path());
    let mut command = without_settings(command);
    command.envs(VARIABLES.iter().map(|name| (*name, format!("{SECRET}-{name}"))));
    command.envs([("SLURM_JOB_ID", "1"), ("SLURM_JOB_NAME", "recorded-of-slurm"), ("SLURM_PROCID", "0")]);
    command.envs([("LSB_JOBID", "1"), ("LSB_JOBNAME", "recorded-of-lsf")]);
    command.envs([
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "http.extraHeader"),
        ("GIT_CONFIG_VALUE_0", "Authorization: Bearer hunter2"),
    ]);
    command
}

/// In which files below a directory a text is, and in their names.
fn found(root: &Path, text: &str) -> Vec<String> {
    let all = files(root).into_iter();
    all.filter(|name| {
        let path = root.join(name.split(" -> ").next().unwrap_or_default());
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        name.contains(text) || bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
    .collect()
}

/// Checks a run's files and what it printed; the run is one that has recorded its jobs.
fn assert_no_secret(root: &Path, checkpoint: &Path, printed: &[&str]) {
    assert_eq!(found(root, SECRET), Vec::<String>::new());
    for text in printed {
        assert!(!text.contains(SECRET), "{text}");
    }
    // The judge sees what is there: in the metadata, inside a container, in the log.
    assert!(found(root, "recorded-of-slurm").iter().any(|name| name.ends_with(".metadata.json")));
    assert!(found(root, "recorded-of-lsf").iter().any(|name| name.ends_with(".metadata.json")));
    assert!(found(root, "burn-ckpt.").iter().any(|name| name.ends_with(".ckpt")));
    assert!(files(root).iter().any(|name| name.ends_with("experiment.log")));
    let environment = &metadata(checkpoint)["environment"];
    assert_eq!(environment["git"]["dirty"], true);
    assert_ne!(environment["git"]["diff_sha256"], Value::Null);
    assert_ne!(environment["packages"], Value::Array(Vec::new()));
}

#[test]
fn a_run_that_trains_and_saves_leaves_no_credential_behind() {
    let (repository, root) = (repository(), tempfile::tempdir().unwrap());
    let command = digits(root.path(), "--run-id r1 --epochs 1 --backend flex --save-every-steps 20");
    let ended = Running::start(in_it(&repository, command)).end_well();
    let last = checkpoints(root.path()).join("last.ckpt");
    assert_no_secret(root.path(), &last, &[&ended.stdout, &ended.stderr]);
}

#[test]
fn a_run_that_fails_leaves_no_credential_behind() {
    let (repository, root) = (repository(), tempfile::tempdir().unwrap());
    let command = in_it(&repository, warmup(root.path(), "--run-id r1 --epochs 2"));
    let ended = Running::start(TestHooks::panic(Split::Train, 40).given_to(command)).end();
    assert!(!ended.status.success(), "{ended:?}");
    let directory = checkpoints(root.path()).join("on_exception");
    let saved = directory.join(format!("{}.ckpt", stems(&directory)[0]));
    assert_no_secret(root.path(), &saved, &[&ended.stdout, &ended.stderr]);
}

/// The same of what the program itself holds, as its packages were put into it when it was built.
#[test]
fn the_variables_are_those_that_the_program_gets() {
    let repository = repository();
    let mut command = Command::new("env");
    command.arg("-0");
    let output = in_it(&repository, command).output().unwrap();
    let printed = stdout(&output);
    let variables: BTreeMap<&str, &str> =
        printed.split('\0').filter_map(|variable| variable.split_once('=')).collect();
    for name in VARIABLES {
        assert!(variables[name].contains(SECRET), "{name}");
    }
    let settings = std::fs::read_to_string(repository.path().join(".git/config")).unwrap();
    assert!(settings.matches(SECRET).count() >= 7, "{settings}");
}
