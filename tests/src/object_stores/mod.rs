//! Stores of objects for the tests of mirrors.
//!
//! | file | has |
//! |---|---|
//! | `simulated_store.rs` | a store in memory whose operations fail by chance, from one seed, at a clock of its own |
//! | `late.rs` | what such a store does late |
//! | `faults.rs` | which fault an operation meets |
//! | `stored_objects.rs` | the objects of a store: listed, removed, changed |
//! | `given_stores.rs` | stores by their addresses, for the trainer in this process |
//! | `moto_server.rs` | a real server of S3's interface |
//!
//! [`HookedStore`] does something before each operation: it waits, counts, or fails. The benchmark of mirrors
//! uses it too.

mod faults;
mod given_stores;
mod late;
pub mod moto_server;
mod simulated_store;
mod stored_objects;

pub use bench::mirror::{HookedStore, StoreOperation};
pub use faults::{Fault, FaultRates};
pub use given_stores::{connect, give_store};
pub use simulated_store::{Hook, SimulatedClient, SimulatedStore};
pub use stored_objects::{delete_objects, objects, rewrite_objects};

/// The error of a store that is gone.
#[must_use]
pub fn unreachable() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    object_store::Error::Generic { store: "hooked", source: Box::new(source) }
}
