//! Which devices of other machines are lost, and why, as the error names them.
//!
//! A server that ends takes others along that were about to fetch a tensor from it. So each server is
//! connected once more, and the devices of those that do not answer are named.

use std::fmt::{self, Display};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use burn_ckpt::plumbing::{ScopedWork, start_scoped_work};

use super::device_names::IROH;
#[cfg(feature = "remote")]
use super::{iroh_endpoint, registry};
use crate::error::Error;
use crate::process::progress::figures::span;

/// Devices that are lost, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostDevices {
    pub(crate) devices: Vec<String>,
    pub(crate) reason: String,
}

impl From<LostDevices> for Error {
    fn from(LostDevices { devices, reason }: LostDevices) -> Self {
        Self::DeviceLost { devices, reason, newest: None }
    }
}

impl Display for LostDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lost: {}", self.devices.join(", "), self.reason)
    }
}

impl LostDevices {
    /// Devices that have not answered for `since`. `None` when the list is empty.
    pub(super) fn silent(devices: Vec<String>, since: Duration) -> Option<Self> {
        let reason = format!(
            "no answer for {}; see that the machine and the network are up, or allow more with \
             device_timeout_seconds where a step takes that long",
            span(since.as_secs_f64())
        );
        (!devices.is_empty()).then_some(Self { devices, reason })
    }

    /// Devices whose work failed, each with burn's message. `None` when the list is empty.
    pub(super) fn failed(devices: &[(String, String)]) -> Option<Self> {
        let (_, reason) = devices.first()?;
        let reason = format!("its session has ended ({})", reason.replace('\n', " "));
        Some(Self { devices: devices.iter().map(|(name, _)| name.clone()).collect(), reason })
    }

    /// Names the devices, out of `all` of the run, whose servers do not answer within `limit`. When all
    /// servers answer, the devices stay as they are.
    pub(super) fn named_by_their_servers(self, all: &[String], limit: Duration) -> Self {
        let problems: Vec<Option<String>> = thread::scope(|scope| {
            let test = |name: &'_ String| {
                let name = name.clone();
                start_scoped_work(scope, move || problem_of_server(&name, limit))
            };
            let tests: Vec<_> = all.iter().map(test).collect();
            tests.into_iter().map(ScopedWork::join).collect()
        });
        let gone: Vec<(&String, String)> =
            all.iter().zip(problems).filter_map(|(name, problem)| Some((name, problem?))).collect();
        match gone.first() {
            Some((_, reason)) => Self {
                devices: gone.iter().map(|(name, _)| (*name).clone()).collect(),
                reason: reason.clone(),
            },
            None => self,
        }
    }
}

/// What is wrong with the server of a device, as far as a connection shows. `None` when it answers, and when
/// its address is not known.
fn problem_of_server(name: &str, limit: Duration) -> Option<String> {
    if name.starts_with(IROH) {
        #[cfg(feature = "remote")]
        return problem_of_iroh_server(name, limit);
        #[cfg(not(feature = "remote"))]
        return None;
    }
    let (server, _) = name.split_once("://")?.1.rsplit_once('#')?;
    request_anything(server, limit).err().map(|error| match error.kind() {
        // Also of a stopped process: the system accepts connections for it.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => no_answer_within(limit),
        _ => format!("its server is gone ({error})"),
    })
}

#[cfg(feature = "remote")]
fn problem_of_iroh_server(name: &str, limit: Duration) -> Option<String> {
    let (address, _) = registry::find(name)?;
    let (endpoint, relays) = address.iroh_endpoint()?;
    let answers = iroh_endpoint::answers(endpoint, relays, limit)?;
    (!answers).then(|| no_answer_within(limit))
}

fn no_answer_within(limit: Duration) -> String {
    format!("its server does not answer within {}", span(limit.as_secs_f64()))
}

/// Requests a page from a WebSocket server and reads one byte of the answer: it is an HTTP server first. Of
/// several addresses one has to answer: `localhost` is `::1` too, where a server need not listen.
fn request_anything(server: &str, limit: Duration) -> std::io::Result<()> {
    let mut first_error = None;
    for address in server.to_socket_addrs()? {
        match request_from(&address, limit) {
            Ok(()) => return Ok(()),
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error.unwrap_or_else(|| ErrorKind::NotFound.into()))
}

fn request_from(address: &SocketAddr, limit: Duration) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.read(&mut [0]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_devices_are_named_whose_servers_are_gone_or_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Nothing accepts, as with a stopped process.
        let stopped = format!("remote:ws://{}#0", listener.local_addr().unwrap());
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gone = format!("remote:ws://{closed}#1");
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = format!("remote:ws://{}#0", alive.local_addr().unwrap());
        let server = thread::spawn(move || {
            for _ in 0..3 {
                alive.accept().unwrap().0.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap();
            }
        });
        let limit = Duration::from_secs(1);
        let named = |all: &[&String]| {
            let lost = LostDevices::failed(&[(there.clone(), "closed".to_owned())]).unwrap();
            let all: Vec<String> = all.iter().map(|name| (*name).clone()).collect();
            lost.named_by_their_servers(&all, limit)
        };
        let lost = named(&[&there, &stopped]);
        assert_eq!(
            (lost.devices, lost.reason.as_str()),
            (vec![stopped], "its server does not answer within 1 s")
        );
        let lost = named(&[&there, &gone]);
        assert!(lost.reason.starts_with("its server is gone"), "{lost}");
        assert_eq!(lost.devices, [gone]);
        // When all servers answer, the device stays that in which the loss was noticed.
        let lost = named(&[&there]);
        assert_eq!(
            (lost.devices, lost.reason.as_str()),
            (vec![there.clone()], "its session has ended (closed)")
        );
        server.join().unwrap();
    }

    #[test]
    fn a_server_is_there_when_one_of_its_names_addresses_answers() {
        let addresses: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
        // At the last one only.
        let listener = TcpListener::bind(addresses[addresses.len() - 1]).unwrap();
        let name = format!("remote:ws://localhost:{}#0", listener.local_addr().unwrap().port());
        let server = thread::spawn(move || {
            listener.accept().unwrap().0.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap();
        });
        let limit = Duration::from_secs(5);
        assert_eq!(problem_of_server(&name, limit), None);
        server.join().unwrap();
        assert!(problem_of_server(&name, limit).unwrap().starts_with("its server is gone"));
    }

    #[test]
    fn an_iroh_server_that_burn_connected_is_not_tested() {
        assert_eq!(problem_of_server("remote:iroh:aa#0", Duration::from_secs(1)), None);
    }
}
