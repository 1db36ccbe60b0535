//! Whether a device computes while the call waits, or later.

use burn::tensor::Device;
use burn_environment::device_name;

/// burn's backends that compute on the thread that calls them.
const SYNCHRONOUS: [&str; 2] = ["Flex", "NdArray"];

/// Whether an operation is done when its call returns, so that reading its result waits for nothing.
pub(crate) fn is_synchronous(device: &Device) -> bool {
    SYNCHRONOUS.contains(&&*device_name(device))
}
