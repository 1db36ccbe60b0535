//! A trained model in one line: built from the hyperparameters in its checkpoint, as the caller changes them.

use std::cell::RefCell;
use std::rc::Rc;

use burn_ckpt::{Checkpoint, Contents, FromCheckpoint, Metadata, Section};
use jiff::Timestamp;
use serde_json::json;
use system_tests::backend;
use system_tests::models::inference_net::{Net, NetConfig, bytes, save};
use system_tests::models::small::Model;
use system_tests::run_files::{checkpoints, run_dir};
use system_tests::{config, train};

#[test]
fn the_model_is_the_one_that_was_saved_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8).with_dropout(0.25);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);

    let model = Net::from_checkpoint(&path, &backend::device()).unwrap();
    assert!(model.equals(&trained));
    assert_eq!(model.dropout.prob, 0.25);
    assert_eq!(model.hidden.weight.id, trained.hidden.weight.id, "an optimizer finds its state by it");
    assert_eq!(Net::hparams_from_checkpoint(&path).unwrap(), config);
}

#[test]
fn the_hyperparameters_are_changed_once_before_the_model_is_built_from_them() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let trained = Net::trained(&config);
    let path = save(directory.path(), &trained, &config);

    let (calls, dropout) = (RefCell::new(Vec::new()), 0.125);
    // The closure may borrow.
    let model = Net::from_checkpoint_with(&path, &backend::device(), |hparams| {
        calls.borrow_mut().push(hparams.clone());
        hparams.with_dropout(dropout)
    });
    let model = model.unwrap();
    assert_eq!(*calls.borrow(), std::slice::from_ref(&config), "called once, with what was saved");
    assert_eq!(model.dropout.prob, 0.125);
    assert!(format!("{model}").contains("0.125"), "{model}");
    assert!(model.equals(&trained));

    let loaded =
        Net::loader(&path).update_hparams(|h| h.with_dropout(0.75)).load(&backend::device()).unwrap();
    assert_eq!(loaded.hparams, config.with_dropout(0.75));
    assert_eq!(loaded.model.dropout.prob, 0.75);
    assert!(loaded.report.is_complete() && loaded.report.verified);
    assert_eq!(loaded.report.loaded.len(), bytes(&trained).len());
    assert_eq!(Net::hparams_from_checkpoint(&path).unwrap().dropout, 0.5, "the file is as it was");
}

#[test]
fn changes_come_in_the_order_of_the_calls_first_those_of_the_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.ckpt");
    let trained = Net::trained(&NetConfig::new(8));
    let contents = Contents::new(&json!({ "hidden_size": 8, "dropout": 0.5 })).unwrap();
    let contents = contents.with_section(Section::MODEL, Section::from_module(&trained));
    contents.save(&path, Metadata::new(Timestamp::now())).unwrap();

    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| order.borrow_mut().push(what);
    let loaded = Net::loader(&path)
        .update_hparams(|hparams| {
            note("typed, 1");
            hparams.with_dropout(0.1)
        })
        .update_hparams_json(|hparams| {
            note("json");
            let width = hparams["hidden_size"].take();
            hparams["width"] = width;
        })
        .update_hparams(|hparams| {
            note("typed, 2");
            assert_eq!(hparams.dropout, 0.1);
            hparams.with_dropout(0.2)
        })
        .load(&backend::device())
        .unwrap();
    assert_eq!(*order.borrow(), ["json", "typed, 1", "typed, 2"]);
    assert_eq!((loaded.hparams.width, loaded.hparams.dropout), (8, 0.2));
    assert!(loaded.model.equals(&trained));
}

#[test]
fn every_form_of_a_path_leads_to_the_model_that_was_trained() {
    let root = tempfile::tempdir().unwrap();
    let trained = train(config(root.path(), 2)).unwrap();
    let (run, directory) = (run_dir(root.path()), checkpoints(root.path()));
    let last = bytes(&trained.model);
    let best = std::fs::canonicalize(directory.join("best_val_loss.ckpt")).unwrap();
    let best = bytes(&Checkpoint::open(&best).unwrap().load_into(trained.model.clone()).unwrap());

    for (path, expected) in [
        (directory.join("last/epoch=1-step=20.ckpt"), &last),
        (directory.join("last.ckpt"), &last),
        (run.join("last"), &last),
        (directory.join("last"), &last),
        (directory.join("best_val_loss.ckpt"), &best),
        (run.join("best_val_loss"), &best),
        (directory.join("best_val_loss"), &best),
        (run.join("best"), &best),
        (directory.join("best"), &best),
    ] {
        let model = Model::from_checkpoint(&path, &backend::device());
        let model = model.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(bytes(&model) == *expected, "{}", path.display());
        assert_eq!(Model::hparams_from_checkpoint(&path).unwrap().hidden, 6);
    }
}

#[test]
fn the_other_sections_are_at_hand_after_loading() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig::new(8);
    let path = save(directory.path(), &Net::trained(&config), &config);
    let loaded = Net::loader(&path).load(&backend::device()).unwrap();
    let ema = loaded.checkpoint.section("user.ema").unwrap();
    assert_eq!(ema.tensors.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["bias", "weight"]);
    assert_eq!(loaded.checkpoint.metadata().unwrap().hparams["width"], 8);
}
