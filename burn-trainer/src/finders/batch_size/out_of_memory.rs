//! Whether what stopped a step is a lack of memory.
//!
//! burn has no type for that. cubecl's devices say it in a text, which is the panic's message, the reason of
//! a read that fails, or only the message of a panic on the device's own thread; other backends have their
//! driver's words.

use burn_ckpt::chain;

use crate::error::Error;

/// What the messages have in common, in small letters without spaces and signs:
const WORDS: [&str; 5] = [
    // "out of device memory allocating 64 bytes" of cubecl on CUDA and Vulkan,
    "outofdevicememory",
    // "wgpu error: Out of Memory", "CUDA_ERROR_OUT_OF_MEMORY", "hipErrorOutOfMemory", "CUDA out of memory" of
    // LibTorch,
    "outofmemory",
    // "can't allocate buffer of size: 64" of cubecl, for one that is larger than the device's buffers can be,
    "cantallocatebuffer",
    // and of the host's memory, "Cannot allocate memory (os error 12)" and LibTorch's "not enough memory".
    "cannotallocatememory",
    "notenoughmemory",
];

/// The line that says it, if the error of a trial is a lack of memory, or if a device's thread panicked for
/// one.
pub(super) fn reason(error: Option<&Error>, of_devices: &[String]) -> Option<String> {
    // Not of a setting, nor of data without a batch.
    let is_of_a_step = |error: &&Error| {
        matches!(error, Error::Panicked { .. } | Error::Training { .. } | Error::Evaluation { .. })
    };
    let error = error.filter(is_of_a_step).map(|error| match error {
        Error::Panicked { message, .. } => message.clone(),
        error => chain(error),
    });
    // The lines below can be a backtrace.
    error.iter().chain(of_devices).flat_map(|text| text.lines()).find(|line| says_it(line)).map(str::to_owned)
}

fn says_it(line: &str) -> bool {
    let letters: String = line.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    WORDS.iter().any(|words| letters.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panicked(message: &str) -> Error {
        Error::Panicked { message: message.to_owned(), saved: None }
    }

    #[test]
    fn the_messages_of_the_backends_are_known() {
        for message in [
            "out of device memory allocating 1073741824 bytes\n  0: cubecl_runtime::a",
            "can't allocate buffer of size: 8589934592\n",
            "wgpu error: Out of Memory",
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "hipMalloc failed: hipErrorOutOfMemory",
            "Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\")",
            "An error happened during execution\nCaused by:\n  out of device memory allocating 8 bytes",
        ] {
            let reason = reason(Some(&panicked(message)), &[]).unwrap();
            assert!(message.contains(&reason) && !reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn another_error_is_not_one_but_a_devices_own_panic_is() {
        let other = panicked("index 3 out of bounds: the memory of the model has 2 cells");
        assert_eq!(reason(Some(&other), &[]), None);
        assert_eq!(reason(Some(&other), &["a kernel failed".to_owned()]), None);
        let of_device = "wgpu error: Out of Memory".to_owned();
        assert_eq!(reason(Some(&other), std::slice::from_ref(&of_device)), Some(of_device.clone()));
        assert_eq!(reason(None, std::slice::from_ref(&of_device)), Some(of_device));
        let setting = Error::config("batch_size", "out of memory");
        assert_eq!(reason(Some(&setting), &[]), None);
    }
}
