//! The table of a model's modules that a start prints, and that the metadata has.

use std::process::Command;

use burn_trainer::model_summary;
use system_tests::backend;
use system_tests::models::small::{Model, Script, config, learner, train};
use system_tests::programs::commands::{build, ended_with};
use system_tests::programs::on_terminal::OnTerminal;
use system_tests::run_files::{checkpoints, in_memory, metadata};

#[test]
fn the_metadata_has_the_modules_down_to_the_depth_that_is_set() {
    let root = in_memory();
    train(config(root.path(), 1)).unwrap();
    let model = metadata(&checkpoints(root.path()).join("last.ckpt"))["model"].clone();
    let summary = model_summary(&Model::new(Script::default(), &backend::device().autodiff()));
    assert_eq!((&model["type"], &model["parameters"]), (&"Model".into(), &summary.parameters.into()));
    let paths = model["modules"].as_array().unwrap().iter().map(|module| module["path"].as_str().unwrap());
    assert_eq!(paths.collect::<Vec<_>>(), ["input", "norm", "output"]);

    let none = in_memory();
    train(config(none.path(), 1).with_model_summary_depth(0)).unwrap();
    let model = metadata(&checkpoints(none.path()).join("last.ckpt"))["model"].clone();
    assert_eq!(
        (&model["parameters"], &model["modules"]),
        (&summary.parameters.into(), &serde_json::json!([]))
    );
}

#[test]
fn counting_a_model_does_not_change_how_it_trains() {
    let roots = [in_memory(), in_memory()];
    let tensors = |root: &std::path::Path| metadata(&checkpoints(root).join("last.ckpt"))["tensors"].clone();
    train(config(roots[0].path(), 1)).unwrap();
    let learner = learner(Script::default());
    // Its `Display` has all modules.
    let shown = model_summary(&learner.model()).to_string();
    assert_eq!(shown.lines().count(), 2 + 3, "{shown}");
    let script = Script::default();
    let trainer = burn_trainer::Trainer::new(config(roots[1].path(), 1), &script.hparams()).unwrap();
    let loader = || system_tests::models::small::loader(&script);
    let training = trainer.training(loader(), loader()).metrics((burn::train::metric::LossMetric::new(),));
    trainer.fit(training, learner).unwrap();
    assert_eq!(tensors(roots[0].path()), tensors(roots[1].path()));
}

#[test]
fn a_start_prints_the_models_fields_and_a_deeper_table_where_it_is_asked_for() {
    let root = in_memory();
    let program = build(&["char-lm"]).join("char-lm");
    let small = "--set width=16 --set layers=30 --set heads=2 --set context=16 --set windows_per_epoch=8 --set valid_windows=8";
    let said = |id: &str, depth: &str| {
        let mut command = Command::new(&program);
        command.arg("--root").arg(root.path()).args(["--run-id", id]).args(small.split_whitespace());
        let output = command.arg("--set").arg(format!("model_summary_depth={depth}")).output().unwrap();
        ended_with(&output, 0).1
    };
    let table = |said: &str| said.lines().filter(|line| line.starts_with("  ")).count();
    let top = said("top", "1");
    assert!(top.contains("\nmodel CharLm: ") && top.contains(" parameters, "), "{top}");
    let deep = said("deep", "3");
    // A heading, 24 modules, and how many there are besides.
    assert_eq!(table(&deep), 1 + 24 + 1, "{deep}");
    assert!(deep.contains(" more (burn_trainer::model_summary has all)"), "{deep}");
    assert!(table(&top) > 2 && table(&top) < 12, "{top}");
    assert_eq!(table(&said("none", "0")), 0);
}

#[test]
fn the_table_keeps_to_the_width_of_the_terminal() {
    let root = in_memory();
    let program = build(&["digits"]).join("digits");
    for (columns, has_types) in [("120", true), ("36", false)] {
        let mut command = Command::new(&program);
        command.arg("--root").arg(root.path()).args(["--run-id", columns, "--epochs", "1"]);
        // Standard output is a pipe, so that there is no dashboard.
        let line = format!("stty cols {columns}\n\"$@\" | cat");
        let shown = OnTerminal::start_by(&command, &line).end().stdout;
        let table: Vec<&str> = shown.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(table.len() > 3, "{shown}");
        let width: usize = columns.parse().unwrap();
        assert!(table.iter().all(|line| line.trim_end().len() <= width), "{shown}");
        assert_eq!(table[0].contains("type"), has_types, "{shown}");
    }
}
