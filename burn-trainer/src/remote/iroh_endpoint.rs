//! Iroh endpoints beside burn's own: one for a server that prints its address, and one to test whether a
//! server answers.

use std::time::Duration;

use burn::remote::{Endpoint, EndpointAddr};
use iroh::RelayMode;
use iroh::endpoint::{Builder, PortmapperConfig, QuicTransportConfig, presets};

use super::address::Relays;

/// A protocol that burn's servers do not speak.
const TEST_PROTOCOL: &[u8] = b"burn-trainer/knock";

/// An endpoint with burn's settings for these relays. With relays disabled it contacts no other machine, not
/// even the router for port mapping.
///
/// ```no_run
/// # async fn bind() -> Result<(), Box<dyn std::error::Error>> {
/// use burn_trainer::remote::{Relays, endpoint_builder};
///
/// let endpoint = endpoint_builder(&Relays::Disabled).bind().await?;
/// # Ok(()) }
/// ```
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
    // As in burn: Iroh keeps using segmentation offload where the kernel rejects it (iroh#4555).
    builder.transport_config(QuicTransportConfig::builder().enable_segmentation_offload(false).build())
}

/// Whether the server at this address answers anything. An error that it does not know the protocol is an
/// answer. `None` when the test cannot be made.
pub(super) fn answers(address: EndpointAddr, relays: &Relays, within: Duration) -> Option<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answers = runtime.block_on(async {
        let endpoint = endpoint_builder(relays).bind().await.ok()?;
        Some(tokio::time::timeout(within, endpoint.connect(address, TEST_PROTOCOL)).await.is_ok())
    });
    // An endpoint takes a while to close its connections. There is no need to wait for that.
    runtime.shutdown_background();
    answers
}
