//! serde's deserializer of a `SerializedValue`. Types that read JSON read it.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::hparams::serialized_value::SerializedValue;
use crate::hparams::value_error::ValueError;

type Result<T> = std::result::Result<T, ValueError>;

/// Bytes that are not a text either.
const UNREADABLE: &[u8] = &[0xff];

/// A map's key: JSON has a text where the type may have a number.
struct Key<'de>(&'de SerializedValue);

impl<'de> IntoDeserializer<'de, ValueError> for &'de SerializedValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> IntoDeserializer<'de, ValueError> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn visit_integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value> {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => visitor.visit_u64(number),
        (_, Ok(number)) => visitor.visit_i64(number),
        _ => visitor.visit_i128(number),
    }
}

fn entries<'de>(
    map: &'de [(SerializedValue, SerializedValue)],
) -> MapDeserializer<'de, impl Iterator<Item = (Key<'de>, &'de SerializedValue)>, ValueError> {
    MapDeserializer::new(map.iter().map(|(key, value)| (Key(key), value)))
}

impl<'de> de::Deserializer<'de> for &'de SerializedValue {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            SerializedValue::Null | SerializedValue::None => visitor.visit_unit(),
            SerializedValue::Some(value) => value.deserialize_any(visitor),
            SerializedValue::Bool(value) => visitor.visit_bool(*value),
            SerializedValue::Int(number) => visit_integer(*number, visitor),
            SerializedValue::Large(number) => visitor.visit_u128(*number),
            SerializedValue::Float(number) => visitor.visit_f64(*number),
            SerializedValue::Str(text) => visitor.visit_borrowed_str(text),
            SerializedValue::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            SerializedValue::Seq(items) => {
                let mut items = SeqDeserializer::new(items.iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            SerializedValue::Map(map) => {
                let mut entries = entries(map);
                let value = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| value)
            }
            SerializedValue::Unreadable => visitor.visit_borrowed_bytes(UNREADABLE),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            SerializedValue::Null | SerializedValue::None => visitor.visit_none(),
            SerializedValue::Some(value) => visitor.visit_some(&**value),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.inner() {
            SerializedValue::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            value => value.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.inner() {
            SerializedValue::Str(name) => visitor.visit_enum(StrDeserializer::new(name)),
            SerializedValue::Map(map) if map.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(entries(map)))
            }
            _ => Err(de::Error::unknown_variant("", variants)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// Methods for a key that is not a text.
macro_rules! not_a_text {
    ($($method:ident $key:ty => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.0 {
                SerializedValue::Str(text) => match text.parse::<$key>() {
                    Ok(key) => visitor.$visit(key),
                    Err(_) => self.deserialize_any(visitor),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    not_a_text!(deserialize_i8 i8 => visit_i8, deserialize_i16 i16 => visit_i16, deserialize_i32 i32 => visit_i32);
    not_a_text!(deserialize_i64 i64 => visit_i64, deserialize_i128 i128 => visit_i128);
    not_a_text!(deserialize_u8 u8 => visit_u8, deserialize_u16 u16 => visit_u16, deserialize_u32 u32 => visit_u32);
    not_a_text!(deserialize_u64 u64 => visit_u64, deserialize_u128 u128 => visit_u128);
    not_a_text!(deserialize_f32 f32 => visit_f32, deserialize_f64 f64 => visit_f64);
    not_a_text!(deserialize_bool bool => visit_bool);

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
