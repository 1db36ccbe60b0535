//! The metadata of a checkpoint without what no list of checkpoints shows: the machine and its packages, the
//! model's modules, and the starts. They are three quarters of the text. Here they are parsed, so that what
//! is invalid is still an error, and no value is made of them.

use std::fmt;

use serde::de::value::UnitDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// A value that every metadata has: null stands in its place.
const ENVIRONMENT: &str = "environment";
/// Values that it need not have.
const LEFT_OUT: [&str; 2] = ["model", "starts"];

/// How much of a checkpoint's metadata is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataParts {
    /// All of it.
    All,
    /// Without environment, model and starts.
    Listed,
}

/// Metadata without environment, model and starts.
pub(super) struct Listed<M>(pub(super) M);

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Listed<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        M::deserialize(WithoutLargeValues(deserializer)).map(Self)
    }
}

/// A deserializer of a structure, of which it ignores the large values.
struct WithoutLargeValues<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithoutLargeValues<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, StructVisitor(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct StructVisitor<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for StructVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Fields { map, is_large: false })
    }
}

/// The fields of the structure.
struct Fields<A> {
    map: A,
    /// Whether the next value is ignored, and null in its place.
    is_large: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            let Some(key) = self.map.next_key::<String>()? else { return Ok(None) };
            if LEFT_OUT.contains(&key.as_str()) {
                self.map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.is_large = key == ENVIRONMENT;
            return seed.deserialize(key.into_deserializer()).map(Some);
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if !self.is_large {
            return self.map.next_value_seed(seed);
        }
        self.map.next_value::<IgnoredAny>()?;
        seed.deserialize(UnitDeserializer::new())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::format::metadata::Metadata;

    fn whole() -> Metadata {
        let metadata =
            Metadata::new(Timestamp::UNIX_EPOCH).with_run_id("r1").with_metrics([("val_loss", 0.5)]);
        Metadata {
            environment: json!({ "packages": [{ "name": "burn" }] }),
            model: json!({ "type": "Net" }),
            hparams: json!({ "environment": 1, "model": [2], "starts": null }),
            ..metadata
        }
    }

    #[test]
    fn all_but_environment_model_and_starts_is_as_in_the_whole_metadata() {
        let text = whole().to_json().unwrap();
        let Listed(listed): Listed<Metadata> = serde_json::from_str(&text).unwrap();
        let expected =
            Metadata { environment: Value::Null, model: Value::Null, starts: Vec::new(), ..whole() };
        assert_eq!(listed, expected);
    }

    #[test]
    fn what_is_invalid_for_the_whole_metadata_is_invalid_here() {
        let text = whole().to_json().unwrap();
        for (from, to) in [
            ("\"name\": \"burn\"", "\"name\": burn"),
            ("\"type\": \"Net\"", "\"type\": "),
            ("\"environment\": {\n", "\"other\": {\n"),
            ("\"epoch\": 0", "\"epoch\": -1"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            let (whole, listed) = (
                serde_json::from_str::<Metadata>(&broken),
                serde_json::from_str::<Listed<Metadata>>(&broken).map(drop),
            );
            assert_eq!(whole.unwrap_err().to_string(), listed.unwrap_err().to_string(), "{from}");
        }
    }
}
