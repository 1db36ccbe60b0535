//! A checkpoint whose content was changed, with digests and sizes computed again: a verification passes.

use std::path::Path;

use burn_ckpt::burn_pack::{DType, HEADER_SIZE, Header, aligned_data_section_start};
use burn_ckpt::plumbing::{blake3_hex, metadata_path, sha256_of_file};
use ciborium::Value;
use serde_json::json;

/// Where entries begin: at multiples of this.
const ALIGNMENT: usize = 256;
/// The length of the last entry.
const SEAL_BYTES: usize = 48;

/// A container in its parts, without its ending.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The header's CBOR.
    pub header: Value,
    /// What follows the header, from the position on that the tensors' offsets count from.
    pub data: Vec<u8>,
}

impl Parts {
    /// Reads a container.
    ///
    /// # Panics
    ///
    /// When it is not one.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let header = Header::from_bytes(&bytes).unwrap_or_else(|error| panic!("{error}"));
        let end = HEADER_SIZE + header.metadata_size as usize;
        let mut data =
            bytes.get(aligned_data_section_start(header.metadata_size as usize)..).unwrap_or(&[]).to_vec();
        let header =
            ciborium::from_reader(&bytes[HEADER_SIZE..end]).unwrap_or_else(|error| panic!("{error}"));
        let mut parts = Self { header, data: Vec::new() };
        // The ending is made when the container is written.
        let tensors = parts.map("tensors");
        tensors.retain(|(name, _)| !name.as_text().is_some_and(|name| name.starts_with("burn-ckpt.")));
        let ends = tensors.iter_mut().map(|(_, tensor)| range(tensor).1);
        data.truncate(ends.max().unwrap_or(0));
        parts.data = data;
        parts
    }

    /// One of the header's maps: `tensors`, `metadata` or `scalars`.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn map(&mut self, key: &str) -> &mut Vec<(Value, Value)> {
        entry(&mut self.header, key).as_map_mut().unwrap_or_else(|| panic!("{key} is not a map"))
    }

    /// Writes the container without an ending, and without metadata.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_alone(&self, path: &Path) {
        let mut bytes = header_bytes(&self.header);
        bytes.extend(&self.data);
        std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes the index of a checkpoint of several files, and metadata beside it, whatever the metadata says
    /// of tensors and shards.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_index(&self, path: &Path, metadata: &serde_json::Value) {
        self.write_with_ending(path, metadata);
        let mut beside = metadata.clone();
        beside["checkpoint_checksum"] = sha256_of_file(path).unwrap_or_else(|error| panic!("{error}")).into();
        let facts = std::fs::metadata(path).unwrap_or_else(|error| panic!("{error}"));
        beside["checkpoint_size_bytes"] = facts.len().into();
        let written = std::fs::write(metadata_path(path), beside.to_string());
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes the container with an ending that agrees with it.
    fn write_with_ending(&self, path: &Path, metadata: &serde_json::Value) {
        let mut own = metadata.clone();
        (own["checkpoint_path"], own["checkpoint_checksum"]) = ("".into(), "".into());
        own["checkpoint_size_bytes"] = 0.into();
        let ending = |header_blake3: &str| {
            let stored = json!({ "header_blake3": header_blake3, "metadata": own });
            stored.to_string().into_bytes()
        };
        let length = ending(&"0".repeat(64)).len();
        let start = self.data.len().next_multiple_of(ALIGNMENT);
        let seal = (start + length).next_multiple_of(ALIGNMENT);
        let mut with_entries = Self { header: self.header.clone(), data: Vec::new() };
        for (name, from, to) in
            [("burn-ckpt.metadata", start, start + length), ("burn-ckpt.seal", seal, seal + SEAL_BYTES)]
        {
            let tensor = Value::Map(vec![
                (text("dtype"), text("U8")),
                (text("shape"), numbers(&[to - from])),
                (text("data_offsets"), numbers(&[from, to])),
            ]);
            with_entries.map("tensors").push((text(name), tensor));
        }
        let mut bytes = header_bytes(&with_entries.header);
        let metadata = ending(&blake3_hex(&bytes));
        let data = bytes.len();
        bytes.extend(&self.data);
        bytes.resize(data + start, 0);
        bytes.extend(&metadata);
        bytes.resize(data + seal, 0);
        bytes.extend(b"BURNCKPT");
        bytes.extend((length as u64).to_le_bytes());
        let digest = blake3_hex(&metadata);
        let digit = |place: usize| u8::from_str_radix(&digest[2 * place..2 * place + 2], 16);
        bytes.extend((0..32).map(|place| digit(place).unwrap_or_else(|error| panic!("{error}"))));
        std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes the container, and metadata that agrees with it, as far as its content can be described.
    /// `metadata` is what the metadata says of everything else.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&mut self, path: &Path, mut metadata: serde_json::Value) {
        let mut tensors = serde_json::Map::new();
        let data = self.data.clone();
        for (name, tensor) in self.map("tensors") {
            let Some(name) = name.as_text() else { continue };
            tensors.insert(name.to_owned(), described(tensor, &data));
        }
        let hparams = self.map("metadata").iter().find(|(key, _)| key.as_text() == Some("burn-ckpt.hparams"));
        if let Some(text) = hparams.and_then(|(_, text)| text.as_text())
            && let Ok(hparams) = serde_json::from_str(text)
        {
            metadata["hparams"] = hparams;
        }
        metadata["tensors"] = tensors.into();
        self.write_with_ending(path, &metadata);
        metadata["checkpoint_checksum"] =
            sha256_of_file(path).unwrap_or_else(|error| panic!("{error}")).into();
        let facts = std::fs::metadata(path).unwrap_or_else(|error| panic!("{error}"));
        metadata["checkpoint_size_bytes"] = facts.len().into();
        let written = std::fs::write(metadata_path(path), metadata.to_string());
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn header_bytes(header: &Value) -> Vec<u8> {
    let mut cbor = Vec::new();
    ciborium::into_writer(header, &mut cbor).unwrap_or_else(|error| panic!("{error}"));
    let mut bytes = Header::new(cbor.len() as u32).into_bytes().to_vec();
    bytes.extend(&cbor);
    bytes.resize(aligned_data_section_start(cbor.len()), 0);
    bytes
}

fn numbers(numbers: &[usize]) -> Value {
    Value::Array(numbers.iter().map(|&number| Value::from(number as u64)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Where the header says that a tensor is.
fn range(tensor: &mut Value) -> (usize, usize) {
    entry(tensor, "data_offsets").deserialized::<(usize, usize)>().unwrap_or_default()
}

/// The value of a key of a map. It is added where it is missing.
///
/// # Panics
///
/// When the value is not a map.
pub fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    let map = value.as_map_mut().unwrap_or_else(|| panic!("not a map"));
    let index = map.iter().position(|(name, _)| name.as_text() == Some(key)).unwrap_or_else(|| {
        map.push((Value::Text(key.to_owned()), Value::Map(Vec::new())));
        map.len() - 1
    });
    &mut map[index].1
}

/// What the metadata says of a tensor, whatever the header says of it.
fn described(tensor: &mut Value, data: &[u8]) -> serde_json::Value {
    let dtype = entry(tensor, "dtype").deserialized::<DType>().map_or("?", |dtype| dtype.name());
    let shape = entry(tensor, "shape").deserialized::<Vec<u64>>().unwrap_or_default();
    let range = range(tensor);
    let bytes = data.get(range.0..range.1).unwrap_or(&[]);
    json!({ "dtype": dtype, "shape": shape, "blake3": blake3_hex(bytes) })
}
