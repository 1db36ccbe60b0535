//! Devices of other machines: servers of this one, on the loopback interface.

mod bench;
mod documents;
mod garbage;
mod lost_devices;
mod refused_connections;
mod same_numbers;
mod servers;
mod token_stays_secret;
