//! The limits of a list of hosts, which a few bytes in a variable could otherwise make as long as memory
//! allows.

/// Most hosts that are kept of a list: a list of a few bytes, such as `n[0-999999999]`, can name any
/// number.
pub(super) const MAX_HOSTS: usize = 4096;

/// Most bytes of one host name in a list: what a name in the domain name system can have.
pub(super) const MAX_HOST_BYTES: usize = 253;

/// The name of a host, or `None` for one that is too long.
pub(super) fn host_name(name: &str) -> Option<&str> {
    (name.len() <= MAX_HOST_BYTES).then_some(name)
}
