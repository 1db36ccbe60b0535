//! A run on devices of other machines is the run that it would be on this one: to the bit, from run to run,
//! and wherever it is killed, on this side or on the other.

use std::path::{Path, PathBuf};

use burn::optim::AdamConfig;
use burn::tensor::Device;
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_trainer::strategy::{Last, OnException, StrategyConfig};
use burn_trainer::{Error, Trainer};
use serde_json::Value;
use system_tests::config;
use system_tests::models::small::{BATCH, Model, Script, learner, shuffling};
use system_tests::programs::commands::{build, burn_ckpt, workspace};
use system_tests::programs::running::{Running, digits};
use system_tests::run_files::{checkpoints, metadata};
use system_tests::servers::{Cluster, ON_LOOPBACK, has_saved};

/// Training batches in an epoch. On two devices they are four steps and on three three, of which the last has
/// one batch.
const BATCHES: u64 = 7;
const FEW: &str = "--run-id r1 --set limit_train_batches=7 --set limit_valid_batches=2";
const RUN: &str = "--run-id r1 --set limit_train_batches=7 --set limit_valid_batches=2 --epochs 2";
/// On two devices two saves in an epoch.
const SAVING: &str =
    "--run-id r1 --set limit_train_batches=21 --set limit_valid_batches=2 --save-every-steps 4";
/// More epochs than a test trains.
const ENDLESS: &str = "1000000";

/// The same for so many epochs.
fn saving(epochs: &str) -> String {
    format!("{SAVING} --epochs {epochs}")
}

/// What every tensor of the last checkpoint is, by its digest, and the metrics.
fn last(root: &Path) -> (Value, Value) {
    let metadata = metadata(&checkpoints(root).join("last.ckpt"));
    (metadata["tensors"].clone(), metadata["metrics"].clone())
}

/// A directory for a run.
fn root() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A run on so many devices of this machine.
fn on_this_machine(devices: usize, arguments: &str) -> tempfile::TempDir {
    let root = root();
    let mut command = digits(root.path(), arguments);
    for _ in 0..devices {
        command.args(["--device", "cpu"]);
    }
    Running::start(command).end_well();
    root
}

#[test]
fn two_and_three_servers_give_the_bits_that_this_machine_gives_from_run_to_run() {
    let cluster = Cluster::of(3);
    for count in [2, 3] {
        for optimizer in ["first", "all"] {
            let arguments = format!("{RUN} --optimizer-on {optimizer}");
            let local = on_this_machine(count, &arguments);
            for _ in 0..2 {
                let root = root();
                let mut command = digits(root.path(), &arguments);
                // The token, and the first so many devices.
                command.args(&cluster.flags()[..2 + 2 * count]);
                Running::start(command).end_well();
                assert_eq!(
                    last(root.path()),
                    last(local.path()),
                    "{count} devices, optimizer on {optimizer}"
                );
            }
        }
    }
}

#[test]
fn three_servers_learn_as_much_as_one_device() {
    // As much as ten epochs with the rate that is the default.
    const WHOLE: &str = "--run-id r1 --epochs 4 --set learning_rate=0.005";
    let accuracy = |root: &Path| last(root).1["val_accuracy"].as_f64().unwrap();
    let cluster = Cluster::of(3);
    let root = root();
    Running::start(cluster.digits(root.path(), WHOLE)).end_well();
    let (there, here) = (accuracy(root.path()), accuracy(on_this_machine(1, WHOLE).path()));
    // Of 359 images.
    assert!(here > 95.0 && (there - here).abs() < 2.0, "{there} % on servers, {here} % here");
}

#[test]
fn an_iroh_cluster_gives_the_same_bits_and_its_devices_are_in_the_metadata() {
    let cluster = Cluster::with(2, ON_LOOPBACK);
    let root = root();
    Running::start(cluster.digits(root.path(), RUN)).end_well();
    assert_eq!(last(root.path()), last(on_this_machine(2, RUN).path()));
    let metadata = metadata(&checkpoints(root.path()).join("last.ckpt"));
    let used = metadata["environment"]["hardware"]["devices_used"].as_array().unwrap();
    let named = [cluster.device(0), cluster.device(1)];
    assert_eq!(used.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), named);
}

/// A client that is stopped in the middle of an epoch, as `done` does it, is resumed and ends with the same
/// numbers.
fn resumes_after(done: impl FnOnce(Running)) {
    let cluster = Cluster::of(2);
    let root = root();
    // It cannot end before it is stopped.
    let mut running = Running::start(cluster.digits(root.path(), &saving(ENDLESS)));
    running.wait_for("a checkpoint", |_| has_saved(root.path()));
    done(running);
    let stopped_in = metadata(&checkpoints(root.path()).join("last.ckpt"))["epoch"].as_u64().unwrap();
    let flags = saving(&(stopped_in + 2).to_string());
    let whole = on_this_machine(2, &flags);
    Running::start(cluster.digits(root.path(), &format!("{flags} --ckpt-path auto"))).end_well();
    assert_eq!(last(root.path()), last(whole.path()));
}

#[test]
fn a_client_that_is_killed_resumes_as_if_nothing_had_been() {
    resumes_after(|running| drop(running.kill()));
}

#[test]
fn a_client_that_is_told_to_end_saves_and_resumes_as_if_nothing_had_been() {
    resumes_after(|running| {
        running.send("TERM");
        assert_eq!(running.end().code(), Some(143));
    });
}

#[test]
fn a_server_that_is_killed_and_started_again_is_found_by_the_run_itself() {
    for which in [0, 1] {
        let mut cluster = Cluster::of(2);
        // The server is killed long before the end.
        let flags = saving("4");
        let whole = on_this_machine(2, &flags);
        let root = root();
        let mut running = Running::start(cluster.digits(root.path(), &format!("{flags} --restarts 5")));
        running.wait_for("a checkpoint", |_| has_saved(root.path()));
        cluster.servers[which].kill_and_restart();
        let ended = running.end_well();
        assert!(ended.stderr.contains("restarting: restart 1 of 5"), "{ended:?}");
        assert_eq!(last(root.path()), last(whole.path()), "server {which}");
    }
}

#[test]
fn a_checkpoint_goes_from_three_servers_to_one_device_and_back_and_predicts_there() {
    let cluster = Cluster::of(3);
    let (there, here) = (root(), root());
    Running::start(cluster.digits(there.path(), RUN)).end_well();
    Running::start(digits(here.path(), RUN)).end_well();
    let samples: Vec<PathBuf> = std::fs::read_dir(workspace().join("examples/native-inference/images"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "png"))
        .collect();
    let program = build(&["native-inference"]).join("native-inference");
    let predicted = std::process::Command::new(program)
        .arg(checkpoints(there.path()).join("last.ckpt"))
        .args(&samples)
        .output()
        .unwrap();
    assert!(predicted.status.success() && !predicted.stdout.is_empty(), "{predicted:?}");
    // On the other number of devices an epoch has another number of steps, and each item once.
    let on = format!("{FEW} --epochs 3 --ckpt-path auto");
    Running::start(digits(there.path(), &on)).end_well();
    Running::start(cluster.digits(here.path(), &on)).end_well();
    let steps = |root: &Path| metadata(&checkpoints(root).join("last.ckpt"))["global_step"].as_u64().unwrap();
    assert_eq!(steps(there.path()), 2 * BATCHES.div_ceil(3) + BATCHES);
    assert_eq!(steps(here.path()), 2 * BATCHES + BATCHES.div_ceil(3));
    for root in [&there, &here] {
        let verified = burn_ckpt(&[&"verify", &checkpoints(root.path())]);
        assert!(verified.status.success(), "{verified:?}");
    }
}

/// A failing step is not a lost device: the state before it is saved, on two servers as on this machine.
#[test]
fn an_exception_in_a_step_is_saved_and_resumed_from() {
    let cluster = Cluster::of(2);
    let devices: Vec<Device> = cluster.servers.iter().map(|server| server.connect(0)).collect();
    let fit = |root: &Path, devices: &[Device], script: Script| {
        let last = StrategyConfig::Last(Last::default());
        let on_exception = StrategyConfig::OnException(OnException::default());
        let config = config(root, 2).with_strategies([last, on_exception]).with_ckpt_path("auto");
        let trainer = Trainer::new(config, &script.hparams()).unwrap().devices(devices.to_vec());
        let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
        let learner: Learner<Model> = learner(script);
        trainer.fit(training, Learner::new(learner.model(), AdamConfig::new().init(), 1e-2))
    };
    let (whole, parts) = (root(), root());
    let here = vec![Device::flex(), Device::flex()];
    let steps = fit(whole.path(), &here, Script::default()).unwrap().global_step;
    let script = Script { panic_in_step: Some(7), ..Script::default() };
    let error = fit(parts.path(), &devices, script).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Panicked { saved: Some(_), .. }), "{error}");
    assert_eq!(fit(parts.path(), &devices, Script::default()).unwrap().global_step, steps);
    assert_eq!(last(parts.path()), last(whole.path()));
}
