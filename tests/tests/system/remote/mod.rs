//! Devices of other machines: servers of this one, on the loopback interface.

mod flood;
mod refusals;
mod servers;
mod token;
