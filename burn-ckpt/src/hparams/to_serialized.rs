//! serde's serializer that makes a `SerializedValue`, in the layout that JSON has.

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use crate::hparams::serialized_value::SerializedValue;
use crate::hparams::value_error::ValueError;

type Result<T = SerializedValue> = std::result::Result<T, ValueError>;

impl SerializedValue {
    /// Serializes a value.
    ///
    /// # Errors
    ///
    /// Those of the value's own implementation of `Serialize`.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        value.serialize(ToSerialized)
    }
}

/// Makes a [`SerializedValue`] of anything.
struct ToSerialized;

/// A list that is being made, and the variant that it is the contents of.
struct Items(Option<&'static str>, Vec<SerializedValue>);

/// A map that is being made, the variant that it is the contents of, and the key whose value comes next.
struct Entries {
    variant: Option<&'static str>,
    entries: Vec<(SerializedValue, SerializedValue)>,
    key: SerializedValue,
}

fn in_variant(variant: Option<&'static str>, value: SerializedValue) -> SerializedValue {
    match variant {
        Some(name) => SerializedValue::Map(vec![(SerializedValue::Str(name.to_owned()), value)]),
        None => value,
    }
}

impl Entries {
    fn new(variant: Option<&'static str>) -> Self {
        Self { variant, entries: Vec::new(), key: SerializedValue::Null }
    }

    fn add<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
        self.entries.push((SerializedValue::Str(key.to_owned()), SerializedValue::of(value)?));
        Ok(())
    }

    fn done(self) -> SerializedValue {
        in_variant(self.variant, SerializedValue::Map(self.entries))
    }
}

/// The methods that make an integer.
macro_rules! integers {
    ($($method:ident $integer:ty),*) => {$(
        fn $method(self, value: $integer) -> Result {
            Ok(SerializedValue::Int(value.into()))
        }
    )*};
}

impl ser::Serializer for ToSerialized {
    type Ok = SerializedValue;
    type Error = ValueError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128);
    integers!(serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_u128(self, value: u128) -> Result {
        Ok(i128::try_from(value).map_or(SerializedValue::Large(value), SerializedValue::Int))
    }

    fn serialize_bool(self, value: bool) -> Result {
        Ok(SerializedValue::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result {
        Ok(SerializedValue::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result {
        Ok(SerializedValue::Float(value))
    }

    fn serialize_char(self, value: char) -> Result {
        Ok(SerializedValue::Str(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Result {
        Ok(SerializedValue::Str(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        Ok(SerializedValue::Bytes(value.to_vec()))
    }

    fn serialize_none(self) -> Result {
        Ok(SerializedValue::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        Ok(SerializedValue::Some(Box::new(SerializedValue::of(value)?)))
    }

    fn serialize_unit(self) -> Result {
        Ok(SerializedValue::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        Ok(SerializedValue::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result {
        Ok(SerializedValue::Str(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        SerializedValue::of(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result {
        Ok(in_variant(Some(variant), SerializedValue::of(value)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items> {
        Ok(Items(None, Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items> {
        Ok(Items(None, Vec::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items> {
        Ok(Items(None, Vec::new()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items> {
        Ok(Items(Some(variant), Vec::new()))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries> {
        Ok(Entries::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries> {
        Ok(Entries::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Entries> {
        Ok(Entries::new(Some(variant)))
    }
}

/// The traits of serde for lists, which differ in the names of their methods.
macro_rules! items {
    ($($part:ident $method:ident),*) => {$(
        impl $part for Items {
            type Ok = SerializedValue;
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.1.push(SerializedValue::of(value)?);
                Ok(())
            }

            fn end(self) -> Result {
                Ok(in_variant(self.0, SerializedValue::Seq(self.1)))
            }
        }
    )*};
}

items!(SerializeSeq serialize_element, SerializeTuple serialize_element);
items!(SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

/// The traits of serde for structs.
macro_rules! fields {
    ($($part:ident),*) => {$(
        impl $part for Entries {
            type Ok = SerializedValue;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
                self.add(key, value)
            }

            fn end(self) -> Result {
                Ok(self.done())
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Entries {
    type Ok = SerializedValue;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = SerializedValue::of(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = std::mem::replace(&mut self.key, SerializedValue::Null);
        self.entries.push((key, SerializedValue::of(value)?));
        Ok(())
    }

    fn end(self) -> Result {
        Ok(self.done())
    }
}
