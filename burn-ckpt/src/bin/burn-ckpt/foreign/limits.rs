//! Limits on what a foreign file may claim to contain. A small file cannot fill the disk or become a
//! checkpoint that cannot be read.

use burn_ckpt::burn_pack::{MAX_TENSOR_COUNT, Tensor};

/// Upper limit in bytes of all names and shapes. They are written to the header and the metadata, which have
/// limits too.
const MAX_NAME_BYTES: usize = 16 * 1024 * 1024;
/// Upper limit of a tensor's dimensions, the same as PyTorch's.
const MAX_DIMENSIONS: usize = 64;
/// How many times a file's size its tensors may have in total. Tensors can share bytes (tied weights,
/// expanded buffers).
const MAX_EXPANSION: u64 = 32;
/// Bytes that the tensors of a file of any size may have.
const ALWAYS_ALLOWED: u64 = 64 * 1024 * 1024;

/// Checks the tensors that a file of `size` bytes claims to contain.
///
/// # Errors
///
/// The limit that is exceeded.
pub fn check_limits(tensors: &[Tensor], size: u64) -> Result<(), String> {
    if tensors.is_empty() {
        return Err("it has no tensors".to_owned());
    }
    if tensors.len() > MAX_TENSOR_COUNT {
        return Err(format!("it has {} tensors, and {MAX_TENSOR_COUNT} are allowed", tensors.len()));
    }
    let (mut names, mut bytes) = (0, 0u64);
    for tensor in tensors {
        let dimensions = tensor.shape.len();
        if dimensions > MAX_DIMENSIONS {
            let name = shortened(&tensor.name);
            return Err(format!("{name:?} has {dimensions} dimensions, and {MAX_DIMENSIONS} are allowed"));
        }
        if tensor.name.is_empty() {
            return Err("it has a tensor without a name".to_owned());
        }
        names += tensor.name.len() + 8 * dimensions;
        bytes = bytes.saturating_add(tensor.byte_len() as u64);
    }
    if names > MAX_NAME_BYTES {
        return Err(format!("the names of its tensors take {names} bytes, and {MAX_NAME_BYTES} are allowed"));
    }
    let allowed = size.saturating_mul(MAX_EXPANSION).saturating_add(ALWAYS_ALLOWED);
    if bytes > allowed {
        return Err(format!(
            "it has {size} bytes, and its tensors claim {bytes} bytes, where {allowed} are allowed"
        ));
    }
    Ok(())
}

/// The beginning of a name that may be very long.
fn shortened(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Shape};

    fn tensor(name: String, shape: Vec<usize>) -> Tensor {
        let bytes = shape.iter().product::<usize>() * 4;
        Tensor::deferred(name, DType::F32, Shape::from(shape), None, bytes, || unreachable!())
    }

    #[test]
    fn a_file_that_claims_too_much_is_an_error() {
        let check = |tensors: Vec<Tensor>| check_limits(&tensors, 1000).unwrap_err();
        assert!(check_limits(&[tensor("a".to_owned(), vec![2, 2])], 1000).is_ok());
        assert!(check(vec![]).contains("no tensors"));
        assert!(check(vec![tensor(String::new(), vec![1])]).contains("without a name"));
        assert!(check(vec![tensor("a".to_owned(), vec![1; 65])]).contains("65 dimensions"));
        assert!(check(vec![tensor("a".to_owned(), vec![1 << 30])]).contains("claim"));
        assert!(check(vec![tensor("a".repeat(MAX_NAME_BYTES), vec![1])]).contains("names"));
        let many = (0..=MAX_TENSOR_COUNT).map(|i| tensor(i.to_string(), vec![0])).collect();
        assert!(check(many).contains("100001 tensors"));
    }
}
