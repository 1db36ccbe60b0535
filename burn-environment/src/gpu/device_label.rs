//! How burn's devices are called in the metadata: by the calls that make them.

use burn::tensor::Device;

/// `Flex`, `Cuda(0)`, `Wgpu(DefaultDevice)`, `Vulkan(DiscreteGpu(1))`: the device without its gradients. One
/// of another machine is called by its address: `remote:ws://gpu1:3000#0`, `remote:iroh:<id>#1`.
///
/// burn prints a device as it nests its own types, and has no other name for it. What is printed in a way
/// that is not known here stays as it is.
///
/// ```no_run
/// println!("{}", burn_environment::device_name(&burn::tensor::Device::default()));
/// ```
#[must_use]
pub fn device_name(device: &Device) -> String {
    short(&format!("{:?}", device.clone().without_autodiff()))
}

fn short(printed: &str) -> String {
    let within = |text: &str, before: &str, after: &str| {
        Some(text.strip_prefix(before)?.strip_suffix(after)?.to_owned())
    };
    let device = within(printed, "Device<", ">").unwrap_or_else(|| printed.to_owned());
    // There is one device of the kind.
    for backend in ["Flex", "NdArray"] {
        if within(&device, &format!("{backend}("), ")").is_some() {
            return backend.to_owned();
        }
    }
    if let Some(remote) = within(&device, "Remote(", ")") {
        return of_another_machine(&remote).unwrap_or_else(|| "remote".to_owned());
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

/// `RemoteDevice { endpoint: WebSocket { address: Address { .., host: "gpu1", .. }, .. }, .. }`,
/// or with `endpoint: Iroh { node: .., peer: EndpointAddr { id: PublicKey(..), .. }, .. }`.
///
/// Only what is recognized is repeated, as an address can hold a password.
fn of_another_machine(printed: &str) -> Option<String> {
    let after = |text: &str, label: &str| text.split_once(label).map(|(_, rest)| rest.to_owned());
    let until = |text: String, end: &str| text.split_once(end).map(|(value, _)| value.to_owned());
    let index = until(after(printed, "device_index: ")?, ",")?.parse::<u32>().ok()?;
    if let Some(address) = after(printed, "address: Address { ") {
        let quoted = |label: &str| until(after(&address, &format!("{label}: \""))?, "\"");
        let (scheme, host) = (quoted("scheme")?, quoted("host")?);
        // What stands before an @ is a user's name and password.
        let host = host.rsplit('@').next().unwrap_or_default();
        let port = until(after(&address, "port: ")?, " }")?;
        let port = port.strip_prefix("Some(").and_then(|port| port.strip_suffix(')'));
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        return Some(format!("remote:{scheme}://{host}{port}#{index}"));
    }
    let id = until(after(&after(printed, "peer: EndpointAddr { ")?, "id: PublicKey(")?, ")")?;
    Some(format!("remote:iroh:{id}#{index}"))
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
    fn a_device_of_another_machine_is_called_by_its_address() {
        let websocket = |host: &str| {
            format!(
                "Device<Remote(RemoteDevice {{ endpoint: WebSocket {{ address: Address {{ scheme: \"ws\", host: \"{host}\", \
                 port: Some(3000) }}, .. }}, device_index: 2, id: 7 }})>"
            )
        };
        assert_eq!(short(&websocket("gpu1")), "remote:ws://gpu1:3000#2");
        assert_eq!(short(&websocket("me:secret@gpu1")), "remote:ws://gpu1:3000#2");
        let iroh = "Device<Remote(RemoteDevice { endpoint: Iroh { node: RemoteNode { endpoint_id: PublicKey(aa), .. }, \
                    peer: EndpointAddr { id: PublicKey(bb), addrs: {Ip(10.0.0.1:4)} }, .. }, device_index: 0, id: 1 })>";
        assert_eq!(short(iroh), "remote:iroh:bb#0");
    }

    #[test]
    fn of_another_machine_nothing_is_repeated_that_is_not_recognized() {
        for printed in
            ["address: \"ws://me:secret@host\"", "", "address: Address { host: \"me:secret@host\" }"]
        {
            assert_eq!(
                short(&format!("Device<Remote(RemoteDevice {{ {printed}, device_index: 1, id: 1 }})>")),
                "remote"
            );
        }
    }
}
