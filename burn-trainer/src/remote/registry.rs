//! How the devices of this process were connected: burn's `Device` has neither the address nor the token.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::address::RemoteAddress;
use super::token::Token;

static CONNECTED: Mutex<Option<Connected>> = Mutex::new(None);

type Connected = HashMap<String, (RemoteAddress, Option<Token>)>;

/// Remembers the address and the token, by the device's name.
pub(super) fn remember(name: String, address: &RemoteAddress, token: Option<&Token>) {
    CONNECTED.lock().get_or_insert_default().insert(name, (address.clone(), token.cloned()));
}

/// The address and the token of the device of that name, if this crate connected it.
pub(super) fn find(name: &str) -> Option<(RemoteAddress, Option<Token>)> {
    CONNECTED.lock().as_ref()?.get(name).cloned()
}
