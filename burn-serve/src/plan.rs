//! The plan that follows from the arguments: where the server listens, over which transport, and who may
//! connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use burn::server::{RemoteServer, TokenAuthorizer};
use burn::tensor::Device;
use burn_trainer::burn_ckpt::plumbing::is_address;
use burn_trainer::remote::{Relays, Token};

use crate::args::Args;
use crate::error::{Error, Result};
use crate::logging::say;

/// Where a WebSocket server listens unless told otherwise. burn's examples have the port.
const WEBSOCKET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// A server that may be started.
#[derive(Debug)]
pub struct Plan {
    /// The transport.
    pub over: Over,
    /// Where the addresses are written too.
    pub address_file: Option<PathBuf>,
    token: Option<Token>,
    /// Whether clients of other machines can reach it.
    reachable: bool,
}

/// How clients reach a server.
#[derive(Debug)]
pub enum Over {
    /// Encrypted.
    Iroh {
        /// Where to listen; `None` for every address and any port.
        listen: Option<SocketAddr>,
        /// The file with the server's identity, or the default one.
        identity: Option<PathBuf>,
        relays: Relays,
    },
    /// Not encrypted.
    WebSocket {
        /// Where to listen.
        listen: SocketAddr,
    },
}

impl Plan {
    /// Fails where clients of other machines could connect without a token, unless `--insecure` allows it.
    pub fn of(args: &Args) -> Result<Self> {
        Self::with_token(args, Token::from_file_or_env(args.token_file.as_deref())?)
    }

    fn with_token(args: &Args, token: Option<Token>) -> Result<Self> {
        for (flag, file) in [("--identity", &args.identity), ("--address-file", &args.address_file)] {
            if file.as_deref().is_some_and(is_address) {
                return Err(Error::Usage(format!(
                    "{flag} takes no address: give the path of a file on disk"
                )));
            }
        }
        let over = match args.websocket {
            true => Over::WebSocket { listen: args.listen.unwrap_or(WEBSOCKET) },
            false => Over::Iroh {
                listen: args.listen,
                identity: args.identity.clone(),
                relays: args.relays.clone(),
            },
        };
        let reachable = over.is_reachable();
        if reachable && token.is_none() && !args.insecure {
            return Err(Error::Usage(no_token(over.listen())));
        }
        Ok(Self { over, address_file: args.address_file.clone(), token, reachable })
    }

    /// Warns of a server without a token, and of one without encryption.
    pub fn warn(&self) {
        if self.reachable && self.token.is_none() {
            say("warning: everybody who can reach this server can use its devices, as no token is set");
        }
        if self.reachable && matches!(self.over, Over::WebSocket { .. }) {
            say(
                "warning: WebSocket is not encrypted: a machine on the way can read and change what is trained, and \
                 read the token; serve over Iroh on a network that is not trusted",
            );
        }
    }

    /// burn's server over these devices.
    pub fn server(&self, devices: Vec<Device>) -> Result<RemoteServer> {
        let server = RemoteServer::new(devices);
        match &self.token {
            Some(token) => {
                let authorizer = TokenAuthorizer::new(token.as_bytes());
                Ok(server.with_authorizer(authorizer.map_err(|error| Error::Serve(error.to_string()))?))
            }
            None => Ok(server),
        }
    }
}

impl Over {
    /// Where the server listens; `None` for every address and any port.
    fn listen(&self) -> Option<SocketAddr> {
        match self {
            Self::Iroh { listen, .. } => *listen,
            Self::WebSocket { listen } => Some(*listen),
        }
    }

    /// Whether clients of other machines can reach it.
    fn is_reachable(&self) -> bool {
        // A relay brings clients whatever address is listened on.
        let relayed = matches!(self, Self::Iroh { relays, .. } if *relays != Relays::Disabled);
        relayed || !self.listen().is_some_and(|address| address.ip().to_canonical().is_loopback())
    }
}

fn no_token(listen: Option<SocketAddr>) -> String {
    let address = listen.map_or_else(|| "every address of this machine".to_owned(), |it| it.to_string());
    format!(
        "without a token, everyone who reaches {address} could use the devices: make one with `openssl rand -hex 32 > token; \
         chmod 600 token`, copy it to the clients, and give it here and there with --token-file token; or listen on this \
         machine alone, with --listen 127.0.0.1:0; or say --insecure"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn planned(arguments: &str) -> Result<Plan> {
        let words = std::iter::once("serve").chain(arguments.split_whitespace());
        Plan::with_token(&Args::parse_from(words), None)
    }

    #[test]
    fn without_a_token_a_server_is_for_this_machine_alone() {
        for arguments in
            ["--listen 127.0.0.1:0", "--listen [::1]:0", "--websocket", "--listen [::ffff:127.0.0.1]:1"]
        {
            assert!(planned(arguments).is_ok(), "{arguments}");
        }
        for arguments in [
            "",
            "--listen 0.0.0.0:0",
            "--listen [::]:0",
            "--listen 192.0.2.1:3000",
            "--websocket --listen 0.0.0.0:3000",
            "--listen 127.0.0.1:0 --relays public",
        ] {
            let error = planned(arguments).unwrap_err().to_string();
            assert!(error.contains("openssl rand") && error.contains("--insecure"), "{arguments}: {error}");
            assert!(planned(&format!("{arguments} --insecure")).is_ok(), "{arguments}");
        }
    }

    #[test]
    fn an_address_of_a_file_to_write_is_wrong_usage() {
        for flag in ["--identity", "--address-file"] {
            let error = planned(&format!("--listen 127.0.0.1:0 {flag} s3://hunter2@b/x")).unwrap_err();
            assert!(matches!(&error, Error::Usage(said) if said.contains(flag) && !said.contains("hunter2")));
        }
    }

    #[test]
    fn a_websocket_server_stays_on_this_machine_unless_told_otherwise() {
        let plan = planned("--websocket").unwrap();
        assert_eq!(plan.over.listen(), Some(WEBSOCKET));
        assert!(!plan.reachable);
    }
}
