//! The server's command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use backend::Backend;
use burn_trainer::remote::Relays;
use clap::Parser;

/// Lend this machine's devices to training programs on other machines, which name them with --device.
///
/// Prints the address of every device once it can be connected. Ends with SIGINT, SIGTERM or SIGHUP.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask serve")]
pub struct Args {
    /// Whose devices to serve, as far as the program was built for it: every GPU of the backend, or the CPU
    #[arg(long, value_enum, default_value = "flex")]
    pub(crate) backend: Backend,
    /// How many devices to make of the CPU, for clients that train on several
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) devices: Option<u16>,
    /// Where to listen; port 0 is any that is free. Every address of this machine and any port unless given,
    /// and with --websocket 127.0.0.1:3000
    #[arg(long, value_name = "IP:PORT", value_parser = parse_listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Serve over WebSocket, which is not encrypted, in place of Iroh
    #[arg(long)]
    pub(crate) websocket: bool,
    /// File with the token that clients must have; else the variable BURN_REMOTE_TOKEN has it
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Listen beyond this machine without a token: everyone who reaches the server can use its devices
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) insecure: bool,
    /// File with the secret key by which clients know this server, made on first use; by default one for this
    /// machine in the user's state directory
    #[arg(long, value_name = "FILE", conflicts_with = "websocket")]
    pub(crate) identity: Option<PathBuf>,
    /// The relay for clients that cannot reach this machine directly: disabled (none), public (Iroh's own
    /// relays), or the URL of a relay
    #[arg(
        long,
        value_name = "RELAYS",
        default_value = "disabled",
        conflicts_with = "websocket",
        value_parser = parse_relays
    )]
    pub(crate) relays: Relays,
    /// File that gets the printed addresses too, once the devices can be connected; removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) address_file: Option<PathBuf>,
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it is the IP address of a network interface and a port, like 0.0.0.0:3000 or [::1]:0".to_owned()
    })
}

fn parse_relays(text: &str) -> Result<Relays, String> {
    text.parse().map_err(|_| "relays are disabled, public, or the URL of one".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
