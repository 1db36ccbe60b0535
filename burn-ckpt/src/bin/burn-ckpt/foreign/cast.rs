//! `export --dtype`: tensors of floats in another type of floats.

use burn::store::{FloatCastAdapter, ModuleAdapter, ModuleContext};
use burn_ckpt::burn_pack::{DType, Error, Tensor};

/// A type of floats, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FloatType {
    /// 16 bits with the range of f32
    Bf16,
    /// 16 bits, up to 65504
    F16,
    /// 32 bits
    F32,
    /// 64 bits
    F64,
}

impl From<FloatType> for DType {
    fn from(name: FloatType) -> Self {
        match name {
            FloatType::Bf16 => Self::BF16,
            FloatType::F16 => Self::F16,
            FloatType::F32 => Self::F32,
            FloatType::F64 => Self::F64,
        }
    }
}

/// Casts a tensor of floats, when it is read. Tensors of other types stay as they are. A finite value that is
/// infinite in the other type is an error of reading.
pub fn cast(tensor: Tensor, to: FloatType) -> Tensor {
    let to = DType::from(to);
    if !tensor.dtype.is_float() || tensor.dtype == to {
        return tensor;
    }
    let (name, shape, id) = (tensor.name.clone(), tensor.shape.clone(), tensor.param_id);
    let length = shape.iter().product::<usize>() * to.size();
    Tensor::deferred(name, to, shape, id, length, move || {
        let cast = FloatCastAdapter::to(to).adapt(tensor.clone(), ModuleContext::new(&[])).into_bytes()?;
        let infinite = not_finite(&cast, to);
        if infinite > 0 && infinite != not_finite(&tensor.to_bytes()?, tensor.dtype) {
            let to = to.name();
            let reason = format!("it has values that are infinite in {to}: choose another --dtype");
            return Err(Error::ValidationError(reason));
        }
        Ok(cast)
    })
}

/// How many values are infinite or NaN: those with all bits of the exponent set.
fn not_finite(bytes: &[u8], dtype: DType) -> usize {
    let exponent: u64 = match dtype {
        DType::F16 => 0x7c00,
        DType::BF16 => 0x7f80,
        DType::F64 => 0x7ff0_0000_0000_0000,
        _ => 0x7f80_0000,
    };
    let value = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    bytes.chunks_exact(dtype.size()).filter(|bytes| value(bytes) & exponent == exponent).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_ckpt::burn_pack::Bytes;

    fn as_f32(values: &[f32]) -> Tensor {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor::new("a".to_owned(), DType::F32, vec![values.len()], None, Bytes::from_bytes_vec(bytes))
    }

    #[test]
    fn what_was_finite_stays_finite() {
        let read = |values: &[f32], to| cast(as_f32(values), to).into_bytes();
        let infinite = [f32::INFINITY, f32::NAN, 1.0];
        assert_eq!(not_finite(&read(&infinite, FloatType::F16).unwrap(), DType::F16), 2);
        assert_eq!(read(&[1.0, -2.0], FloatType::Bf16).unwrap()[..], [0x80, 0x3f, 0, 0xc0]);
        for (value, to) in [(65520.0, FloatType::F16), (f32::MAX, FloatType::Bf16), (-1e38, FloatType::F16)] {
            let error = read(&[1.0, value], to).unwrap_err().to_string();
            assert!(error.contains("--dtype"), "{error}");
        }
        assert_eq!(read(&[f32::MAX], FloatType::F64).unwrap().len(), 8);
        let whole = Tensor::new("n".to_owned(), DType::U8, vec![1], None, Bytes::from_bytes_vec(vec![7]));
        assert_eq!(cast(whole, FloatType::F16).dtype, DType::U8);
    }
}
