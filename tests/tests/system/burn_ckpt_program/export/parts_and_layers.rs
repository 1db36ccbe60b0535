//! `burn-ckpt export --part`, and the note on layers that PyTorch builds in another way.

use std::path::Path;

use burn::module::Module;
use burn::nn::attention::{MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::{Gru, GruConfig, Linear, LinearConfig};
use burn_ckpt::{Contents, Metadata, Section};
use jiff::Timestamp;
use serde_json::json;
use system_tests::backend;
use system_tests::hand_made_files::save_as_model;
use system_tests::models::pytorch_twin::Net;
use system_tests::programs::commands::{ended_with, stderr, stdout};

use super::{assert_refused, export};

/// A module with parts that PyTorch builds in another way.
#[derive(Module, Debug)]
struct Recurrent {
    rnn: Gru,
    blocks: Vec<MultiHeadAttention>,
    out: Linear,
}

#[test]
fn a_note_names_the_modules_of_which_pytorchs_have_other_tensors() {
    let directory = tempfile::tempdir().unwrap();
    let device = backend::device();
    let attention = || MultiHeadAttentionConfig::new(4, 2).init(&device);
    let module = Recurrent {
        rnn: GruConfig::new(3, 4, true).init(&device),
        blocks: vec![attention(), attention(), attention()],
        out: LinearConfig::new(4, 1).init(&device),
    };
    let save = |name, section| save_as_model(directory.path(), name, &json!(null), section);
    let checkpoint = save("a.ckpt", Section::from_module(&module));
    let said = |checkpoint: &Path, name: &str, more: &[&str]| {
        let exported = export(checkpoint, &directory.path().join(name), more);
        stdout(&exported);
        stderr(&exported)
    };
    assert_eq!(
        said(&checkpoint, "a.safetensors", &["--layout", "pytorch"]),
        "note: PyTorch's modules of these kinds have other tensors, so convert them there: Gru (rnn), \
         MultiHeadAttention (blocks.0 and 2 more)\n"
    );
    assert_eq!(said(&checkpoint, "b.safetensors", &[]), "");
    let net = save("net.ckpt", Section::from_module(&Net::trained()));
    assert_eq!(said(&net, "c.safetensors", &["--layout", "pytorch"]), "");
}

#[test]
fn a_part_is_exported_by_the_name_that_code_has_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (net, average) = (Section::from_module(&Net::trained()), Section::from_module(&Net::trained()));
    // As burn-trainer's Ema says that the run validates with it.
    let value = r#"{"decay":0.9,"validates":true}"#.to_owned();
    let average = average.with_strings([("callback.value".to_owned(), value)].into());
    let checkpoint = directory.path().join("net.ckpt");
    let contents = Contents::new(&json!(null)).unwrap();
    let contents = contents.with_section(Section::MODEL, net).with_section("user.ema", average);
    contents.save(&checkpoint, Metadata::new(Timestamp::now())).unwrap();
    let [part, section, model] =
        ["part", "section", "model"].map(|name| directory.path().join(name).with_extension("safetensors"));
    for (path, more, note) in [
        (&part, &["--part", "ema"][..], ""),
        (&section, &["--section", "user.ema"], ""),
        (
            &model,
            &[],
            "note: these are the parameters that were trained. The run has validated with ema: --part ema writes that\n",
        ),
    ] {
        let exported = export(&checkpoint, path, more);
        stdout(&exported);
        assert_eq!(stderr(&exported), note);
    }
    let bytes = |path| std::fs::read(path).unwrap();
    assert_eq!(bytes(&part), bytes(&section));
    assert_ne!(bytes(&part), bytes(&model));

    assert_refused(
        &checkpoint,
        &["--section", "ema"],
        &["it has: model", "the part ema is the section user.ema"],
    );
    assert_refused(&checkpoint, &["--part", "emma"], &["no user.emma section", "it has: model"]);
    let both = export(&checkpoint, &part, &["--part", "ema", "--section", "user.ema"]);
    ended_with(&both, 2);
}
