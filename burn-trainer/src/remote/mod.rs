//! Devices of other machines, through burn's remote engine: their names, and connecting them.
//!
//! A server runs burn's `RemoteServer` over its devices (`cargo xtask serve` is one). Here is the side of the program that
//! trains: it names a device by a [`RemoteAddress`], connects it with a [`Token`], and gives it to
//! [`Trainer::devices`](crate::Trainer::devices) like any other. What becomes of a run whose server goes away is in
//! `watch.rs`, which no feature turns off.

mod address;
mod connect;
mod connected;
mod iroh;
mod nudge;
mod token;

pub use address::{Relays, RemoteAddress};
pub use connect::connect;
pub(crate) use connected::problem_of_iroh_server;
pub use iroh::endpoint_builder;
pub(crate) use nudge::Nudge;
pub use token::{Token, check_secret};
