//! The header's CBOR: what burn-pack's writer makes, decoded within limits. A count, a name or a shape over
//! its limit is an error as soon as it is met, before anything else is decoded.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use burn_pack::{DType, Scalar};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::format::container::limits::{
    MAX_ENTRY_NAME_BYTES, MAX_HEADER_DEPTH, MAX_RANK, MAX_SCALARS, MAX_STRINGS, MAX_TENSORS,
};
use crate::text::printable::shown;

/// The header as it is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Descriptors {
    #[serde(deserialize_with = "tensors")]
    pub(crate) tensors: BTreeMap<String, Descriptor>,
    #[serde(default, deserialize_with = "strings")]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "scalars")]
    pub(crate) scalars: BTreeMap<String, Scalar>,
}

/// What the header says about one tensor.
#[derive(Debug, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) dtype: DType,
    #[serde(deserialize_with = "shape")]
    pub(crate) shape: Vec<u64>,
    pub(crate) data_offsets: (u64, u64),
    #[serde(default)]
    pub(crate) param_id: Option<u64>,
}

impl Descriptors {
    /// Decodes a header.
    pub(crate) fn decode(cbor: &[u8]) -> Result<Self, HeaderError> {
        ciborium::de::from_reader_with_recursion_limit(cbor, MAX_HEADER_DEPTH).map_err(HeaderError::from)
    }
}

/// Why a header cannot be decoded, in words: ciborium's error has only those of its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HeaderError(String);

impl From<ciborium::de::Error<std::io::Error>> for HeaderError {
    fn from(error: ciborium::de::Error<std::io::Error>) -> Self {
        use ciborium::de::Error;
        Self(match error {
            Error::Io(error) => format!("it is cut off ({error})"),
            Error::Syntax(offset) => format!("its byte {offset} is not CBOR"),
            Error::Semantic(Some(offset), reason) => format!("at its byte {offset}: {reason}"),
            Error::Semantic(None, reason) => reason,
            Error::RecursionLimitExceeded => format!("it is nested more than {MAX_HEADER_DEPTH} deep"),
        })
    }
}

fn tensors<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, Descriptor>, D::Error> {
    input.deserialize_map(Entries { what: "tensors", most: MAX_TENSORS, value: PhantomData })
}

fn strings<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    input.deserialize_map(Entries { what: "strings", most: MAX_STRINGS, value: PhantomData })
}

fn scalars<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, Scalar>, D::Error> {
    input.deserialize_map(Entries { what: "scalars", most: MAX_SCALARS, value: PhantomData })
}

fn shape<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u64>, D::Error> {
    input.deserialize_seq(Shape)
}

/// A map from names, with a limit on its entries and on the length of a name.
struct Entries<V> {
    what: &'static str,
    most: usize,
    value: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {} {}", self.most, self.what)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = input.next_key::<String>()? {
            if name.len() > MAX_ENTRY_NAME_BYTES {
                let (name, bytes) = (shown(&name), name.len());
                let reason =
                    format!("the name {name} has {bytes} bytes, and {MAX_ENTRY_NAME_BYTES} are allowed");
                return Err(A::Error::custom(reason));
            }
            if entries.len() == self.most {
                return Err(A::Error::custom(format!("it has more than {} {}", self.most, self.what)));
            }
            let value = input.next_value()?;
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("the name {} is there twice", shown(&name))));
            }
            entries.insert(name, value);
        }
        Ok(entries)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a shape of at most {MAX_RANK} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut shape = Vec::new();
        while let Some(length) = input.next_element()? {
            if shape.len() == MAX_RANK {
                return Err(A::Error::custom(format!("a tensor has more than {MAX_RANK} dimensions")));
            }
            shape.push(length);
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_header_is_described_in_words() {
        let said = |cbor: &[u8]| Descriptors::decode(cbor).map(drop).unwrap_err().to_string();
        // 0xa1 begins a map of one entry, 0x1c is not the beginning of anything.
        assert_eq!(said(&[0x1c]), "its byte 0 is not CBOR");
        assert!(said(&[0xa1]).starts_with("it is cut off ("), "{}", said(&[0xa1]));
        // A map with the entry `x`, which is not known here: arrays in arrays.
        let nested = said(&[&[0xa1, 0x61, b'x'][..], &[0x81; 1000]].concat());
        assert!(nested.starts_with("it is nested more than "), "{nested}");
        assert!(said(&[0xa0]).contains("missing field"), "{}", said(&[0xa0]));
    }
}
