//! Servers of this machine's devices, one or several.

mod cluster;
mod server;

pub use cluster::{Cluster, has_saved};
pub use server::{
    ON_LOOPBACK, Server, WEBSOCKET_ON_LOOPBACK, burn_serve, computes, ending_with_us, new_token, write_secret,
};
