//! The differences between two checkpoints, as data.

use std::collections::BTreeMap;

use burn_ckpt::Section;
use burn_ckpt::metadata::TensorInfo;
use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value, json};

use crate::contents::{Contents, Part, TensorRow, scalar};
use crate::parallel_verify::hash_tensors;
use crate::trainer_settings::{flat, of_training};
use crate::verb_result::Failure;

/// A value that differs between the two checkpoints, or is in one of them only.
pub struct Change {
    pub name: String,
    pub a: Option<Value>,
    pub b: Option<Value>,
}

/// The differences between the metadata.
pub struct MetadataChanges {
    /// Epoch, step, and the machine: compiler, system, hardware.
    pub state_and_machine: Vec<Change>,
    pub metrics: Vec<Change>,
    /// The trainer's settings, but for what the runs are called and where their files are.
    pub trainer: Vec<Change>,
    pub packages: Vec<Change>,
    pub git: Vec<Change>,
}

/// A tensor that differs, of a section that both have.
pub struct TensorChange {
    /// With the section's before it.
    pub name: String,
    /// Type and shape in each checkpoint that has it.
    pub a: Option<Value>,
    pub b: Option<Value>,
}

impl TensorChange {
    /// Whether it differs in its values alone.
    pub fn is_of_values(&self) -> bool {
        self.a.is_some() && self.a == self.b
    }
}

/// A section that both have.
pub struct ComparedSection {
    pub name: String,
    /// Those of its tensors that do not differ.
    pub same: Vec<String>,
    pub different: Vec<TensorChange>,
}

/// A section that only one of the two has.
pub struct OnlyIn {
    pub name: String,
    pub is_in_a: bool,
    pub tensors: usize,
    pub scalars: usize,
}

/// All differences.
pub struct Differences {
    /// `None` if one of the two has no metadata.
    pub metadata: Option<MetadataChanges>,
    pub hparams: Vec<Change>,
    pub sections: Vec<OnlyIn>,
    /// The sections that both have, with their tensors.
    pub compared: Vec<ComparedSection>,
    pub scalars: Vec<Change>,
    /// The strings of sections, except those of the optimizer, which are burn's random parameter ids.
    pub strings: Vec<Change>,
    /// Whether the tensors' digests come from the metadata, for A and for B.
    pub digests_known: [bool; 2],
}

impl Differences {
    pub fn between(a: &Contents, b: &Contents) -> Result<Self, Failure> {
        let shared: Vec<(&Part, &Part)> =
            a.sections.iter().filter_map(|part| Some((part, b.section(&part.name)?))).collect();
        let parts_of_a: Vec<&Part> = shared.iter().map(|(a, _)| *a).collect();
        let parts_of_b: Vec<&Part> = shared.iter().map(|(_, b)| *b).collect();
        let digests = [digests(a, &parts_of_a)?, digests(b, &parts_of_b)?];
        let mut compared = Vec::new();
        let (mut scalars, mut strings) = (Vec::new(), Vec::new());
        for (a, b) in shared {
            let names: IndexSet<&str> =
                a.tensors.iter().chain(&b.tensors).map(|tensor| tensor.name.as_str()).collect();
            let (mut same, mut different) = (Vec::new(), Vec::new());
            let (in_a, in_b) = (by_name(a), by_name(b));
            for name in names {
                let full = format!("{}.{name}", a.name);
                let [a, b] = [
                    in_a.get(name).map(|tensor| (type_and_shape(tensor), digests[0].of(tensor, &full))),
                    in_b.get(name).map(|tensor| (type_and_shape(tensor), digests[1].of(tensor, &full))),
                ];
                if a == b {
                    same.push(name.to_owned());
                    continue;
                }
                let [a, b] = [a, b].map(|side| side.map(|(type_and_shape, _)| type_and_shape));
                different.push(TensorChange { name: full, a, b });
            }
            compared.push(ComparedSection { name: a.name.clone(), same, different });
            scalars.extend(changes(&format!("{}.", a.name), &scalars_of(a), &scalars_of(b)));
            if a.name != Section::OPTIMIZER {
                strings.extend(changes(&format!("{}.", a.name), &strings_of(a), &strings_of(b)));
            }
        }
        let only = |own: &Contents, other: &Contents, is_in_a| -> Vec<OnlyIn> {
            let missing = own.sections.iter().filter(|part| other.section(&part.name).is_none());
            let describe = |part: &Part| OnlyIn {
                name: part.name.clone(),
                is_in_a,
                tensors: part.tensors.len(),
                scalars: part.section.scalars.len(),
            };
            missing.map(describe).collect()
        };
        Ok(Self {
            metadata: metadata_changes(a, b),
            hparams: changes("", &flat(&a.hparams), &flat(&b.hparams)),
            sections: only(a, b, true).into_iter().chain(only(b, a, false)).collect(),
            compared,
            scalars,
            strings,
            digests_known: digests.map(|digests| matches!(digests, Digests::InMetadata)),
        })
    }

    /// Whether there is any difference.
    pub fn any(&self) -> bool {
        let in_metadata = self.metadata.as_ref().is_some_and(|metadata| {
            [
                &metadata.state_and_machine,
                &metadata.metrics,
                &metadata.trainer,
                &metadata.packages,
                &metadata.git,
            ]
            .iter()
            .any(|changes| !changes.is_empty())
        });
        in_metadata
            || [&self.hparams, &self.scalars, &self.strings].iter().any(|changes| !changes.is_empty())
            || !self.sections.is_empty()
            || self.tensors().next().is_some()
    }

    /// The tensors that differ, of all sections that both have.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorChange> {
        self.compared.iter().flat_map(|section| &section.different)
    }

    /// How many tensors were compared.
    pub fn tensors_compared(&self) -> usize {
        self.compared.iter().map(|section| section.same.len() + section.different.len()).sum()
    }
}

/// The digests of a checkpoint's tensors.
enum Digests {
    /// Those in the metadata, which has one for each tensor of the file.
    InMetadata,
    /// Computed digests by the tensors' names in the file.
    Computed(IndexMap<String, TensorInfo>),
}

impl Digests {
    fn of<'a>(&'a self, tensor: &'a TensorRow, full: &str) -> Option<&'a str> {
        match self {
            Self::InMetadata => tensor.blake3.as_deref(),
            Self::Computed(digests) => digests.get(full).map(|info| info.blake3.as_str()),
        }
    }
}

fn digests(contents: &Contents, parts: &[&Part]) -> Result<Digests, Failure> {
    let are_known = parts.iter().flat_map(|part| &part.tensors).all(|tensor| tensor.blake3.is_some());
    Ok(match are_known {
        true => Digests::InMetadata,
        false => Digests::Computed(hash_tensors(&contents.checkpoint)?),
    })
}

fn by_name(part: &Part) -> BTreeMap<&str, &TensorRow> {
    part.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

fn type_and_shape(tensor: &TensorRow) -> Value {
    json!({ "dtype": tensor.dtype, "shape": tensor.shape })
}

fn metadata_changes(a: &Contents, b: &Contents) -> Option<MetadataChanges> {
    if a.metadata.is_err() || b.metadata.is_err() {
        return None;
    }
    let (a, b) = (&a.metadata_json, &b.metadata_json);
    let within = |prefix: &str, a: &Value, b: &Value| changes(prefix, &flat(a), &flat(b));
    let mut state_and_machine = Vec::new();
    for key in ["epoch", "global_step"] {
        state_and_machine.extend(within(key, &a[key], &b[key]));
    }
    let (a_ran, b_ran) = (&a["environment"], &b["environment"]);
    for key in ["rust", "os", "hardware"] {
        state_and_machine.extend(within(&format!("{key}."), &a_ran[key], &b_ran[key]));
    }
    Some(MetadataChanges {
        state_and_machine,
        metrics: within("", &a["metrics"], &b["metrics"]),
        trainer: changes("", &of_training(&a["trainer_config"]), &of_training(&b["trainer_config"])),
        packages: changes("", &packages(&a_ran["packages"]), &packages(&b_ran["packages"])),
        git: within("", &a_ran["git"], &b_ran["git"]),
    })
}

/// The version of each package, or its versions if there are several.
fn packages(list: &Value) -> Map<String, Value> {
    let mut versions: IndexMap<String, Vec<String>> = IndexMap::new();
    for package in list.as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let version = match text("source") {
            "" | "registry" => text("version").to_owned(),
            source => format!("{} ({source})", text("version")),
        };
        versions.entry(text("name").to_owned()).or_default().push(version);
    }
    versions.into_iter().map(|(name, versions)| (name, Value::from(versions.join(", ")))).collect()
}

fn scalars_of(part: &Part) -> Map<String, Value> {
    part.section.scalars.iter().map(|(name, value)| (name.clone(), scalar(value))).collect()
}

fn strings_of(part: &Part) -> Map<String, Value> {
    part.section.strings.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect()
}

fn changes(prefix: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Vec<Change> {
    let names: IndexSet<&String> = a.keys().chain(b.keys()).collect();
    names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .map(|name| Change {
            name: if name.is_empty() && prefix.is_empty() {
                "(all)".to_owned()
            } else {
                format!("{prefix}{name}")
            },
            a: a.get(name).cloned(),
            b: b.get(name).cloned(),
        })
        .collect()
}
