//! The mean of tensors of one shape and one float type, computed when it is written: one tensor of one
//! checkpoint is in memory at a time, and the sums.

use burn::tensor::{bf16, f16};
use burn_pack::{Bytes, DType, Error, Tensor};

/// Whether tensors of a type are averaged: those of floats.
pub(super) fn is_averaged(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::Flex32 | DType::F16 | DType::BF16)
}

/// The mean of the tensors, with the name, shape, type and id of the first one.
pub(super) fn of(first: &Tensor, all: Vec<Tensor>) -> Tensor {
    let (name, dtype, shape, id) = (first.name.clone(), first.dtype, first.shape.clone(), first.param_id);
    let length = first.byte_len();
    Tensor::deferred(name, dtype, shape, id, length, move || {
        let mut sums: Vec<f64> = Vec::new();
        for tensor in &all {
            let bytes = tensor.to_bytes()?;
            // A slice of a file-backed buffer would panic if the file was cut off in the meantime.
            let slice = bytes.read(Default::default()).map_err(|error| Error::IoError(error.to_string()))?;
            let values = values(slice, dtype);
            if sums.is_empty() {
                sums = values.collect();
            } else {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
        let count = all.len() as f64;
        Ok(Bytes::from_bytes_vec(rounded(sums.into_iter().map(|sum| sum / count), dtype)))
    })
}

/// The values of a tensor's little-endian bytes.
fn values(bytes: &[u8], dtype: DType) -> Box<dyn Iterator<Item = f64> + '_> {
    match dtype {
        DType::F64 => Box::new(bytes.as_chunks().0.iter().map(|value| f64::from_le_bytes(*value))),
        DType::F16 => Box::new(bytes.as_chunks().0.iter().map(|value| f16::from_le_bytes(*value).to_f64())),
        DType::BF16 => Box::new(bytes.as_chunks().0.iter().map(|value| bf16::from_le_bytes(*value).to_f64())),
        _ => Box::new(bytes.as_chunks().0.iter().map(|value| f64::from(f32::from_le_bytes(*value)))),
    }
}

/// Values in a type, as little-endian bytes. Each is rounded once, to the nearest.
fn rounded(values: impl Iterator<Item = f64>, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F64 => values.flat_map(f64::to_le_bytes).collect(),
        DType::F16 => values.flat_map(|value| f16::from_f64(value).to_le_bytes()).collect(),
        DType::BF16 => values.flat_map(|value| bf16::from_f64(value).to_le_bytes()).collect(),
        #[allow(clippy::cast_possible_truncation)]
        _ => values.flat_map(|value| (value as f32).to_le_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64], dtype: DType) -> Tensor {
        let bytes = Bytes::from_bytes_vec(rounded(values.iter().copied(), dtype));
        Tensor::new("a".to_owned(), dtype, vec![values.len()], Some(7), bytes)
    }

    #[test]
    fn the_mean_is_rounded_once_to_the_tensors_type() {
        // In f32, 1 + 2^-24 is 1, so that a sum in f32 would lose the third value.
        let small = 2.0_f64.powi(-24);
        let f32s = [[1.0, 4.0], [small, 5.0], [small, 9.0]].map(|values| tensor(&values, DType::F32));
        let mean = of(&f32s[0], f32s.to_vec());
        let bytes = mean.to_bytes().unwrap();
        let expected = [((1.0 + 2.0 * small) / 3.0) as f32, 6.0];
        assert_eq!(bytes[..], expected.map(f32::to_le_bytes).concat());
        assert_eq!((mean.name.as_str(), mean.param_id), ("a", Some(7)));

        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let all = [[1.0, -3.0], [2.0, -4.0]].map(|values| tensor(&values, dtype));
            let bytes = of(&all[0], all.to_vec()).to_bytes().unwrap();
            assert_eq!(values(&bytes, dtype).collect::<Vec<_>>(), [1.5, -3.5], "{dtype:?}");
        }
        // A sum in f16 would be infinite.
        let largest = [tensor(&[65504.0], DType::F16), tensor(&[65504.0], DType::F16)];
        let bytes = of(&largest[0], largest.to_vec()).to_bytes().unwrap();
        assert_eq!(values(&bytes, DType::F16).collect::<Vec<_>>(), [65504.0]);
    }
}
