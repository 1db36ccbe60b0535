//! Hyperparameters that JSON cannot hold, and fields that their type drops in silence: errors that name the
//! field.

use std::collections::HashMap;
use std::path::Path;

use burn_ckpt::chain;
use burn_ckpt::{Checkpoint, Contents, Error, ErrorKind, Metadata};
use burn_trainer::{Trainer, TrainerConfig};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use system_tests::models::small::Model;

/// Trains nothing, as the hyperparameters are wrong. Asserts that no file was made, and that saving by hand
/// fails too.
fn assert_wrong(hparams: &impl Serialize, field: &str, what: &str) {
    let root = tempfile::tempdir().unwrap();
    let config = TrainerConfig::new().with_root(root.path()).with_run_id("r1");
    let error = Trainer::<Model>::new(config, hparams).err().unwrap();
    let burn_trainer::Error::Config { setting, reason } = error else { panic!("{error:?}") };
    assert_eq!(setting, format!("hparams.{field}"));
    assert!(reason.contains(what), "{field}: {reason}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "{field}");
    let error = Contents::new(hparams).unwrap_err();
    assert!(matches!(error, Error::Snapshot { .. }), "{error:?}");
    assert!(chain(&error).contains(&format!("`{field}`")), "{}", chain(&error));
}

#[test]
fn a_number_that_json_cannot_hold_is_an_error_before_training() {
    #[derive(Serialize, Default)]
    struct Part {
        rate: f32,
    }
    #[derive(Serialize)]
    #[serde(tag = "kind")]
    enum Schedule {
        Step { at: f64 },
    }
    #[derive(Serialize, Default)]
    struct Hparams {
        clip: f64,
        floor: Option<f32>,
        betas: (f64, f64),
        parts: Vec<Part>,
        limits: HashMap<&'static str, f64>,
        schedule: Option<Schedule>,
        #[serde(flatten)]
        flat: Part,
        twice: Option<Option<u8>>,
    }
    let part = |rate| Part { rate };
    assert_wrong(&Hparams { clip: f64::INFINITY, ..Hparams::default() }, "clip", "inf");
    assert_wrong(&Hparams { clip: f64::NAN, ..Hparams::default() }, "clip", "NaN");
    assert_wrong(&Hparams { floor: Some(f32::NEG_INFINITY), ..Hparams::default() }, "floor", "-inf");
    assert_wrong(&Hparams { betas: (0.9, f64::NAN), ..Hparams::default() }, "betas.1", "NaN");
    let parts = vec![part(1.0), part(f32::INFINITY)];
    assert_wrong(&Hparams { parts, ..Hparams::default() }, "parts.1.rate", "inf");
    let limits = HashMap::from([("high", f64::INFINITY)]);
    assert_wrong(&Hparams { limits, ..Hparams::default() }, "limits.high", "inf");
    let schedule = Some(Schedule::Step { at: f64::INFINITY });
    assert_wrong(&Hparams { schedule, ..Hparams::default() }, "schedule.at", "inf");
    assert_wrong(&Hparams { flat: part(f32::NAN), ..Hparams::default() }, "rate", "NaN");
    assert_wrong(&Hparams { twice: Some(None), ..Hparams::default() }, "twice", "Some of nothing");
    assert_wrong(&HashMap::from([("map", HashMap::from([((1, 2), 3)]))]), "map", "key must be a string");
    let finite = Hparams { floor: Some(f32::MIN), twice: Some(Some(1)), ..Hparams::default() };
    Contents::new(&finite).unwrap();
}

fn saved(directory: &Path, hparams: &Value) -> Checkpoint {
    let path = directory.join("a.ckpt");
    Contents::new(hparams).unwrap().save(&path, Metadata::new(Timestamp::now())).unwrap();
    Checkpoint::open(path).unwrap()
}

/// Reads hyperparameters as another type than they were saved from. The error, if any.
fn read<H: Serialize + DeserializeOwned>(hparams: &Value) -> Result<H, String> {
    let directory = tempfile::tempdir().unwrap();
    saved(directory.path(), hparams).hparams::<H>().map_err(|error| {
        assert_eq!(error.kind(), ErrorKind::InvalidHparams, "{error:?}");
        error.to_string()
    })
}

fn assert_dropped<H: Serialize + DeserializeOwned + std::fmt::Debug>(hparams: &Value, field: &str) {
    let error = read::<H>(hparams).unwrap_err();
    assert!(error.contains(&format!("a field `{field}`, which the type lacks")), "{field}: {error}");
}

#[derive(Debug, Serialize, Deserialize)]
struct Regularization {
    #[serde(default)]
    dropout: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Block {
    Dense {
        #[serde(default)]
        dropout: f64,
    },
    Pool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Rate {
    Warm { rate: f64, until: u64 },
    Plain { rate: f64 },
}

#[test]
fn a_field_that_the_type_drops_is_an_error_wherever_it_is() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        width: usize,
        #[serde(flatten)]
        regularization: Regularization,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Blocks {
        blocks: Vec<Block>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A(Flat),
    }
    assert_dropped::<Flat>(&json!({ "width": 8, "drop_rate": 0.5 }), "drop_rate");
    let blocks = |block: Value| json!({ "blocks": [{ "kind": "pool" }, block] });
    assert_dropped::<Blocks>(&blocks(json!({ "kind": "dense", "drop_rate": 0.5 })), "blocks.1.drop_rate");
    assert_dropped::<Blocks>(&blocks(json!({ "kind": "pool", "size": 2 })), "blocks.1.size");
    assert_dropped::<Rate>(&json!({ "rate": 0.1, "untill": 3 }), "untill");
    assert_dropped::<Adjacent>(&json!({ "t": "A", "c": { "width": 1, "drop_rate": 0.5 } }), "c.drop_rate");
    assert_dropped::<HashMap<String, Block>>(&json!({ "x": { "kind": "pool", "size": 2 } }), "x.size");
    #[derive(Debug, Serialize, Deserialize)]
    struct Computed {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Inner {
        rate: f32,
        #[serde(skip_deserializing)]
        steps: u64,
    }
    // Written as 0, whatever was saved.
    assert_dropped::<Computed>(&json!({ "rate": 0.1, "steps": 7 }), "steps");
    read::<Computed>(&json!({ "rate": 0.1, "steps": 0 })).unwrap();
    let error = read::<Regularization>(&json!({ "dropout": null })).unwrap_err();
    assert!(error.contains("`dropout`") && error.contains("not finite"), "{error}");
    // A field that was removed by hand, as `update_hparams_json` leaves it.
    read::<Flat>(&json!({ "width": 8, "drop_rate": null })).unwrap();
}

#[test]
fn a_field_that_the_type_reads_is_not_an_error_however_it_is_written() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "drop_rate", default)]
        dropout: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        teacher: Option<String>,
        #[serde(default, skip_serializing)]
        secret: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        layers: Vec<usize>,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        renamed: Renamed,
        #[serde(default)]
        more: usize,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Open {
        #[serde(flatten)]
        renamed: Renamed,
        #[serde(flatten)]
        rest: HashMap<String, Value>,
    }
    /// Another spelling of a value is not another value.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Spelled {
        A { rate: f32, mode: Mode, size: Number },
    }
    #[derive(Debug, Serialize, Deserialize)]
    enum Mode {
        #[serde(alias = "maximum")]
        Max,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(from = "f64", into = "String")]
    #[derive(Clone)]
    struct Number(u32);
    impl From<f64> for Number {
        fn from(number: f64) -> Self {
            Self(number as u32 + 1)
        }
    }
    impl From<Number> for String {
        fn from(Number(number): Number) -> Self {
            number.to_string()
        }
    }
    read::<Spelled>(&json!({ "kind": "a", "rate": 0.1, "mode": "maximum", "size": 3 })).unwrap();
    let hparams = json!({ "drop_rate": 0.5, "secret": "s", "layers": [] });
    let flat: Flat = read(&hparams).unwrap();
    assert_eq!((flat.renamed.dropout, flat.renamed.secret.as_str(), flat.more), (0.5, "s", 0));
    let open: Open = read(&json!({ "drop_rate": 0.5, "x": { "y": [1] } })).unwrap();
    assert_eq!(open.rest["x"], json!({ "y": [1] }));
    let Rate::Warm { rate, until } = read(&json!({ "rate": 0.1, "until": 3 })).unwrap() else {
        panic!("the variant with more fields comes first");
    };
    assert_eq!((rate, until), (0.1, 3));
    read::<HashMap<u32, f32>>(&json!({ "3": 0.5 })).unwrap();
    read::<Value>(&json!({ "a": [null, { "b": 1 }] })).unwrap();
}

#[test]
fn a_number_that_is_infinite_in_its_type_is_an_error() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Hparams {
        rates: Vec<f32>,
        #[serde(default = "none_given", skip_serializing)]
        limit: f64,
    }
    fn none_given() -> f64 {
        f64::INFINITY
    }
    let error = read::<Hparams>(&json!({ "rates": [0.5, 1e308] })).unwrap_err();
    assert!(error.contains("`rates.1` has a number that is too large for its type"), "{error}");
    // What the type itself sets is not the file's.
    let read = read::<Hparams>(&json!({ "rates": [0.5, 1e38] })).unwrap();
    assert!(read.limit.is_infinite() && read.rates[1] > 9e37);
}

#[test]
fn a_null_that_is_left_behind_is_accepted_inside_an_option_a_newtype_or_a_variant() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Head {
        size: usize,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct New(Head);
    #[derive(Debug, Serialize, Deserialize)]
    enum Kind {
        One(Head),
        Two { size: usize },
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Outer {
        head: Option<Head>,
        new: New,
        kinds: Vec<Kind>,
    }
    let with = |old: Value| {
        let head = json!({ "size": 1, "old": old });
        json!({ "head": head, "new": head, "kinds": [{ "One": head }, { "Two": head }] })
    };
    read::<Outer>(&with(json!(null))).unwrap();
    let error = read::<Outer>(&with(json!(3))).unwrap_err().to_string();
    assert!(error.contains("a field `head.old` and 3 more"), "{error}");
}
