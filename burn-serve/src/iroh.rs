//! Serving over Iroh.
//!
//! burn's own Iroh transport listens on every address, maps a port in the network's router, and does not
//! report the port. So the endpoint is made here, with burn's other settings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use burn::server::{BURN_REMOTE_ALPN, Endpoint};
use burn::tensor::Device;
use burn_trainer::remote::{Relays, RemoteAddress, endpoint_builder};
use iroh::SecretKey;
use iroh::protocol::Router;

use crate::device_addresses::Announced;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::logging::say;
use crate::plan::Plan;
use crate::stop_signals::Stop;

/// How long the shutdown may take to notify clients.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a relay may take to answer before clients are given an address without it.
const RELAY: Duration = Duration::from_secs(10);
/// Any address, for the error where none was given.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Serves the devices until the process is told to stop.
pub async fn serve(
    plan: &Plan,
    listen: Option<SocketAddr>,
    identity: &Identity,
    relays: &Relays,
    devices: Vec<Device>,
) -> Result<()> {
    let count = devices.len();
    let server = plan.server(devices)?;
    let endpoint = bind(listen, relays, identity).await?;
    let protocol = server.into_protocol(&endpoint)?;
    let router = Router::builder(endpoint.clone()).accept(BURN_REMOTE_ALPN, protocol).spawn();
    let stop = Stop::install()?;

    let address = RemoteAddress::iroh(endpoint.id(), addresses(&endpoint), relays.clone());
    let announced = Announced::new(&address, count, plan.address_file.as_deref())?;
    let served = tokio::select! {
        () = stop.asked() => Ok(()),
        () = endpoint.closed() => Err(Error::Serve("the Iroh endpoint closed by itself".to_owned())),
    };
    drop(announced);
    // Clients learn at once, and not when nothing has come for half a minute.
    let _ = tokio::time::timeout(FAREWELL, router.shutdown()).await;
    served
}

async fn bind(listen: Option<SocketAddr>, relays: &Relays, identity: &Identity) -> Result<Endpoint> {
    let failed = |error: &(dyn std::error::Error + 'static)| Error::listen(listen.unwrap_or(ANY), error);
    let mut builder = endpoint_builder(relays)
        .secret_key(SecretKey::from_bytes(&identity.key.to_bytes()))
        .alpns(vec![BURN_REMOTE_ALPN.to_vec()]);
    if let Some(listen) = listen {
        builder = builder.clear_ip_transports().bind_addr(listen).map_err(|error| failed(&error))?;
    }
    let endpoint = builder.bind().await.map_err(|error| failed(&error))?;
    if *relays != Relays::Disabled && tokio::time::timeout(RELAY, endpoint.online()).await.is_err() {
        say("warning: no relay answers yet: only clients that reach this machine directly can connect");
    }
    Ok(endpoint)
}

/// Where clients can try: the address that is listened on, or this machine's where that is every one.
fn addresses(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let all = endpoint.addr();
    let mut addresses: Vec<SocketAddr> =
        all.ip_addrs().copied().filter(|address| !needs_a_scope(address)).collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

/// Whether it means something on one link only, of which another machine does not know the name.
fn needs_a_scope(address: &SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}
