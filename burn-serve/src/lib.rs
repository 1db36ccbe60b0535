//! Lends this machine's devices to training programs on other machines.
//!
//! A server runs burn's `RemoteServer` over the devices of one backend until SIGINT, SIGTERM or SIGHUP. By
//! default clients reach it over Iroh, which encrypts and proves to the client which server it is; with
//! `--websocket` they reach it over WebSocket. This crate has what burn leaves to the program: where the
//! server listens and who may connect (`plan.rs`), its identity (`identity.rs`), the addresses that clients
//! need (`device_addresses.rs`), its log and its end. The client's side is in `burn_trainer`:
//! `RemoteAddress`, `Token`, `connect`.

#![cfg(feature = "remote")]

mod args;
mod device_addresses;
mod devices;
mod error;
mod identity;
mod iroh;
mod logging;
mod plan;
mod stop_signals;
mod websocket;

pub use args::Args;
pub use error::{Error, Result};

use std::process::ExitCode;

use identity::Identity;
use plan::{Over, Plan};

/// Serves until a signal stops it, and prints the error that kept it from serving. The exit status is 0 after
/// SIGINT, SIGTERM or SIGHUP, 1 for an error, and 2 for wrong usage.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    logging::install();
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::say(&format!("error: {error}"));
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
    // A session may still compute. The process ends without it, and clients notice that their connection is
    // closed.
    runtime.shutdown_background();
    served
}
