//! `init_from`: a run that begins with the weights of another.

use std::path::Path;

use burn_ckpt::{Checkpoint, ErrorKind};
use burn_trainer::callbacks::Ema;
use burn_trainer::config::InitFrom;
use burn_trainer::{Error, TrainerConfig};
use system_tests::models::small::{Model, Script, config, train, train_by};
use system_tests::programs::running::{Running, warmup};
use system_tests::run_files::{in_memory, run_dir};

/// The digests of the model's tensors, or of a part's, by their names.
fn digests(root: &Path, name: &str, section: &str) -> Vec<(String, String)> {
    let metadata = Checkpoint::open(run_dir(root).join(name)).unwrap().verify().unwrap();
    let of_section = |(name, info): (String, burn_ckpt::metadata::TensorInfo)| {
        Some((name.strip_prefix(section)?.strip_prefix('.')?.to_owned(), info.blake3))
    };
    metadata.tensors.into_iter().filter_map(of_section).collect()
}

/// A run without a step that changes a weight: its learning rate is that of the learner, so it trains no
/// batch.
fn begun(root: &Path, init_from: InitFrom) -> TrainerConfig {
    config(root, 1).with_init_from(init_from).with_max_steps(1)
}

fn pretrained() -> tempfile::TempDir {
    let root = in_memory();
    train_by(config(root.path(), 2), Script::default(), |trainer| trainer.callback(Ema::new(0.9))).unwrap();
    root
}

/// Notes the weights before the first step.
struct First(std::sync::Arc<parking_lot::Mutex<Vec<String>>>);

impl burn_trainer::callbacks::Callback<Model> for First {
    fn name(&self) -> String {
        "first".to_owned()
    }

    fn on_fit_start(
        &mut self,
        context: &mut burn_trainer::callbacks::CallbackContext<'_, Model>,
    ) -> burn_trainer::callbacks::CallbackResult {
        let section = burn_ckpt::Section::from_module(&context.valid_model());
        for tensor in section.tensors {
            self.0.lock().push(burn_ckpt::plumbing::blake3_hex(&tensor.to_bytes()?));
        }
        Ok(())
    }
}

/// The weights with which a run of that configuration begins.
fn first_weights(config: TrainerConfig, script: Script) -> burn_trainer::Result<Vec<String>> {
    let seen = std::sync::Arc::default();
    let first = First(std::sync::Arc::clone(&seen));
    train_by(config, script, |trainer| trainer.callback(first))?;
    let seen = seen.lock();
    Ok(seen.clone())
}

fn values(digests: Vec<(String, String)>) -> Vec<String> {
    digests.into_iter().map(|(_, digest)| digest).collect()
}

#[test]
fn a_new_run_begins_with_the_weights_and_nothing_else() {
    let pretrain = pretrained();
    let root = in_memory();
    let best = run_dir(pretrain.path()).join("best");
    let first = first_weights(begun(root.path(), InitFrom::new(&best)), Script::default()).unwrap();
    assert_eq!(first, values(digests(pretrain.path(), "best", "model")));
    let last = Checkpoint::open(run_dir(root.path()).join("last")).unwrap().metadata().unwrap();
    assert_eq!((last.epoch, last.global_step), (0, 1));
    let root = in_memory();
    let averaged = InitFrom::new(&best).with_part("ema");
    let first = first_weights(begun(root.path(), averaged), Script::default()).unwrap();
    assert_eq!(first, values(digests(pretrain.path(), "best", "user.ema")));
}

#[test]
fn a_run_that_resumes_ignores_it_so_the_same_command_starts_and_resumes() {
    let pretrain = pretrained();
    let root = in_memory();
    let with = |epochs: usize| {
        let config = config(root.path(), epochs).with_ckpt_path("auto");
        config.with_init_from(run_dir(pretrain.path()).join("last"))
    };
    train(with(1)).unwrap();
    let done = digests(root.path(), "last", "model");
    let first = first_weights(with(2), Script::default()).unwrap();
    assert_eq!(first, values(done));
    assert!(train(with(2)).unwrap().finished_before);
}

#[test]
fn what_the_weights_are_not_and_what_is_left_out_is_said() {
    let root = in_memory();
    let said = |run_id: &str, more: &str| {
        let flags = format!("--run-id {run_id} --set everything=true {more}");
        Running::start(warmup(root.path(), &flags)).end_well().stderr
    };
    said("a", "--epochs 1");
    let best = run_dir(root.path()).with_file_name("a").join("best").display().to_string();
    let note = "Their run has validated with ema: init_from.part \"ema\" takes that";
    assert_eq!(said("b", &format!("--epochs 1 --set init_from={best}")).matches(note).count(), 1);
    let average = format!(r#"--epochs 1 --set init_from={{"checkpoint":"{best}","part":"ema"}}"#);
    assert_eq!(said("c", &average).matches(note).count(), 0);
    // A new run begins with one of the two.
    let both = said("d", &format!("--epochs 2 --set init_from={best} --ckpt-path {best}"));
    assert!(
        both.contains("warning: init_from is left out: the run begins with the whole state of "),
        "{both}"
    );
}

#[test]
fn weights_that_do_not_fit_are_an_error_unless_that_is_allowed() {
    let pretrain = pretrained();
    let wider = || Script { hidden: 9, ..Script::default() };
    let best = InitFrom::new(run_dir(pretrain.path()).join("best"));
    let root = in_memory();
    let error = first_weights(begun(root.path(), best.clone()), wider()).unwrap_err();
    let Error::Checkpoint(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
    assert!(!run_dir(root.path()).exists(), "a start that fails leaves no directory");
    first_weights(begun(root.path(), best.clone().with_allow_mismatched(true)), wider()).unwrap();
    let wrong = begun(root.path(), best.with_remap("(", "")).with_overwrite(true);
    let Err(Error::Config { setting, .. }) = first_weights(wrong, Script::default()) else { panic!() };
    assert_eq!(setting, "init_from.remap");
    let missing = begun(root.path(), InitFrom::new("nowhere/best")).with_overwrite(true);
    let Err(Error::Checkpoint(error)) = first_weights(missing, Script::default()) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
