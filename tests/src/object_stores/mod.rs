//! Stores of objects for the tests of mirrors.
//!
//! | file | has |
//! |---|---|
//! | `simulated_store.rs` | a store in memory whose operations fail by chance, from one seed, at a clock of its own |
//! | `faults.rs` | which fault an operation meets |
//! | `moto_server.rs` | a real server of S3's interface |

mod faults;
pub mod moto_server;
mod simulated_store;

pub use faults::{Fault, FaultRates};
pub use simulated_store::{Hook, SimulatedClient, SimulatedStore};
