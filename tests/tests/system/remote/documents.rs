//! The page "More than one machine" says what works.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use burn_trainer::remote::{RemoteAddress, Token, connect};
use burn_trainer::{Trainer, TrainerConfig};
use serde_json::Value;
use system_tests::models::small::Model;
use system_tests::programs::commands::{build, workspace};
use system_tests::programs::running::{Running, path_with};
use system_tests::run_files::{checkpoints, metadata};
use system_tests::servers::ending_with_us;

/// The page's lines, which compile as they stand there.
#[allow(dead_code)]
fn connected_as_the_page_does(
    config: TrainerConfig,
    hparams: Value,
) -> Result<Trainer<Model>, Box<dyn Error>> {
    let address: RemoteAddress = "remote:ws://gpu1:3000#0".parse()?;
    let token = Token::from_file_or_env(Some("token".as_ref()))?;
    let devices = connect(&[address], token.as_ref(), false)?.into_iter().flatten();
    let trainer = Trainer::new(config, &hparams)?.devices(devices);
    Ok(trainer)
}

#[test]
fn the_pages_program_compiles() {
    let page = fs::read_to_string(workspace().join("docs/more-than-one-machine.md")).unwrap();
    let program = page.split("```rust\n").nth(1).and_then(|text| text.split("```").next()).unwrap();
    assert_eq!(program.lines().count(), 4);
    let compiled = include_str!("documents.rs");
    assert!(program.lines().all(|line| compiled.contains(&format!("\n    {line}\n"))), "{program}");
}

/// What `srun` does with three nodes: starts a task on each, and hands SIGTERM on to them.
const SRUN: &str = "#!/bin/bash
for rank in 0 1 2; do SLURM_PROCID=$rank \"$@\" & done
trap 'kill $(jobs -p)' TERM
wait; wait
";

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_batch_script_trains_on_a_server_of_every_node_and_leaves_none_behind() {
    let page = fs::read_to_string(workspace().join("docs/more-than-one-machine.md")).unwrap();
    let script = page.split("```bash\n").nth(1).and_then(|text| text.split("```").next()).unwrap();
    let (directory, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let programs = build(&["burn-serve", "digits"]);
    write_program(&directory.path().join("srun"), SRUN);
    write_program(&directory.path().join("job"), script);
    // Which servers there have been shows in the checkpoint alone: their files are gone.
    let mut command = ending_with_us(&directory.path().join("job"));
    let train = format!("digits --root {} --run-id r1 --epochs 1", root.path().display());
    command
        .current_dir(directory.path())
        .envs([("BACKEND", "flex"), ("SLURM_NTASKS", "3"), ("TRAIN", &train)])
        .env("PATH", {
            let mut path = directory.path().as_os_str().to_owned();
            path.push(":");
            path.push(path_with(&programs));
            path
        });
    let ended = Running::start(command).end_well();
    assert!(ended.stdout.contains("epochs 1, steps 15,"), "{ended:?}");
    let metadata = metadata(&checkpoints(root.path()).join("last.ckpt"));
    let used = metadata["environment"]["hardware"]["devices_used"].as_array().unwrap();
    let is_remote = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("remote:iroh:"));
    assert!(used.len() == 3 && used.iter().all(is_remote), "{used:?}");
    let mut left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["job", "srun"]);
}
