//! `cargo xtask new`: the project that it writes builds outside of the workspace, trains, resumes and
//! predicts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use system_tests::programs::commands::{built, cargo, ended_with, stderr, stdout, workspace, xtask_new};
use system_tests::run_files::{files, metadata};

/// A member that asks for the features of the whole workspace.
const SAME_FEATURES: &str = "same-features";

#[test]
fn a_new_project_builds_without_a_warning_trains_resumes_and_predicts() {
    let directory = tempfile::tempdir().unwrap();
    let printed = stdout(&xtask_new(directory.path(), &["two-spirals"]));
    assert!(printed.contains("src/bin/train.rs") && printed.contains("cd two-spirals"), "{printed}");
    let project = directory.path().join("two-spirals");
    stdout(&cargo(&project).args(["fmt", "--check"]).output().unwrap());
    check_packages(&project);

    ask_for_the_workspaces_features(&project);
    let train = build(&project, &["--bin", "train"]).join("train");
    let help = stdout(&run(&project, &train, "--help"));
    assert!(help.contains("  hidden ") && help.contains("  max_epochs "), "{help}");
    let first = stdout(&run(&project, &train, "--run-id first --epochs 2"));
    assert!(first.contains("resume: cargo run --bin train -- --run-id first --ckpt-path auto"), "{first}");
    let resumed = run(&project, &train, "--run-id first --epochs 3 --ckpt-path auto");
    assert!(stdout(&resumed).contains("epochs 3, steps 189"), "{resumed:?}");
    assert!(!stderr(&resumed).contains("epoch 1/3"), "{resumed:?}");
    stdout(&run(&project, &train, "--run-id whole --epochs 3"));
    let last = |run: &str| metadata(&project.join(format!("burn_trainer_logs/{run}/checkpoint/last.ckpt")));
    let (resumed, whole) = (last("first"), last("whole"));
    assert_eq!(resumed["metrics"], whole["metrics"]);
    assert!(resumed["metrics"]["val_accuracy"].as_f64().unwrap() > 95.0, "{}", resumed["metrics"]);
    let packages = resumed["environment"]["packages"].as_array().unwrap();
    assert!(packages.iter().any(|package| package["name"] == "two-spirals"), "{packages:?}");
    assert!(!packages.iter().any(|package| package["name"] == SAME_FEATURES), "{packages:?}");

    for (flag, file, key) in
        [("--find-lr", "curve.csv", "learning_rate"), ("--find-batch-size", "sizes.csv", "batch_size")]
    {
        let found = stdout(&run(&project, &train, &format!("{flag} {file}")));
        assert!(found.contains(&format!("set it: --set {key}=")), "{found}");
        assert!(fs::read_to_string(project.join(file)).unwrap().lines().count() > 2, "{file}");
    }

    let tried = run(&project, &train, "--fast-dev-run");
    assert!(stderr(&tried).contains("fast_dev_run: passed"), "{tried:?}");
    let evaluated = stdout(&run(&project, &train, "--resume first --epochs 4 --evaluate best"));
    assert!(evaluated.contains("epochs 4, ") && evaluated.contains("evaluated on val: "), "{evaluated}");

    let predict = build(&project, &["--no-default-features", "--bin", "predict"]).join("predict");
    // On the middle of each spiral's line.
    for (point, spiral) in [("-0.5 0", "spiral 0, "), ("0.5 0", "spiral 1, ")] {
        let predicted = stdout(&run(&project, &predict, &format!("burn_trainer_logs/first/best {point}")));
        assert!(predicted.starts_with(spiral), "{point}: {predicted}");
    }
    let (_, said) = ended_with(&run(&project, &predict, "burn_trainer_logs/first/bets 0 0"), 1);
    assert!(said.starts_with("error: ") && said.contains("bets"), "{said}");
    let (_, said) = ended_with(&run(&project, &predict, "none.ckpt 0 0"), 1);
    assert_eq!(said, "error: cannot open none.ckpt: No such file or directory (os error 2)\n");
    let (_, said) = ended_with(&run(&project, &predict, ""), 2);
    assert!(said.contains("usage: predict CKPT X Y"), "{said}");
}

/// Cargo finds all it needs in the lock file, none of it in another version than the workspace's; and the
/// inference program is made without the trainer.
fn check_packages(project: &Path) {
    let tree = |more: &[&str]| {
        let arguments = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
        stdout(&cargo(project).args(arguments).args(more).output().unwrap())
    };
    let trainer =
        |tree: &str| ["burn-trainer v", "burn-train v", "clap v"].map(|package| tree.contains(package));
    assert_eq!(trainer(&tree(&[])), [true; 3]);
    let inference = tree(&["--no-default-features"]);
    assert_eq!(trainer(&inference), [false; 3], "{inference}");
    assert!(inference.contains("burn-ckpt v") && inference.contains("burn-flex v"), "{inference}");

    let locked = |directory: &Path| -> BTreeSet<String> {
        let text = fs::read_to_string(directory.join("Cargo.lock")).unwrap();
        let packages = text.split("[[package]]\n").skip(1);
        packages.map(|package| package.lines().take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    let (of_project, of_workspace) = (locked(project), locked(&workspace()));
    let new: Vec<_> = of_project.difference(&of_workspace).collect();
    assert_eq!(new, ["name = \"two-spirals\" version = \"0.1.0\""]);
}

/// Adds a member to the project that depends on every library of the workspace. Built together with it, burn
/// has the features that it has in the workspace's own build, so that cargo takes burn from the shared target
/// directory in place of building it once more: what is compiled are the project and the four crates that it
/// depends on by their paths.
fn ask_for_the_workspaces_features(project: &Path) {
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    let root = format!("\n[workspace]\nmembers = [\"{SAME_FEATURES}\"]\n");
    let changed = manifest.replacen("\n[workspace]\n", &root, 1);
    assert_ne!(changed, manifest);
    fs::write(project.join("Cargo.toml"), changed).unwrap();
    let dependencies = libraries();
    assert!(dependencies.len() > 8, "{dependencies:?}");
    let member = project.join(SAME_FEATURES);
    fs::create_dir_all(member.join("src")).unwrap();
    fs::write(member.join("src/lib.rs"), "//! Nothing.\n").unwrap();
    let package = format!("[package]\nname = \"{SAME_FEATURES}\"\nedition = \"2024\"\n\n[dependencies]\n");
    fs::write(member.join("Cargo.toml"), package + &dependencies.join("")).unwrap();
}

/// The workspace's libraries, as lines of dependencies.
fn libraries() -> Vec<String> {
    let members = |directory: PathBuf| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.join("Cargo.toml").exists() && path.join("src/lib.rs").exists())
    };
    let all = members(workspace()).chain(members(workspace().join("examples")));
    let dependency = |path: PathBuf| {
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
        format!("{} = {{ path = {:?} }}\n", name.trim_matches('"'), path.to_str().unwrap())
    };
    all.map(dependency).collect()
}

/// Builds in the workspace's target directory, where burn is already, and checks that neither the compiler
/// nor clippy warns: clippy's driver is the compiler of the project's own crates. Returns where the programs
/// are.
fn build(project: &Path, arguments: &[&str]) -> PathBuf {
    let cargo_path = PathBuf::from(cargo(project).get_program());
    let output = cargo(project)
        .args(["build", "--offline", "--workspace"])
        .args(arguments)
        .env("CARGO_TARGET_DIR", built().parent().unwrap())
        .env("RUSTC_WORKSPACE_WRAPPER", cargo_path.with_file_name("clippy-driver"))
        .output()
        .unwrap();
    let (_, said) = ended_with(&output, 0);
    assert!(!said.contains("warning"), "{said}");
    if cfg!(not(any(feature = "wgpu", feature = "remote"))) {
        // Cargo prints the directory of a package that is not from the registry.
        let again = said.lines().filter(|line| line.contains("Compiling ") && !line.contains(" ("));
        let again: Vec<_> = again.collect();
        assert!(again.is_empty(), "built once more, though cargo test --workspace has built it: {again:?}");
    }
    built()
}

fn run(project: &Path, program: &Path, arguments: &str) -> Output {
    Command::new(program).args(arguments.split_whitespace()).current_dir(project).output().unwrap()
}

#[test]
fn the_readmes_commands_are_those_of_the_project() {
    let directory = tempfile::tempdir().unwrap();
    stdout(&xtask_new(directory.path(), &["p"]));
    let readme = fs::read_to_string(directory.path().join("p/README.md")).unwrap();
    for command in [
        "    cargo run --bin train -- --run-id first --epochs 10\n",
        "    cargo run --bin train -- --run-id first --epochs 20 --ckpt-path auto\n",
        "    cargo run --bin predict -- burn_trainer_logs/first/best 0.5 -0.2\n",
        "    cargo build --release --no-default-features --bin predict\n",
        "    cargo run --bin train -- --fast-dev-run\n",
        "    cargo run --bin train -- --resume first --epochs 30\n",
        "    cargo run --bin train -- --run-id first --ckpt-path auto --epochs 30 --evaluate best\n",
        "    cargo run --bin train -- --run-id second --track tensorboard\n",
    ] {
        assert!(readme.contains(command), "{command}");
    }
    let predict = fs::read_to_string(directory.path().join("p/src/bin/predict.rs")).unwrap();
    assert!(
        readme.contains("Classifier::from_checkpoint(") && predict.contains("Classifier::from_checkpoint(")
    );
}

#[test]
fn files_that_are_there_are_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path().join("p");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("README.md"), "mine").unwrap();
    let (printed, said) = ended_with(&xtask_new(directory.path(), &["p"]), 2);
    assert_eq!(printed, "");
    assert_eq!(said, "error: p is not empty: name a directory that does not exist, or an empty one\n");
    assert_eq!(files(&project), ["README.md"]);
    assert_eq!(fs::read_to_string(project.join("README.md")).unwrap(), "mine");

    let (_, said) = ended_with(&xtask_new(directory.path(), &["p/README.md", "--name", "p"]), 1);
    assert_eq!(said, "error: cannot read p/README.md: Not a directory (os error 20)\n");
    assert_eq!(fs::read_to_string(project.join("README.md")).unwrap(), "mine");
}

#[test]
fn an_empty_directory_and_a_fresh_repository_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    for (name, inside) in [("empty", ""), ("repository", ".git")] {
        let project = directory.path().join(name);
        fs::create_dir_all(project.join(inside)).unwrap();
        stdout(&xtask_new(directory.path(), &[name]));
        let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
    }
}

#[test]
fn a_name_that_a_package_cannot_have_is_an_error_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, name, reason) in [
        (&["My Project"][..], "My Project", "letters a to z"),
        (&["p", "--name", "2p"], "2p", "begins with a letter"),
        (&["p", "--name", "match"], "match", "keyword"),
        (&["burn"], "burn", "dependency"),
        (&["p", "--name", "train"], "train", "program"),
    ] {
        let (_, said) = ended_with(&xtask_new(directory.path(), arguments), 2);
        assert!(said.starts_with(&format!("error: {name:?} cannot be the package's name: ")), "{said}");
        assert!(said.contains(reason) && said.contains("--name"), "{said}");
    }
    assert!(files(directory.path()).is_empty());
    stdout(&xtask_new(directory.path(), &["My Project", "--name", "my-project"]));
    let manifest = fs::read_to_string(directory.path().join("My Project/Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"my-project\""), "{manifest}");
}

#[test]
fn a_project_inside_of_another_workspace_stands_on_its_own() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\n").unwrap();
    stdout(&xtask_new(directory.path(), &["p"]));
    let project = directory.path().join("p");
    let found = stdout(&cargo(&project).args(["locate-project", "--workspace"]).output().unwrap());
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let root = fs::canonicalize(found["root"].as_str().unwrap()).unwrap();
    assert_eq!(root, fs::canonicalize(project.join("Cargo.toml")).unwrap());
}
