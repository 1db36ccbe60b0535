//! Devices of other machines, through burn's remote engine: their names, connecting them, and noticing that
//! one is lost.
//!
//! A server runs burn's `RemoteServer` over its devices (`cargo xtask serve` is one). Here is the side of the
//! program that trains: it names a device by a `RemoteAddress`, connects it with a `Token`, and passes it to
//! [`Trainer::devices`](crate::Trainer::devices) like any other. A run also watches devices that the program
//! has connected by burn itself, without the feature `remote`.

// `device_watch`, `loss_diagnosis` and `device_names` are there without the feature.
//
// From top to bottom: `device_watch`, `loss_diagnosis`, `wake_transfers`, `connect`, `session`, `registry`,
// then `address` with `token`, `iroh_endpoint` and `device_names`.

#[cfg(feature = "remote")]
mod address;
#[cfg(feature = "remote")]
mod connect;
pub(crate) mod device_names;
pub(crate) mod device_watch;
#[cfg(feature = "remote")]
mod iroh_endpoint;
pub(crate) mod loss_diagnosis;
#[cfg(feature = "remote")]
mod registry;
#[cfg(feature = "remote")]
mod session;
#[cfg(feature = "remote")]
mod token;
#[cfg(feature = "remote")]
mod wake_transfers;

#[cfg(feature = "remote")]
pub use address::{Relays, RemoteAddress};
#[cfg(feature = "remote")]
pub use connect::connect;
#[cfg(feature = "remote")]
pub use iroh_endpoint::endpoint_builder;
#[cfg(feature = "remote")]
pub use token::{Token, check_secret};
