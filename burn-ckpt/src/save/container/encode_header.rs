//! The beginning of a container as bytes: burnpack's ten bytes and its CBOR header, up to the first tensor's
//! bytes.
//!
//! burn-pack's own writer opens the file itself, past the storage seam, so its header is made here. A test
//! compares the bytes.

use std::collections::BTreeMap;

use burn_pack::{DType, Header, Scalar, TENSOR_ALIGNMENT, Tensor, aligned_data_section_start};
use serde::Serialize;

/// The names and types of burn-pack 0.22.
#[derive(Serialize)]
struct Fields<'a> {
    tensors: BTreeMap<&'a str, Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scalars: &'a BTreeMap<String, Scalar>,
}

#[derive(Serialize)]
struct Descriptor {
    dtype: DType,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
    #[serde(skip_serializing_if = "Option::is_none")]
    param_id: Option<u64>,
}

/// All bytes before the first tensor's, and the size of the whole container.
///
/// # Errors
///
/// burn-pack's, for a header that is too long for its format.
pub(crate) fn encode_header(
    tensors: &[Tensor],
    scalars: &BTreeMap<String, Scalar>,
    strings: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, u64), burn_pack::Error> {
    let mut end = 0;
    let descriptors = tensors.iter().map(|tensor| {
        let start = u64::next_multiple_of(end, TENSOR_ALIGNMENT);
        end = start + tensor.byte_len() as u64;
        (tensor.name.as_str(), descriptor(tensor, (start, end)))
    });
    let fields = Fields { tensors: descriptors.collect(), metadata: strings, scalars };
    let mut cbor = Vec::new();
    ciborium::ser::into_writer(&fields, &mut cbor)
        .map_err(|error| burn_pack::Error::MetadataSerializationError(error.to_string()))?;
    let length = u32::try_from(cbor.len())
        .map_err(|_| burn_pack::Error::MetadataSerializationError(format!("it has {} bytes", cbor.len())))?;
    let mut bytes = Header::new(length).into_bytes().to_vec();
    bytes.append(&mut cbor);
    bytes.resize(aligned_data_section_start(length as usize), 0);
    let size = bytes.len() as u64 + end;
    Ok((bytes, size))
}

/// The most bytes that a tensor takes in a header, wherever it is in the file.
///
/// # Errors
///
/// burn-pack's, for a tensor that cannot be described.
pub(crate) fn longest_entry(tensor: &Tensor) -> Result<u64, burn_pack::Error> {
    let mut cbor = Vec::new();
    ciborium::ser::into_writer(&(&tensor.name, descriptor(tensor, (u64::MAX, u64::MAX))), &mut cbor)
        .map_err(|error| burn_pack::Error::MetadataSerializationError(error.to_string()))?;
    Ok(cbor.len() as u64)
}

fn descriptor(tensor: &Tensor, data_offsets: (u64, u64)) -> Descriptor {
    Descriptor {
        dtype: tensor.dtype,
        shape: tensor.shape.iter().map(|&length| length as u64).collect(),
        data_offsets,
        param_id: tensor.param_id,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Bytes;

    use super::*;
    use crate::format::section::burnpack_writer;

    #[test]
    fn the_header_is_the_one_that_burn_pack_writes() {
        let tensor = |name: &str, count: usize, id| {
            let bytes = Bytes::from_bytes_vec(vec![7; count * 4]);
            Tensor::new(name.to_owned(), DType::F32, vec![count], id, bytes)
        };
        let strings = BTreeMap::from([("burn-ckpt.format".to_owned(), "2".to_owned())]);
        let scalars = BTreeMap::from([
            ("scheduler.step".to_owned(), Scalar::UInt(3)),
            ("scheduler.rate".to_owned(), Scalar::Float(0.5)),
        ]);
        let tensors =
            vec![tensor("model.b", 100, Some(17)), tensor("model.a", 3, None), tensor("model.c", 0, None)];
        for (tensors, scalars) in [(tensors, scalars), (Vec::new(), BTreeMap::new())] {
            let expected = burnpack_writer(tensors.clone(), &scalars, &strings).into_bytes().unwrap();
            let (header, size) = encode_header(&tensors, &scalars, &strings).unwrap();
            assert_eq!(size, expected.len() as u64);
            assert_eq!(header, expected[..header.len()]);
        }
    }
}
