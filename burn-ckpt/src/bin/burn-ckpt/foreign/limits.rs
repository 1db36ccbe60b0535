//! How much a foreign file may ask for, so that a small one cannot fill the disk or make a checkpoint that cannot be read.

use burn_ckpt::burn_pack::{MAX_TENSOR_COUNT, Tensor};

/// The most bytes that names and shapes may take: they stand in the header and in the metadata, which have limits too.
const MAX_NAME_BYTES: usize = 16 * 1024 * 1024;
/// The most dimensions of a tensor; PyTorch's own limit.
const MAX_DIMENSIONS: usize = 64;
/// How often a file's bytes may come back in tensors that share them (tied weights, expanded buffers).
const MAX_EXPANSION: u64 = 32;
/// What a file of any size may expand to, in bytes.
const ALWAYS_ALLOWED: u64 = 64 * 1024 * 1024;

/// Checks what a file of `size` bytes claims to hold.
///
/// # Errors
///
/// Naming the limit that it exceeds.
pub fn check_limits(tensors: &[Tensor], size: u64) -> Result<(), String> {
    if tensors.is_empty() {
        return Err("it holds no tensors".to_owned());
    }
    if tensors.len() > MAX_TENSOR_COUNT {
        return Err(format!("it holds {} tensors, and {MAX_TENSOR_COUNT} are allowed", tensors.len()));
    }
    let (mut names, mut bytes) = (0, 0u64);
    for tensor in tensors {
        let dimensions = tensor.shape.len();
        if dimensions > MAX_DIMENSIONS {
            let name = shortened(&tensor.name);
            return Err(format!("{name:?} has {dimensions} dimensions, and {MAX_DIMENSIONS} are allowed"));
        }
        if tensor.name.is_empty() {
            return Err("it holds a tensor without a name".to_owned());
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
            "it has {size} bytes, and its tensors claim {bytes}, which is more than is believed (up to {allowed})"
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
    fn a_file_may_not_claim_more_than_it_can_hold() {
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
