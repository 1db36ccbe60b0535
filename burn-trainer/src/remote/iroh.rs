//! Iroh endpoints that are not burn's: of servers, which say where they listen, and for knocking at one.

use std::time::Duration;

use burn::remote::{Endpoint, EndpointAddr};
use iroh::RelayMode;
use iroh::endpoint::{Builder, PortmapperConfig, QuicTransportConfig, presets};

use super::Relays;

/// No server of burn's speaks it.
const KNOCKING: &[u8] = b"burn-trainer/knock";

/// An endpoint with burn's settings for these relays, but that nobody is asked for anything where they are disabled, the
/// network's router neither.
#[must_use]
pub fn endpoint_builder(relays: &Relays) -> Builder {
    let builder = match relays {
        Relays::Public => Endpoint::builder(presets::N0),
        Relays::Private { url } => {
            Endpoint::builder(presets::Minimal).relay_mode(RelayMode::custom([url.clone()]))
        }
        Relays::Disabled => Endpoint::builder(presets::Minimal)
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled),
    };
    // As burn has it: Iroh goes on with segmentation offload where the kernel refuses it (iroh#4555).
    builder.transport_config(QuicTransportConfig::builder().enable_segmentation_offload(false).build())
}

/// Whether the server at this address says anything at all: that it does not know this protocol is enough. `None` where
/// nothing can be found out.
pub(super) fn answers(address: EndpointAddr, relays: &Relays, within: Duration) -> Option<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answers = runtime.block_on(async {
        let endpoint = endpoint_builder(relays).bind().await.ok()?;
        Some(tokio::time::timeout(within, endpoint.connect(address, KNOCKING)).await.is_ok())
    });
    // An endpoint says goodbye for a while, which nobody here waits for.
    runtime.shutdown_background();
    answers
}
