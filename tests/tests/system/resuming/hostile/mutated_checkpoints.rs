//! Checkpoints whose content was changed and whose digests were computed again, so that they pass a
//! verification: loading them, resuming from them and showing them ends in an error that says what is wrong,
//! or works. Nothing panics, and a run does not begin on what cannot be its state.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdafactorConfig, AdamWConfig, RmsPropConfig, SgdConfig};
use burn::train::Learner;
use burn::train::metric::LossMetric;
use burn_ckpt::chain;
use burn_ckpt::{Checkpoint, FromCheckpoint, Section};
use burn_trainer::Trainer;
use ciborium::{Value, cbor};
use serde_json::json;
use system_tests::backend;
use system_tests::config;
use system_tests::forged_checkpoint::{Parts, entry};
use system_tests::models::small::{BATCH, Model, Script, learner, shuffling};
use system_tests::programs::commands::burn_ckpt;
use system_tests::random::SplitMix64;
use system_tests::run_files::{checkpoints, in_memory};

const SEED: u64 = 20;
/// Of the states of each optimizer, unless the environment has another number in `MUTATIONS`.
const MUTATIONS_OF_EACH: u64 = 20;
/// One file opened, loaded, resumed and trained for an epoch, beside other tests.
const LONGEST: Duration = Duration::from_mins(2);

const OPTIMIZERS: [&str; 5] = ["streamed Adam", "AdamW", "SGD with momentum", "RMSprop", "Adafactor"];

fn learner_with(optimizer: &str) -> Learner<Model> {
    let model = || Model::new(Script::default(), &backend::device().autodiff());
    match optimizer {
        "AdamW" => Learner::new(model(), AdamWConfig::new().init(), 1e-2),
        "SGD with momentum" => {
            let momentum = MomentumConfig::new();
            Learner::new(model(), SgdConfig::new().with_momentum(Some(momentum)).init(), 1e-2)
        }
        "RMSprop" => Learner::new(model(), RmsPropConfig::new().init(), 1e-2),
        "Adafactor" => Learner::new(model(), AdafactorConfig::new().init(), 1e-2),
        _ => learner(Script::default()),
    }
}

fn fit(optimizer: &str, root: &Path, run: &str, from: Option<&Path>) -> burn_trainer::Result<u64> {
    let mut config = config(root, if from.is_some() { 2 } else { 1 }).with_run_id(run);
    if let Some(from) = from {
        config = config.with_ckpt_path(from.to_str().unwrap());
    }
    let trainer = Trainer::new(config, &Script::default().hparams())?;
    let training = trainer.training(shuffling(BATCH), shuffling(BATCH)).metrics((LossMetric::new(),));
    Ok(trainer.fit(training, learner_with(optimizer))?.global_step)
}

struct Mutator<'a> {
    random: &'a mut SplitMix64,
    parts: Parts,
    metadata: serde_json::Value,
}

impl Mutator<'_> {
    fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.random.below(values.len() as u64) as usize].clone()
    }

    fn index(&mut self, map: &str) -> Option<usize> {
        let count = self.parts.map(map).len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }

    /// Changes something, and says what.
    fn mutate(&mut self) -> Option<String> {
        match self.random.below(9) {
            0 => self.name(),
            1 => self.dtype(),
            2 => self.shape(),
            3 => self.offsets(),
            4 => self.param_id(),
            5 => self.scalar(),
            6 => self.string(),
            7 => self.json(),
            _ => self.metadata(),
        }
    }

    fn name(&mut self) -> Option<String> {
        let map = self.one_of(&["tensors", "scalars", "metadata"]);
        let (index, other) = (self.index(map)?, self.index(map)?);
        let name = self.parts.map(map)[index].0.as_text()?.to_owned();
        let another = self.parts.map(map)[other].0.as_text()?.to_owned();
        let new = self.one_of(&[
            format!("{name}x"),
            name.replacen("optimizer.", "model.", 1),
            name.replacen("model.", "optimizer.", 1),
            name.replace("__rank", "rank"),
            another,
            String::new(),
            "\u{1b}[2J".to_owned(),
            "n".repeat(5000),
        ]);
        self.parts.map(map)[index].0 = Value::Text(new.clone());
        Some(format!("the name of {name} is {new:.40?}"))
    }

    fn dtype(&mut self) -> Option<String> {
        let (index, dtype) =
            (self.index("tensors")?, self.one_of(&["I32", "U32", "F64", "F16", "BF16", "U8", "I64", "None"]));
        let end = self.parts.data.len().next_multiple_of(256);
        let (name, tensor) = &mut self.parts.map("tensors")[index];
        let name = name.as_text()?.to_owned();
        let elements: u64 = entry(tensor, "shape").deserialized::<Vec<u64>>().ok()?.iter().product();
        *entry(tensor, "dtype") = Value::Text(dtype.to_owned());
        let bytes = elements as usize
            * match dtype {
                "F64" | "I64" => 8,
                "F16" | "BF16" => 2,
                "U8" => 1,
                _ => 4,
            };
        if bytes != elements as usize * 4 {
            *entry(tensor, "data_offsets") = cbor!([end, end + bytes]).ok()?;
            self.parts.data.resize(end + bytes, 1);
        }
        Some(format!("the type of {name} is {dtype}"))
    }

    fn shape(&mut self) -> Option<String> {
        let index = self.index("tensors")?;
        let kind = self.random.below(6);
        let (name, tensor) = &mut self.parts.map("tensors")[index];
        let old = entry(tensor, "shape").deserialized::<Vec<u64>>().ok()?;
        let new = match kind {
            0 => old.iter().rev().copied().collect(),
            1 => vec![old.iter().product()],
            2 => [&old[..], &[1]].concat(),
            3 => [&[1], &old[..]].concat(),
            4 => vec![u64::MAX, 2],
            _ => vec![1; 12].into_iter().chain(old).collect(),
        };
        let text = format!("the shape of {name:?} is {new:?}");
        *entry(tensor, "shape") = cbor!(new).ok()?;
        Some(text)
    }

    fn offsets(&mut self) -> Option<String> {
        let (index, other) = (self.index("tensors")?, self.index("tensors")?);
        let another = entry(&mut self.parts.map("tensors")[other].1, "data_offsets").clone();
        let new = self.one_of(&[
            another,
            cbor!([4, 12]).ok()?,
            cbor!([u64::MAX, 0]).ok()?,
            cbor!([0, u64::MAX]).ok()?,
        ]);
        let (name, tensor) = &mut self.parts.map("tensors")[index];
        *entry(tensor, "data_offsets") = new;
        Some(format!("the place of {name:?}"))
    }

    fn param_id(&mut self) -> Option<String> {
        let (index, other) = (self.index("tensors")?, self.index("tensors")?);
        let another = entry(&mut self.parts.map("tensors")[other].1, "param_id").clone();
        let another = if another.is_map() { Value::Null } else { another };
        let new =
            self.one_of(&[another, Value::Null, cbor!(17).ok()?, cbor!(u64::MAX).ok()?, cbor!("x").ok()?]);
        let (name, tensor) = &mut self.parts.map("tensors")[index];
        let text = format!("the parameter id of {name:?} is {new:?}");
        *entry(tensor, "param_id") = new;
        Some(text)
    }

    fn scalar(&mut self) -> Option<String> {
        let index = self.index("scalars")?;
        let new = self.one_of(&[
            cbor!({ "UInt" => u64::MAX }).ok()?,
            cbor!({ "UInt" => 7 }).ok()?,
            cbor!({ "UInt" => 1_u64 << 40 }).ok()?,
            cbor!({ "Int" => i64::MIN }).ok()?,
            cbor!({ "Float" => f64::NAN }).ok()?,
            cbor!({ "Float" => 1e300 }).ok()?,
            cbor!({ "Bool" => true }).ok()?,
            Value::Null,
        ]);
        let scalars = self.parts.map("scalars");
        let text = format!("the scalar {:?} is {new:?}", scalars[index].0);
        if new.is_null() {
            scalars.remove(index);
        } else {
            scalars[index].1 = new;
        }
        Some(text)
    }

    fn string(&mut self) -> Option<String> {
        let (index, other) = (self.index("metadata")?, self.index("metadata")?);
        let another = self.parts.map("metadata")[other].1.clone();
        let new =
            self.one_of(&[another, Value::Text(String::new()), Value::Text("{".to_owned()), cbor!(3).ok()?]);
        let strings = self.parts.map("metadata");
        let text = format!("the string {:?}", strings[index].0);
        strings[index].1 = new;
        Some(text)
    }

    fn json(&mut self) -> Option<String> {
        let key = self.one_of(&[
            "burn-ckpt.trainer_state",
            "burn-ckpt.trainer_state",
            "burn-ckpt.hparams",
            "burn-ckpt.sections",
        ]);
        let index = self.parts.map("metadata").iter().position(|(name, _)| name.as_text() == Some(key))?;
        let mut value = serde_json::from_str(self.parts.map("metadata")[index].1.as_text()?).ok()?;
        let what = self.in_json(&mut value);
        self.parts.map("metadata")[index].1 = Value::Text(value.to_string());
        Some(format!("{key}{what}"))
    }

    fn metadata(&mut self) -> Option<String> {
        let mut metadata = std::mem::take(&mut self.metadata);
        let what = self.in_json(&mut metadata);
        self.metadata = metadata;
        self.metadata.is_object().then(|| format!("metadata{what}"))
    }

    /// Replaces a value somewhere in JSON. Returns where, and by what.
    fn in_json(&mut self, value: &mut serde_json::Value) -> String {
        let children = match &*value {
            serde_json::Value::Object(map) => map.len(),
            serde_json::Value::Array(list) => list.len(),
            _ => 0,
        };
        if children > 0 && self.random.below(4) > 0 {
            let index = self.random.below(children as u64) as usize;
            return match value {
                serde_json::Value::Object(map) => match map.iter_mut().nth(index) {
                    Some((key, child)) => format!(".{key}{}", self.in_json(child)),
                    None => String::new(),
                },
                serde_json::Value::Array(list) => format!("[{index}]{}", self.in_json(&mut list[index])),
                _ => String::new(),
            };
        }
        let nested = (0..90).fold(json!(1), |inner, _| json!([inner]));
        *value = self.one_of(&[
            json!(null),
            json!("x"),
            json!("NaN"),
            json!(-1),
            json!(1.5),
            json!(1e308),
            json!(u64::MAX),
            json!([]),
            json!({}),
            json!(true),
            json!("a".repeat(100_000)),
            nested,
        ]);
        format!(" = {:.30}", value.to_string())
    }
}

/// What came of one use of a file: `None` after a panic.
fn outcome<T, E: std::error::Error + 'static>(
    what: &str,
    used: Result<Result<T, E>, Box<dyn Any + Send>>,
    counts: &mut BTreeMap<String, usize>,
) -> Option<()> {
    let (word, ok) = match &used {
        Ok(Ok(_)) => ("works", true),
        // A panic in training is reported as an error, and the state is saved.
        Ok(Err(error)) if chain(error).contains("panicked") => ("panics, and is caught", false),
        Ok(Err(_)) => ("is an error", true),
        Err(_) => ("panics", false),
    };
    *counts.entry(format!("{what} {word}")).or_default() += 1;
    ok.then_some(())
}

fn use_all(path: &Path, optimizer: &str, number: u64, counts: &mut BTreeMap<String, usize>) -> Option<()> {
    let root = path.parent().unwrap();
    let opened = catch_unwind(|| Checkpoint::open(path));
    if let Ok(Ok(checkpoint)) = &opened {
        outcome("verifying", catch_unwind(AssertUnwindSafe(|| checkpoint.verify())), counts)?;
        let model = || Model::new(Script::default(), &backend::device());
        let loaded = catch_unwind(AssertUnwindSafe(|| checkpoint.load_into(model())));
        outcome("loading", loaded, counts)?;
        for section in [Section::OPTIMIZER, Section::SCHEDULER, Section::HISTORY] {
            let read = || checkpoint.section(section)?.into_burnpack();
            outcome("a section", catch_unwind(AssertUnwindSafe(read)), counts)?;
        }
    }
    outcome("opening", opened, counts)?;
    let built = catch_unwind(|| Model::from_checkpoint(path, &backend::device()));
    outcome("from_checkpoint", built, counts)?;
    let resumed = catch_unwind(|| fit(optimizer, root, &format!("r{number}"), Some(path)));
    outcome("resuming", resumed, counts)
}

#[test]
fn a_changed_checkpoint_with_valid_digests_never_panics() {
    let mutations = std::env::var("MUTATIONS").map_or(MUTATIONS_OF_EACH, |number| number.parse().unwrap());
    let mut random = SplitMix64::new(SEED);
    let (mut counts, mut failed) = (BTreeMap::new(), Vec::new());
    for optimizer in OPTIMIZERS {
        let root = in_memory();
        fit(optimizer, root.path(), "r1", None).unwrap();
        let last = checkpoints(root.path()).join("last.ckpt");
        let whole = Parts::read(&last);
        let metadata = serde_json::to_value(Checkpoint::open(&last).unwrap().metadata().unwrap()).unwrap();
        let path: PathBuf = root.path().join("changed.ckpt");
        let mut number = 2;
        while number < mutations + 2 {
            let (parts, metadata) = (whole.clone(), metadata.clone());
            let mut mutator = Mutator { random: &mut random, parts, metadata };
            let Some(what) = mutator.mutate() else { continue };
            mutator.parts.write(&path, mutator.metadata);
            let begin = Instant::now();
            if use_all(&path, optimizer, number, &mut counts).is_none() {
                failed.push(format!("{optimizer}: {what}"));
            }
            if number % 10 == 0 {
                for verb in ["show", "verify", "ls"] {
                    let status = burn_ckpt(&[&verb, &path]).status.code();
                    if !matches!(status, Some(0..=2)) {
                        failed.push(format!("burn-ckpt {verb} ended with {status:?}: {what}"));
                    }
                }
            }
            assert!(begin.elapsed() < LONGEST, "{optimizer}: {what} took {:?}", begin.elapsed());
            number += 1;
        }
    }
    println!("{} changed files from the seed {SEED}: {counts:#?}", mutations * OPTIMIZERS.len() as u64);
    assert!(failed.is_empty(), "{} of the seed {SEED}: {failed:#?}", failed.len());
}
