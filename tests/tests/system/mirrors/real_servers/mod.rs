//! Mirrors in real servers: of S3 (moto), of Google Cloud Storage, and of Azure (Azurite). Each scenario is
//! the same for all.
//!
//! | file | has |
//! |---|---|
//! | `library.rs` | what a program does: in parts, by ranges, with conditional writes; errors |
//! | `program.rs` | each verb of `burn-ckpt` |
//! | `google_cloud.rs`, `azure.rs` | what one of them has alone |

#[cfg(feature = "azurite")]
mod azure;
mod google_cloud;
mod library;
mod program;

use std::path::Path;

#[cfg(feature = "azurite")]
use system_tests::object_stores::azure_server;
use system_tests::object_stores::{StoreServer, google_cloud_server, s3_server};

/// Starts a server with its files in a directory.
type Start = fn(&Path) -> StoreServer;

/// A test of a scenario for each store. `cargo xtask azurite` runs those of Azure.
macro_rules! for_each_store {
    ($($scenario:ident),* $(,)?) => {
        mod s3 {
            $(#[test]
            fn $scenario() {
                super::$scenario(super::super::s3_server);
            })*
        }
        mod google_cloud {
            $(#[test]
            fn $scenario() {
                super::$scenario(super::super::google_cloud_server);
            })*
        }
        #[cfg(feature = "azurite")]
        mod azure {
            $(#[test]
            fn $scenario() {
                super::$scenario(super::super::azure_server);
            })*
        }
    };
}
use for_each_store;
