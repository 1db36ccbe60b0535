//! Converting element types between burn and safetensors.

use burn::tensor::{BoolStore, DType};
use safetensors::Dtype;

/// The safetensors type for a burn type, if there is one.
pub fn to_safetensors(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        // Flex32 is stored in 32 bits. A device may compute with fewer.
        DType::F32 | DType::Flex32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool(_) => Dtype::BOOL,
        DType::QFloat(_) => return None,
    })
}

/// The burn type for a safetensors type, if there is one.
pub fn from_safetensors(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool(BoolStore::Native),
        _ => return None,
    })
}

/// Booleans as one byte each, 0 or 1, as readers of safetensors require. burn stores a boolean in one or four
/// bytes.
pub fn bools(store: BoolStore, bytes: &[u8]) -> Vec<u8> {
    let width = if store == BoolStore::U32 { 4 } else { 1 };
    bytes.chunks_exact(width).map(|value| u8::from(value.iter().any(|byte| *byte != 0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_bytes_of_0_and_1_however_they_are_stored() {
        assert_eq!(bools(BoolStore::Native, &[0, 1, 1]), [0, 1, 1]);
        assert_eq!(bools(BoolStore::U8, &[0, 1, 255]), [0, 1, 1]);
        assert_eq!(bools(BoolStore::U32, &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]), [0, 1, 1]);
    }
}
