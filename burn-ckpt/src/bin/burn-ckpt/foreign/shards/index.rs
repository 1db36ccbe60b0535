//! The index of a model in several files (`model.safetensors.index.json`): which tensor is in which file.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::Path;

use burn_ckpt::burn_pack::MAX_TENSOR_COUNT;
use burn_ckpt::plumbing::storage::StoredFile;
use burn_ckpt::plumbing::{parse_json, shown};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The largest index that is read, in bytes. That of a model of 600 billion parameters has 9 MB.
const MAX_INDEX_BYTES: u64 = 24 * 1024 * 1024;
/// The most values in an index: two for each of the most tensors that a checkpoint has, and a few of its own.
const MAX_INDEX_VALUES: usize = 2 * MAX_TENSOR_COUNT + 1000;
/// The most files of a model. Each is kept open while tensors are read.
const MAX_SHARDS: usize = 512;

/// An index. Its names of files are those of files beside it.
pub struct ShardIndex {
    /// Tensor and file, in the order of the index.
    pub weight_map: Vec<(String, String)>,
}

/// What an index has. Other keys (`metadata` with a size) are not needed.
#[derive(Deserialize)]
struct Json {
    #[serde(deserialize_with = "pairs")]
    weight_map: Vec<(String, String)>,
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not an index, or names a tensor twice, a file that is not beside it,
    /// or too many.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        let file = StoredFile::open(path).map_err(|error| error.to_string())?;
        file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > MAX_INDEX_BYTES {
            return Err(format!("an index has at most {MAX_INDEX_BYTES} bytes"));
        }
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let Json { weight_map } = parse_json(text, MAX_INDEX_VALUES)
            .map_err(|error| format!("it is JSON, but not the index of a model in several files: {error}"))?;
        let mut known = BTreeSet::new();
        for (tensor, file) in &weight_map {
            if !known.insert(tensor) {
                return Err(format!("it names the tensor {} twice", shown(tensor)));
            }
            if !is_plain(file) {
                return Err(format!(
                    "it names the file {}, which is not the name of a file beside it",
                    shown(file)
                ));
            }
        }
        let index = Self { weight_map };
        match index.files().len() {
            0 => Err("it names no tensor".to_owned()),
            files if files > MAX_SHARDS => {
                Err(format!("it names {files} files, and {MAX_SHARDS} are allowed"))
            }
            _ => Ok(index),
        }
    }

    /// The names of the files, each once, in alphabetical order.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.iter().map(|(_, file)| file.as_str()).collect()
    }
}

/// Whether a text is the name of a file in the same directory, on any system.
fn is_plain(file: &str) -> bool {
    let drive = file.as_bytes().get(1) == Some(&b':');
    !file.is_empty() && file != "." && file != ".." && !file.contains(['/', '\\', '\0']) && !drive
}

/// The pairs of a map, those of equal keys as well.
fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from tensors to files")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            list.next_element::<IgnoredAny>()?;
            Err(A::Error::custom("weight_map is a list and should be a map from tensors to files"))
        }
    }
    from.deserialize_map(Pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_index_can_be_named() {
        let parse = |text: &str| ShardIndex::parse(text.as_bytes()).map(|index| index.files().len());
        let of = |file: &str| parse(&format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#));
        assert_eq!(of("a-00001-of-00001.safetensors"), Ok(1));
        for file in ["", ".", "..", "../a", "/etc/passwd", "b/a", r"..\\a", r"c:a", r"a\u0000"] {
            let error = of(file).unwrap_err();
            assert!(error.contains("beside it"), "{file}: {error}");
        }
        let error = parse(r#"{"weight_map":{"a":"x","a":"y"}}"#).unwrap_err();
        assert!(error.contains("twice"), "{error}");
        assert!(parse(r#"{"weight_map":{}}"#).unwrap_err().contains("names no tensor"));
        for text in ["{}", r#"{"weight_map":[]}"#, r#"{"weight_map":{"a":1}}"#, "{", r#"{"weight_map":3}"#] {
            assert!(parse(text).unwrap_err().contains("not the index"), "{text}");
        }
        let tensors: Vec<String> = (0..=MAX_INDEX_VALUES / 2).map(|i| format!(r#""t{i}":"f""#)).collect();
        let error = parse(&format!(r#"{{"weight_map":{{{}}}}}"#, tensors.join(","))).unwrap_err();
        assert!(error.contains("more than 201000 values"), "{error}");
        let many: Vec<String> = (0..=MAX_SHARDS).map(|i| format!(r#""t{i}":"f{i}""#)).collect();
        let error = parse(&format!(r#"{{"weight_map":{{{}}}}}"#, many.join(","))).unwrap_err();
        assert!(error.contains("513 files"), "{error}");
    }
}
