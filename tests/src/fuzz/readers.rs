//! What is called with each file: what a user's program would call. Nothing of a file may be believed before
//! it is checked.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use burn::nn::LinearConfig;
use burn_ckpt::chain;
use burn_ckpt::plumbing::{
    FilenameTemplate, MAX_NAME_BYTES, hparams_to_json, is_checkpoint, link_name, metadata_path, safe_name,
    same_file_name,
};
use burn_ckpt::{Catalog, Checkpoint, Contents, LoadOptions, Metadata, Section};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::outcome::Outcome;
use super::resuming::Resuming;
use super::target::Target;
use crate::backend;
use crate::forged_checkpoint::Parts;
use crate::hand_made_files::save_as_model;

/// Hyperparameters with a field of each kind.
#[derive(Debug, Serialize, Deserialize)]
struct Typed {
    hidden: u8,
    rate: f32,
    name: Option<String>,
    kind: Kind,
    sizes: BTreeMap<u16, char>,
    layers: Vec<Option<[i64; 2]>>,
    pair: (u8, bool),
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Plain,
    Wide { by: i8 },
    Sizes(Vec<u64>),
}

/// The readers of one target, with the files that they need beside the changed one.
pub(super) struct Readers {
    target: Target,
    directory: PathBuf,
    /// A checkpoint that is complete.
    whole: PathBuf,
    resuming: Option<Resuming>,
}

type Read = Result<(), String>;

/// Results that cannot be begin with this.
const WRONG: &str = "wrong: ";

impl Readers {
    /// Makes what they need in a directory of their own.
    pub(super) fn new(target: Target, directory: &Path) -> Result<Self, String> {
        let model = LinearConfig::new(4, 2).init(&backend::device());
        let hparams = json!({ "hidden": 1 });
        let whole = save_as_model(directory, "whole.ckpt", &hparams, Section::from_module(&model));
        let resuming = if target.trains() { Some(Resuming::new(directory)?) } else { None };
        Ok(Self { target, directory: directory.to_path_buf(), whole, resuming })
    }

    /// Reads one changed file.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Outcome {
        let read = catch_unwind(AssertUnwindSafe(|| match self.target {
            Target::Checkpoint => self.checkpoint(bytes),
            Target::Metadata => self.metadata(bytes),
            Target::Hparams => self.hparams(bytes),
            Target::FileNames => file_names(&String::from_utf8_lossy(bytes)),
            target => match &mut self.resuming {
                Some(resuming) => resuming.resume(target, bytes),
                None => Err("no process reads it here".to_owned()),
            },
        }));
        match read {
            Ok(Ok(())) => Outcome::Accepted,
            // A panic in a thread of training is reported as an error.
            Ok(Err(error)) if error.starts_with(WRONG) || error.contains("panicked") => Outcome::Bad(error),
            Ok(Err(error)) if error.len() > 20_000 => {
                Outcome::Bad(format!("an error of {} bytes: {error:.200}", error.len()))
            }
            Ok(Err(_)) => Outcome::Error,
            Err(panic) => Outcome::Bad(format!("panics: {}", message(panic.as_ref()))),
        }
    }

    fn checkpoint(&self, bytes: &[u8]) -> Read {
        let path = self.directory.join("changed.ckpt");
        write(&path, bytes)?;
        let checkpoint = Checkpoint::open(&path).map_err(text)?;
        let verified = checkpoint.verify().map(drop).map_err(text);
        let all =
            LoadOptions::new().with_allow_partial(true).with_allow_unused(true).with_allow_mismatched(true);
        for verify in [true, false] {
            let model = LinearConfig::new(4, 2).init(&backend::device());
            // What is verified may still be of another model.
            let loaded = checkpoint.load_into_with(model, &all.clone().with_verify(verify));
            let _: Read = loaded.map(drop).map_err(text);
        }
        let _: Result<serde_json::Value, _> = checkpoint.hparams();
        let _: Result<serde_json::Value, _> = checkpoint.trainer_state();
        for name in checkpoint.sections() {
            let Ok(section) = checkpoint.section(name) else { continue };
            let (_, _) = (section.module_types().is_ok(), section.layout().is_ok());
            let _: Read = section.into_burnpack().map(drop).map_err(text);
        }
        verified
    }

    fn metadata(&self, bytes: &[u8]) -> Read {
        let path = metadata_path(&self.whole);
        write(&path, bytes)?;
        let listed = Catalog::scan_directory(&self.directory).map_err(text)?;
        let shown = listed.entries.iter().map(|entry| format!("{entry:?}").len()).sum::<usize>();
        let opened = Checkpoint::open(&self.whole).map_err(text)?;
        opened.verify().map_err(text)?;
        let metadata = Metadata::read(&path).map_err(text)?;
        let again = metadata.to_json().map_err(text)?;
        match again.len() + shown {
            0 => Err(format!("{WRONG}metadata without a byte")),
            _ => Ok(()),
        }
    }

    fn hparams(&self, bytes: &[u8]) -> Read {
        let mut parts = Parts::read(&self.whole);
        let hparams = String::from_utf8_lossy(bytes).into_owned();
        for (key, value) in parts.map("metadata") {
            if key.as_text() == Some("burn-ckpt.hparams") {
                *value = ciborium::Value::Text(hparams.clone());
            }
        }
        let path = self.directory.join("changed.ckpt");
        parts.write_alone(&path);
        let typed: Typed = Checkpoint::open(&path).map_err(text)?.hparams().map_err(text)?;
        // What was read can be saved again.
        let saved = hparams_to_json(&typed).map_err(|error| format!("{WRONG}{error}"))?;
        let contents = Contents::new(&saved).map_err(|error| format!("{WRONG}{error}"))?;
        let again = self.directory.join("again.ckpt");
        let metadata = Metadata::new(Timestamp::UNIX_EPOCH);
        contents.save(&again, metadata).map_err(|error| format!("{WRONG}{error}"))?;
        let read: Typed = Checkpoint::open(&again)
            .and_then(|it| it.hparams())
            .map_err(|error| format!("{WRONG}what was read and saved cannot be read: {}", chain(&error)))?;
        match format!("{read:?}") == format!("{typed:?}") {
            true => Ok(()),
            false => Err(format!("{WRONG}{typed:?} came back as {read:?}")),
        }
    }
}

fn file_names(name: &str) -> Read {
    let checked = |file: &str| {
        let stays = Path::new(file).components().count() == 1
            && !file.starts_with('.')
            && !file.contains(['/', '\\', '\0'])
            && !file.chars().any(char::is_control);
        match stays && file.len() <= MAX_NAME_BYTES + 10 {
            true => Ok(()),
            false => Err(format!("{WRONG}the name {file:?} of {name:.100?}")),
        }
    };
    let (_, _) = (is_checkpoint(Path::new(name)), metadata_path(Path::new(name)));
    if !same_file_name(name, name) {
        return Err(format!("{WRONG}{name:.100?} is not its own name"));
    }
    let safe = safe_name("the name", name).map_err(text);
    if let Ok(safe) = &safe {
        checked(safe)?;
        if safe_name("the name", safe).map_err(text).as_ref() != Ok(safe) {
            return Err(format!("{WRONG}{safe:?} is not its own safe name"));
        }
    }
    if let Ok(link) = link_name(name) {
        checked(&link)?;
    }
    let template = FilenameTemplate::parse(name, &["val_loss"]).map_err(text)?;
    for (number, metric) in [(0, 0.5), (u64::MAX, f64::MIN), (7, f64::NAN)] {
        let metrics = IndexMap::from([("val_loss".to_owned(), metric)]);
        if let Ok(file) = template.render(number, number, number as f64, &metrics) {
            checked(&file)?;
        }
    }
    safe.map(drop)
}

pub(super) fn text(error: impl std::error::Error + 'static) -> String {
    chain(&error)
}

fn write(path: &Path, bytes: &[u8]) -> Read {
    std::fs::write(path, bytes).map_err(|error| format!("{WRONG}{}: {error}", path.display()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    burn_ckpt::plumbing::panic_message(panic)
}
