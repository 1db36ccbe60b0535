//! A program that uses a model compiles nothing that trains one.

use std::collections::BTreeSet;
use std::process::Command;

use system_tests::programs::commands::{stdout, workspace};

/// Parts of names: training, terminal interfaces, data sets, networks, data bases, GPUs, and what describes a
/// machine.
const FOREIGN: [&str; 24] = [
    "burn-train",
    "burn-dataset",
    "burn-optim",
    "burn-autodiff",
    "burn-fusion",
    "burn-remote",
    "burn-vision",
    "ratatui",
    "crossterm",
    "indicatif",
    "console",
    "clap_complete",
    "tokio",
    "hyper",
    "reqwest",
    "rustls",
    "openssl",
    "sqlite",
    "r2d2",
    "wgpu",
    "naga",
    "cuda",
    "sysinfo",
    "nvml",
];
/// burn's own crates, and of its GPU compiler those that burn's tensors are made of.
const BURN: [&str; 18] = [
    "burn",
    "burn-backend",
    "burn-backend-extension",
    "burn-core",
    "burn-derive",
    "burn-dispatch",
    "burn-einsum",
    "burn-flex",
    "burn-ir",
    "burn-linalg",
    "burn-nn",
    "burn-pack",
    "burn-std",
    "burn-store",
    "burn-tensor",
    "cubecl-common",
    "cubecl-environment",
    "cubecl-zspace",
];

/// The names of the packages that a package is built with, its features resolved as if there were no other
/// package.
fn dependencies(package: &str, options: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"])
        .args(["--package", package])
        .args(options)
        .current_dir(workspace())
        .output();
    let names = stdout(&output.unwrap());
    let names = names.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != package);
    names.map(str::to_owned).collect()
}

fn foreign(names: &BTreeSet<String>) -> Vec<&String> {
    names.iter().filter(|name| FOREIGN.iter().any(|part| name.contains(part))).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_native_program_compiles_nothing_that_trains() {
    let names = dependencies("native-inference", &[]);
    assert_eq!(foreign(&names), Vec::<&String>::new());
    let of_burn = names.iter().filter(|name| name.starts_with("burn") || name.starts_with("cubecl"));
    let of_burn: BTreeSet<String> = of_burn.filter(|name| *name != "burn-ckpt").cloned().collect();
    assert_eq!(of_burn, set(&BURN));
    assert!(!names.contains("burn-trainer"), "{names:?}");
}

#[test]
fn a_library_for_checkpoints_and_one_with_a_model_are_as_small() {
    for (package, options) in
        [("burn-ckpt", &[][..]), ("digits", &["--no-default-features", "--features", "flex"])]
    {
        let names = dependencies(package, options);
        assert_eq!(foreign(&names), Vec::<&String>::new(), "{package}");
        for name in ["clap", "burn-trainer"] {
            assert!(!names.contains(name), "{package} {name}");
        }
        assert!(names.contains("burn-store"), "{names:?}");
    }
}

/// The judge sees what there is to see: the same questions of programs that do train.
#[test]
fn a_training_program_does_compile_them() {
    let names = dependencies("digits", &[]);
    for name in ["burn-train", "burn-dataset", "burn-optim", "ratatui", "burn-trainer", "clap"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(foreign(&names).len() > 5);
}

/// Every new one is a decision: it is compiled by everyone who loads a checkpoint.
#[test]
fn the_direct_dependencies_are_these() {
    let of_burn_ckpt = [
        "blake3",
        "burn",
        "burn-pack",
        "ciborium",
        "gethostname",
        "indexmap",
        "jiff",
        "log",
        "parking_lot",
        "rustix",
        "serde",
        "serde_ignored",
        "serde_json",
        "serde_path_to_error",
        "sha2",
        "thiserror",
    ];
    assert_eq!(dependencies("burn-ckpt", &["--depth", "1"]), set(&of_burn_ckpt));
    let of_the_program = ["burn", "burn-ckpt", "clap", "digits", "image", "serde", "serde_json"];
    assert_eq!(dependencies("native-inference", &["--depth", "1"]), set(&of_the_program));
}
