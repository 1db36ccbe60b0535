//! The notes in the `__metadata__` of a safetensors file that `export` wrote. Only this file knows the keys.

use std::collections::BTreeMap;

use burn_ckpt::chain;
use burn_ckpt::plumbing::parse_json;
use burn_ckpt::{Metadata, Section, TensorLayout};
use serde_json::Value;

/// String of a section in which burn-ckpt stores the types of the modules (FORMAT.md, section 2).
const MODULE_TYPES: &str = "module_types";

/// The most values in the hyperparameters, as in a checkpoint.
const MAX_HPARAMS_VALUES: usize = 120_000;

const FORMAT: &str = "format";
const PRODUCER: &str = "producer";
const PRODUCER_NAME: &str = "burn-ckpt";
/// The producer in files that burn-store writes.
const BURN_STORE: &str = "burn";
const HPARAMS: &str = "burn_ckpt.hparams";
const TYPES: &str = "burn_ckpt.module_types";
const EPOCH: &str = "burn_ckpt.epoch";
const GLOBAL_STEP: &str = "burn_ckpt.global_step";
const RUN_ID: &str = "burn_ckpt.run_id";
const SHA256: &str = "burn_ckpt.sha256";

/// The `__metadata__` of a safetensors file. Empty for other formats.
#[derive(Debug, Clone, Default)]
pub struct Notes(pub BTreeMap<String, String>);

impl Notes {
    /// The notes for a section that is exported.
    pub fn of(layout: TensorLayout, section: &Section, hparams: &Value, metadata: Option<&Metadata>) -> Self {
        // Programs of PyTorch write `pt`, and some require it.
        let format = if layout == TensorLayout::PyTorch { "pt" } else { BURN_STORE };
        let mut notes = BTreeMap::from([
            (FORMAT.to_owned(), format.to_owned()),
            (PRODUCER.to_owned(), PRODUCER_NAME.to_owned()),
            (HPARAMS.to_owned(), hparams.to_string()),
        ]);
        if let Some(types) = section.strings.get(MODULE_TYPES) {
            notes.insert(TYPES.to_owned(), types.clone());
        }
        if let Some(metadata) = metadata {
            notes.insert(EPOCH.to_owned(), metadata.epoch.to_string());
            notes.insert(GLOBAL_STEP.to_owned(), metadata.global_step.to_string());
            notes.insert(RUN_ID.to_owned(), metadata.run_id.clone());
            notes.insert(SHA256.to_owned(), metadata.checkpoint_checksum.clone());
        }
        Self(notes)
    }

    /// Whether `burn-ckpt export` wrote the file.
    pub fn are_ours(&self) -> bool {
        self.0.get(PRODUCER).is_some_and(|producer| producer == PRODUCER_NAME)
    }

    /// The layout that the file states, if it does.
    pub fn layout(&self) -> Option<TensorLayout> {
        if self.0.get(FORMAT).is_some_and(|format| format == "pt") {
            return Some(TensorLayout::PyTorch);
        }
        let burns = self.are_ours() || self.0.get(PRODUCER).is_some_and(|producer| producer == BURN_STORE);
        burns.then_some(TensorLayout::Burn)
    }

    /// The hyperparameters in a file that `export` wrote.
    ///
    /// # Errors
    ///
    /// When they are not valid JSON.
    pub fn hparams(&self) -> Result<Option<Value>, String> {
        let Some(text) = self.0.get(HPARAMS).filter(|_| self.are_ours()) else { return Ok(None) };
        let hparams = parse_json(text.as_bytes(), MAX_HPARAMS_VALUES);
        hparams.map(Some).map_err(|error| format!("its {HPARAMS} is not valid JSON: {error}"))
    }

    /// Adds the module types in a file that `export` wrote to a section.
    ///
    /// # Errors
    ///
    /// When they are not valid JSON.
    pub fn give_module_types(&self, section: &mut Section) -> Result<(), String> {
        let Some(types) = self.0.get(TYPES).filter(|_| self.are_ours()) else { return Ok(()) };
        section.strings.insert(MODULE_TYPES.to_owned(), types.clone());
        section.module_types().map(drop).map_err(|error| format!("its {TYPES}: {}", chain(&error)))
    }
}

/// Copies the module types of a section to another one.
pub fn copy_module_types(from: &Section, to: &mut Section) {
    if let Some(types) = from.strings.get(MODULE_TYPES) {
        to.strings.insert(MODULE_TYPES.to_owned(), types.clone());
    }
}
