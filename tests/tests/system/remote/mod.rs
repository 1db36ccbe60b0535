//! Devices of other machines: servers of this one, on the loopback interface.

mod bench;
mod exact;
mod flood;
mod lost;
mod page;
mod refusals;
mod servers;
mod token;
