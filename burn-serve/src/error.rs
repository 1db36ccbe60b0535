//! What can keep a server from serving.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::server::ServeError;

/// What a function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit status for wrong usage.
const USAGE: u8 = 2;

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Arguments that cannot be used together, or not like this.
    #[error("{0}")]
    Usage(String),
    /// A token or a device that cannot be used.
    #[error(transparent)]
    Trainer(#[from] burn_trainer::Error),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// The file with the server's identity cannot be used.
    #[error("the identity in {}: {reason}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The addresses could not be written.
    #[error("{to}: the addresses of the devices cannot be written: {reason}")]
    Announce {
        /// The file, or standard output.
        to: String,
        /// What the operating system said.
        reason: String,
    },
    /// The server could not start, or ended without being told to.
    #[error("cannot serve: {0}")]
    Serve(String),
}

impl Error {
    /// The exit status of a program that ends with it.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Trainer(burn_trainer::Error::Config { .. }) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }

    /// An address that cannot be listened on, with the first cause of that: what libraries wrap around it
    /// says less.
    pub(crate) fn listen(address: SocketAddr, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Listen { address, reason: root(error).to_string() }
    }
}

impl From<ServeError> for Error {
    fn from(error: ServeError) -> Self {
        Self::Serve(error.to_string())
    }
}

fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
