//! Stores of objects for the tests of mirrors.
//!
//! | file | has |
//! |---|---|
//! | `simulated_store.rs` | a store in memory whose operations fail by chance, from one seed, at a clock of its own |
//! | `late.rs` | what such a store does late |
//! | `faults.rs` | which fault an operation meets |
//! | `stored_objects.rs` | the objects of a store: listed, removed, changed |
//! | `given_stores.rs` | stores by their addresses, for the trainer in this process |
//! | `store_server.rs` | a real server of a store's interface, on this machine |
//! | `moto_server.rs`, `gcs_server.rs`, `azure_server.rs` | that of S3, Google Cloud Storage, Azure |
//!
//! [`HookedStore`] does something before each operation: it waits, counts, or fails. The benchmark of mirrors
//! uses it too.

mod azure_server;
mod faults;
mod gcs_server;
mod given_stores;
mod late;
mod moto_server;
mod simulated_store;
mod store_server;
mod stored_objects;

pub use azure_server::azure_server;
pub use bench::mirror::{HookedStore, StoreOperation};
pub use faults::{Fault, FaultRates};
pub use gcs_server::google_cloud_server;
pub use given_stores::{connect, give_store};
pub use moto_server::s3_server;
pub use simulated_store::{Hook, SimulatedClient, SimulatedStore};
pub use store_server::StoreServer;
pub use stored_objects::{damage_objects, delete_objects, objects, rewrite_objects};

/// The error of a store that is gone.
#[must_use]
pub fn unreachable() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    object_store::Error::Generic { store: "hooked", source: Box::new(source) }
}
