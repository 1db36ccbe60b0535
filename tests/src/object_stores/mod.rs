//! Stores of objects for the tests of mirrors.
//!
//! | file | has |
//! |---|---|
//! | `simulated_store.rs` | a store in memory whose operations fail by chance, from one seed, at a clock of its own |
//! | `late.rs` | what such a store does late |
//! | `faults.rs` | which fault an operation meets |
//! | `hooked_store.rs` | a store that does something before each operation: waits, counts, or fails |
//! | `given_stores.rs` | stores by their addresses, for the trainer in this process |
//! | `moto_server.rs` | a real server of S3's interface |

mod faults;
mod given_stores;
mod hooked_store;
mod late;
pub mod moto_server;
mod simulated_store;

pub use faults::{Fault, FaultRates};
pub use given_stores::{connect, give_store};
pub use hooked_store::{HookedStore, StoreOperation, delete_objects, objects, rewrite_objects, unreachable};
pub use simulated_store::{Hook, SimulatedClient, SimulatedStore};
