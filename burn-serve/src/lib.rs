//! Lends this machine's devices to training programs on other machines.
//!
//! A server runs burn's `RemoteServer` over the devices of one backend until SIGINT or SIGTERM. By default it is reached
//! over Iroh, which encrypts, and proves to the client which server it is; over WebSocket when that is asked for. What
//! burn leaves to the program is here: where it listens and who may come, the identity that it keeps, the
//! addresses that clients need, its log, and its end. The client's side is in `burn_trainer`: `RemoteAddress`, `Token`,
//! `connect`.

#![cfg(feature = "remote")]

mod announce;
mod args;
mod devices;
mod error;
mod identity;
mod iroh;
mod logging;
mod plan;
mod stop;
mod websocket;

pub use args::Args;
pub use error::{Error, Result};

use std::io::Write;
use std::process::ExitCode;

use identity::Identity;
use plan::{Over, Plan};

/// Serves until it is told to stop, and says what kept it from that. The exit status is 0 after SIGINT or SIGTERM, 1 for
/// an error, and 2 for wrong usage.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    logging::install();
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            error.status()
        }
    }
}

fn serve(args: &Args) -> Result<()> {
    let plan = Plan::of(args)?;
    plan.warn();
    let devices = devices::of(args.backend, args.devices)?;
    logging::allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Serve(format!("the threads of the server cannot be started: {error}")))?;
    let served = runtime.block_on(async {
        match &plan.over {
            Over::Iroh { listen, identity, relays } => {
                let identity = Identity::load_or_create(identity.as_deref())?;
                iroh::serve(&plan, *listen, &identity, relays, devices).await
            }
            Over::WebSocket { listen } => websocket::serve(&plan, *listen, devices).await,
        }
    });
    // A session's work may be in a computation. The process ends without it, and clients see that from their connection.
    runtime.shutdown_background();
    served
}

/// Writes a line to standard error. Nobody may be reading it any more, which is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
