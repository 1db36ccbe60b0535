//! Tests of `--set`: which keys there are, what a text means as a value, and what an error says.

use std::collections::HashMap;

use burn_ckpt::retention::MetricMode;

use super::*;
use crate::cli::TrainArgs;
use crate::strategy::StrategyConfig;

#[test]
fn only_keys_that_there_are_can_be_set() {
    let mut trainer = TrainerConfig::default().with_primary_metric("val_loss");
    let mut program = serde_json::json!({ "width": 3 });
    let args = |set: &str| TrainArgs { set: vec![set.to_owned()], ..TrainArgs::default() };
    args("width=4").apply(&mut trainer, &mut program).unwrap();
    assert_eq!(program["width"], 4);
    args("best.topk=3").apply(&mut trainer, &mut program).unwrap();
    args("last.every_n_steps=7").apply(&mut trainer, &mut program).unwrap();
    assert_eq!(trainer.effective_strategies().len(), 3);
    args("strategies.0.mode=\"max\"").apply(&mut trainer, &mut program).unwrap();
    let strategies = trainer.effective_strategies();
    let [StrategyConfig::Best(best), StrategyConfig::Last(last), _] = &strategies[..] else {
        panic!("{strategies:?}")
    };
    assert_eq!((best.topk, best.mode, last.every_n_steps), (3.into(), Some(MetricMode::Max), Some(7)));
    let error = args("widht=4").apply(&mut trainer, &mut program).unwrap_err().to_string();
    assert!(error.contains("the program has width") && error.contains("max_epochs"), "{error}");
    assert!(error.contains("there is no \"widht\"; did you mean width?"), "{error}");
}

#[test]
fn a_strategy_is_turned_on_alone_where_there_is_no_metric() {
    let mut trainer = TrainerConfig::new();
    set("last.topk=2", &mut trainer, &mut serde_json::json!({})).unwrap();
    assert!(matches!(trainer.effective_strategies()[..], [StrategyConfig::Last(_)]));
}

#[test]
fn a_strategy_is_set_by_its_kind_also_in_a_list() {
    let list = |json: &str| serde_json::from_str::<TrainerConfig>(json).unwrap();
    let mut trainer = list(r#"{"strategies": [{"kind": "last"}, {"kind": "best", "metric": "val_loss"}]}"#);
    let mut program = serde_json::json!({});
    set("best.topk=3", &mut trainer, &mut program).unwrap();
    set("last={\"topk\": 2}", &mut trainer, &mut program).unwrap();
    let strategies = trainer.effective_strategies();
    let [StrategyConfig::Last(last), StrategyConfig::Best(best)] = &strategies[..] else {
        panic!("{strategies:?}")
    };
    assert_eq!((last.topk, best.topk), (2.into(), 3.into()));
    assert_eq!(best.metric.as_ref().unwrap().name, "val_loss");
    let error = set("on_exception.topk=3", &mut trainer, &mut program).unwrap_err().to_string();
    assert!(error.contains("there is no \"on_exception.topk\""), "{error}");
    let mut trainer = list(r#"{"strategies": [{"kind": "last"}, {"kind": "last", "dirpath": "other"}]}"#);
    let error = set("last.topk=3", &mut trainer, &mut program).unwrap_err().to_string();
    assert!(error.contains("write strategies.0.topk or strategies.1.topk"), "{error}");
}

#[test]
fn what_ranks_by_the_primary_metric_ranks_by_the_new_one() {
    let list = r#"{"primary_metric": "val_loss", "strategies": [{"kind": "best", "metric": "val_loss", "mode": "min"},
        {"kind": "best", "metric": "train_loss", "mode": "min"}]}"#;
    let mut trainer: TrainerConfig = serde_json::from_str(list).unwrap();
    set("primary_metric=val_accuracy", &mut trainer, &mut serde_json::json!({})).unwrap();
    let trainer = trainer.spelled_out();
    let ranked: Vec<_> = { trainer.strategies.iter().flatten() }
        .map(|strategy| match strategy {
            StrategyConfig::Best(best) => (best.metric.as_ref().unwrap().name.clone(), best.mode),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("val_accuracy".to_owned(), None), ("train_loss".to_owned(), Some(MetricMode::Min))];
    assert_eq!(ranked, expected);
}

#[test]
fn a_part_of_what_is_null_is_an_error_with_what_to_write() {
    let mut program = serde_json::json!({});
    let mut error =
        |key: &str| set(key, &mut TrainerConfig::default(), &mut program).unwrap_err().to_string();
    let said = error("early_stopping.metric=val_loss");
    assert!(said.contains(r#"--set 'early_stopping={"metric":"val_loss"}'"#), "{said}");
    let said = error("early_stopping.patience=5");
    assert!(said.contains(r#"--set 'early_stopping={"metric": ..}'; it has metric, mode, pat"#), "{said}");
    let said = error(r#"mirror={"address":"s3://b","keep_bes":3}"#);
    assert!(said.contains("\"keep_bes\"") && said.contains(" keep_best,"), "{said}");
    set(r#"early_stopping={"metric":"val_loss"}"#, &mut TrainerConfig::default(), &mut program).unwrap();
}

#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    hidden: usize,
    clip: f64,
    floor: Option<f32>,
    twice: Option<Option<u8>>,
    limits: HashMap<String, f64>,
    #[serde(flatten)]
    flat: Flat,
    #[serde(skip_serializing_if = "Option::is_none")]
    teacher: Option<String>,
    #[serde(default, skip_deserializing)]
    computed: usize,
    data: Data,
    stage: Stage,
    by_rank: HashMap<u32, f32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    low: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Data {
    Digits,
    Mnist,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Stage {
    Warm { until: f64 },
}

fn settings() -> Settings {
    Settings {
        hidden: 3,
        clip: f64::INFINITY,
        floor: Some(f32::NEG_INFINITY),
        twice: Some(None),
        limits: HashMap::from([("high".to_owned(), f64::INFINITY)]),
        flat: Flat { low: Some(f64::NEG_INFINITY) },
        teacher: None,
        computed: 7,
        data: Data::Digits,
        stage: Stage::Warm { until: f64::NAN },
        by_rank: HashMap::from([(2, f32::INFINITY)]),
    }
}

#[test]
fn one_field_changes_and_those_that_json_cannot_hold_stay() {
    let (mut trainer, mut program) = (TrainerConfig::default(), settings());
    for assignment in ["hidden=9", "teacher=anna", "by_rank.2=0.5", "data=mnist"] {
        set(assignment, &mut trainer, &mut program).unwrap();
    }
    assert_eq!((program.hidden, program.teacher.as_deref()), (9, Some("anna")));
    assert_eq!((program.by_rank[&2], program.data), (0.5, Data::Mnist));
    assert_eq!((program.clip, program.floor), (f64::INFINITY, Some(f32::NEG_INFINITY)));
    assert_eq!((program.twice, program.limits["high"]), (Some(None), f64::INFINITY));
    assert_eq!(program.flat.low, Some(f64::NEG_INFINITY));
    let Stage::Warm { until } = program.stage;
    assert!(until.is_nan());
}

#[test]
fn a_bare_word_is_a_text_and_a_number_is_one_where_no_number_is_taken() {
    let (mut trainer, mut program) = (TrainerConfig::default(), settings());
    for (assignment, name) in
        [("name=abc", "abc"), ("name=5", "5"), ("name=true", "true"), ("name=\"5\"", "5")]
    {
        set(assignment, &mut trainer, &mut program).unwrap();
        assert_eq!(trainer.name.as_deref(), Some(name), "{assignment}");
    }
    set("last.filename={epoch:03}-{val_loss:.4}", &mut trainer, &mut program).unwrap();
    let filename = trainer.last.as_ref().map(|last| last.filename.as_str());
    assert_eq!(filename, Some("{epoch:03}-{val_loss:.4}"));
    set("name=null", &mut trainer, &mut program).unwrap();
    assert_eq!(trainer.name, None);
    set("teacher=7", &mut trainer, &mut program).unwrap();
    assert_eq!(program.teacher.as_deref(), Some("7"));
    let mut untyped = serde_json::json!({ "width": 3, "note": "a" });
    set("width=4", &mut trainer, &mut untyped).unwrap();
    set("note=a b", &mut trainer, &mut untyped).unwrap();
    assert_eq!(untyped, serde_json::json!({ "width": 4, "note": "a b" }));
}

#[test]
fn what_a_field_does_not_take_is_an_error() {
    let (mut trainer, mut program) = (TrainerConfig::default(), settings());
    for (assignment, expected) in [
        ("hidden=abc", "it takes a whole number from 0, as in --set hidden=3"),
        ("hidden=-1", "whole number"),
        ("data=letters", "digits|mnist"),
        ("computed=5", "does not read this field"),
        ("lo=1", "there is no \"lo\""),
        ("limits.hihg=1", "limits has high"),
        ("teachr=anna", "there is no \"teachr\""),
        ("name=[1", "is not JSON"),
        ("stage.kind=cold", "warm"),
        // A key of JSON without its quotes, where no text is taken.
        ("limits={high: 3}", "it takes"),
    ] {
        let error = set(assignment, &mut trainer, &mut program).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(assignment), "{assignment}: {error}");
    }
}
