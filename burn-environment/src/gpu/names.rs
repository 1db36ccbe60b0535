//! How burn's devices are called in the metadata: by the calls that make them.

use burn::tensor::Device;

/// `Flex`, `Cuda(0)`, `Wgpu(DefaultDevice)`, `Vulkan(DiscreteGpu(1))`: the device without its gradients.
///
/// burn prints a device as it nests its own types, and has no other name for it. What is printed in a way that is not
/// known here stays as it is.
pub(crate) fn device_name(device: &Device) -> String {
    short(&format!("{:?}", device.clone().without_autodiff()))
}

fn short(printed: &str) -> String {
    let within = |text: &str, before: &str, after: &str| {
        Some(text.strip_prefix(before)?.strip_suffix(after)?.to_owned())
    };
    let device = within(printed, "Device<", ">").unwrap_or_else(|| printed.to_owned());
    // There is one device of the kind; of another machine's, the address could hold a password.
    for backend in ["Flex", "NdArray", "Remote"] {
        if within(&device, &format!("{backend}("), ")").is_some() {
            return backend.to_owned();
        }
    }
    let Some(of_a_runtime) = within(&device, "Cube(", ")") else {
        return device;
    };
    if let Some(wgpu) = within(&of_a_runtime, "Wgpu(WgpuDevice { kind: ", " })")
        && let Some((kind, api)) = wgpu.rsplit_once(", backend: ")
    {
        return match api {
            "Auto" => format!("Wgpu({kind})"),
            api => format!("{api}({kind})"),
        };
    }
    within(&of_a_runtime, "Cuda(", ")").unwrap_or(of_a_runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_called_by_the_call_that_makes_it() {
        for (printed, name) in [
            ("Device<Flex(Cpu)>", "Flex"),
            ("Device<Cube(Cuda(Cuda(1)))>", "Cuda(1)"),
            ("Device<Cube(Wgpu(WgpuDevice { kind: Cpu, backend: Auto }))>", "Wgpu(Cpu)"),
            (
                "Device<Cube(Wgpu(WgpuDevice { kind: DiscreteGpu(2), backend: Auto }))>",
                "Wgpu(DiscreteGpu(2))",
            ),
            (
                "Device<Cube(Wgpu(WgpuDevice { kind: DefaultDevice, backend: Vulkan }))>",
                "Vulkan(DefaultDevice)",
            ),
        ] {
            assert_eq!(short(printed), name);
        }
    }

    #[test]
    fn what_is_printed_in_another_way_stays_as_it_is() {
        for (printed, name) in [
            ("", ""),
            ("Device<LibTorch(Cuda(0))>", "LibTorch(Cuda(0))"),
            ("Device<Cube(Hip(AmdDevice(0)))>", "Hip(AmdDevice(0))"),
            ("Device<Cube(Wgpu(Other))>", "Wgpu(Other)"),
            ("Gpu 7", "Gpu 7"),
        ] {
            assert_eq!(short(printed), name);
        }
    }

    #[test]
    fn the_address_of_another_machine_is_left_out() {
        assert_eq!(short("Device<Remote(RemoteDevice { address: \"ws://me:secret@host\" })>"), "Remote");
    }
}
