//! Serving over WebSocket.

use std::io;
use std::net::{SocketAddr, TcpListener};

use burn::server::WebSocketTransport;
use burn::tensor::Device;
use burn_trainer::remote::RemoteAddress;
use tokio::net::TcpSocket;

use crate::device_addresses::Announced;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::stop_signals::Stop;

/// Connections that wait to be taken, as many as the standard library's listeners have.
const BACKLOG: u32 = 128;

/// Serves the devices until the process is told to stop.
pub async fn serve(plan: &Plan, listen: SocketAddr, devices: Vec<Device>) -> Result<()> {
    let count = devices.len();
    let server = plan.server(devices)?;
    let listener = bind(listen).map_err(|error| Error::listen(listen, &error))?;
    let bound = listener.local_addr().map_err(|error| Error::listen(listen, &error))?;
    let stop = Stop::install()?;

    // Connections wait in the listener's queue from now on.
    let serving = server.serve_async(WebSocketTransport::from_listener(listener));
    let address = RemoteAddress::websocket(host_and_port(bound));
    let announced = Announced::new(&address, count, plan.address_file.as_deref())?;
    let served = tokio::select! {
        () = stop.asked() => Ok(()),
        served = serving => served.map_err(Error::from),
    };
    drop(announced);
    served
}

/// As `TcpListener::bind`, with connections that send what they have at once.
///
/// burn's server leaves that to the operating system, which holds a short answer back until the client has
/// acknowledged what came before, and that takes 40 ms. A connection has it from its listener.
fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Where a server is started again at its port, connections of the one before may still be closing.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)?.into_std()
}

/// What another machine calls this one where the server listens on every address: its name.
fn host_and_port(bound: SocketAddr) -> String {
    match bound.ip().is_unspecified() {
        true => format!("{}:{}", gethostname::gethostname().to_string_lossy(), bound.port()),
        false => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    // Elsewhere a connection may have nothing of its listener, and is as burn makes it.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    #[tokio::test]
    async fn a_connection_sends_what_it_has_at_once() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        assert!(connection.nodelay().unwrap());
    }
}
