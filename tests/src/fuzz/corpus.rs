//! The files that are changed: those of `tests/golden`, and the parts of which they consist.

use std::path::{Path, PathBuf};

use burn::nn::LinearConfig;
use burn_ckpt::plumbing::metadata_path;
use burn_ckpt::{Checkpoint, Section};
use serde_json::json;

use super::mutate_bytes::mutate_bytes;
use super::mutate_structure::{mutate_cbor, mutate_json};
use super::target::Target;
use super::zip::archive;
use crate::backend;
use crate::forged_checkpoint::Parts;
use crate::hand_made_files::{save_as_model, write_safetensors};
use crate::random::SplitMix64;

/// Checkpoints of `tests/golden`.
const CHECKPOINTS: [&str; 5] = [
    "v1/digits/checkpoint/last/epoch=0-step=40.ckpt",
    "v1/imported/digits.ckpt",
    "v2/digits/checkpoint/last/epoch=0-step=40.ckpt",
    "v2/digits/checkpoint/weights/epoch=0-step=45.ckpt",
    "v2/imported/digits.ckpt",
];
/// Names of files that users give.
const NAMES: [&str; 8] = [
    "epoch={epoch}-step={step}",
    "{epoch:03}-{val_loss:.4}",
    "{{best}}-{val_loss:08.2}",
    "best_val/loss",
    "last.ckpt",
    "Größe ж 模型",
    "epoch=3-step=150.ckpt.metadata.json",
    "CON.a..b",
];

/// The files of one target, and what their structure is made of.
pub(super) struct Corpus {
    target: Target,
    files: Vec<Vec<u8>>,
    containers: Vec<(Parts, serde_json::Value)>,
    /// Where a container is written to be read as bytes.
    scratch: PathBuf,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

impl Corpus {
    /// Collects the files of a target. `scratch` is a directory of its own.
    pub(super) fn new(target: Target, scratch: &Path) -> Result<Self, String> {
        let mut containers = Vec::new();
        let goldens = CHECKPOINTS.map(golden);
        let files = match target {
            Target::Checkpoint => {
                let model = LinearConfig::new(4, 2).init(&backend::device());
                let small = save_as_model(scratch, "small.ckpt", &json!({}), Section::from_module(&model));
                for path in goldens.iter().chain([&small]) {
                    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
                    let metadata = checkpoint.metadata().map_err(|error| error.to_string())?;
                    let metadata = serde_json::to_value(metadata).map_err(|error| error.to_string())?;
                    containers.push((Parts::read(path), metadata));
                }
                goldens.iter().chain([&small]).map(|path| bytes_of(path)).collect::<Result<_, _>>()?
            }
            Target::Metadata => {
                // What was imported has no file beside it.
                let trained = goldens.iter().filter(|path| !path.ends_with("imported/digits.ckpt"));
                trained.map(|path| bytes_of(&metadata_path(path))).collect::<Result<_, _>>()?
            }
            Target::TrainerState => vec![
                super::resuming::whole_state(scratch)?.into_bytes(),
            ],
            Target::History => vec![
                br#"{"epochs":[{"val_loss":0.5,"a":"NaN"}],"entries":{"Loss":[[1,"0.5,8"],[2,"0.25,8"]]},"no_means":["Loss"]}"#
                    .to_vec(),
                br#"{"epochs":[],"entries":{}}"#.to_vec(),
            ],
            Target::Hparams => vec![
                br#"{"hidden":128,"rate":0.5,"name":null,"kind":"Plain","sizes":{"3":"a"},"layers":[null,[1,2]],"pair":[1,true]}"#
                    .to_vec(),
                br#"{"hidden":1,"rate":1e-8,"name":"x","kind":{"Wide":{"by":-3}},"sizes":{},"layers":[],"pair":[255,false]}"#
                    .to_vec(),
            ],
            Target::FileNames => NAMES.iter().map(|name| name.as_bytes().to_vec()).collect(),
            Target::Pickle => vec![bytes_of(&golden("fuzz/legacy.pt"))?, bytes_of(&golden("fuzz/state.pt"))?],
            Target::Safetensors => vec![safetensors(scratch)?],
            Target::ShardIndex => vec![
                br#"{"metadata":{"total_size":24},"weight_map":{"w":"a.safetensors","v":"b.safetensors"}}"#
                    .to_vec(),
            ],
        };
        Ok(Self { target, files, containers, scratch: scratch.to_path_buf() })
    }

    /// The files as they are, which have to be accepted.
    pub(super) fn files(&self) -> &[Vec<u8>] {
        &self.files
    }

    /// The next changed file.
    pub(super) fn next(&self, random: &mut SplitMix64) -> Result<Vec<u8>, String> {
        let file = &self.files[random.below(self.files.len() as u64) as usize];
        let other = &self.files[random.below(self.files.len() as u64) as usize];
        if random.below(2) == 0
            && let Some(bytes) = self.with_other_structure(random, file)?
        {
            return Ok(bytes);
        }
        let mut bytes = file.clone();
        mutate_bytes(random, &mut bytes, other);
        Ok(bytes)
    }

    fn with_other_structure(&self, random: &mut SplitMix64, file: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self.target {
            Target::Checkpoint => self.container(random).map(Some),
            Target::FileNames => Ok(None),
            Target::Pickle => Ok(Some(pickle_in_archive(random, file))),
            Target::Safetensors => Ok(safetensors_header(random, file)),
            _ => {
                let Ok(mut json) = serde_json::from_slice(file) else { return Ok(None) };
                for _ in 0..=random.below(3) {
                    mutate_json(random, &mut json);
                }
                Ok(Some(json.to_string().into_bytes()))
            }
        }
    }

    /// A checkpoint with another header or metadata, and digests that agree with it.
    fn container(&self, random: &mut SplitMix64) -> Result<Vec<u8>, String> {
        let (mut parts, mut metadata) =
            self.containers[random.below(self.containers.len() as u64) as usize].clone();
        for _ in 0..=random.below(3) {
            match random.below(8) {
                0 if metadata.is_object() => mutate_json(random, &mut metadata),
                1 => mutate_bytes(random, &mut parts.data, b"BURNCKPT"),
                _ => mutate_cbor(random, &mut parts.header),
            }
        }
        let path = self.scratch.join("changed.ckpt");
        if can_be_described(&parts) && metadata.is_object() {
            parts.write(&path, metadata);
        } else {
            parts.write_alone(&path);
        }
        bytes_of(&path)
    }
}

/// Whether digests can be made for the tensors of a header.
fn can_be_described(parts: &Parts) -> bool {
    let Some(entries) = parts.header.as_map() else { return false };
    let is_map = |key: &str| {
        entries.iter().find(|(name, _)| name.as_text() == Some(key)).is_none_or(|(_, value)| value.is_map())
    };
    let tensors = entries.iter().filter(|(name, _)| name.as_text() == Some("tensors"));
    let mut tensors = tensors.filter_map(|(_, value)| value.as_map()).flatten();
    is_map("tensors") && is_map("metadata") && tensors.all(|(_, tensor)| tensor.is_map())
}

fn safetensors(scratch: &Path) -> Result<Vec<u8>, String> {
    let header = r#"{"__metadata__":{"format":"pt","producer":"burn-ckpt","burn_ckpt.hparams":"{\"a\":1}","burn_ckpt.module_types":"{\"\":\"Struct:Net\"}"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"v":{"dtype":"I64","shape":[],"data_offsets":[24,32]}}"#;
    let path = scratch.join("whole.safetensors");
    write_safetensors(&path, header, &[1; 32]);
    bytes_of(&path)
}

/// The same file with another header, of a length that is right.
fn safetensors_header(random: &mut SplitMix64, file: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk()?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    let mut header = serde_json::from_slice(header).ok()?;
    for _ in 0..=random.below(3) {
        mutate_json(random, &mut header);
    }
    let header = header.to_string();
    Some([&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat())
}

/// An archive with a changed pickle: of an archive's length fields, of a file's, or of nothing.
fn pickle_in_archive(random: &mut SplitMix64, file: &[u8]) -> Vec<u8> {
    // The pickle of `state.pt` begins behind its first entry's name.
    let start = file.windows(2).position(|pair| pair == b"\x80\x02").unwrap_or(0);
    let end =
        file[start..].windows(4).position(|four| four == b"PK\x03\x04").map_or(file.len(), |end| start + end);
    let mut pickle = file[start..end].to_vec();
    mutate_bytes(random, &mut pickle, file);
    archive(&[
        ("archive/data.pkl", &pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &[1; 24]),
        ("archive/data/1", &[1; 12]),
        ("archive/version", b"3\n"),
    ])
}
