//! How the devices of this process were connected: burn tells of a device neither the address nor the token.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{RemoteAddress, Token};

static CONNECTED: Mutex<Option<Connected>> = Mutex::new(None);

type Connected = HashMap<String, (RemoteAddress, Option<Token>)>;

fn connected() -> MutexGuard<'static, Option<Connected>> {
    CONNECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers it, by the device's name.
pub(super) fn remember(name: String, address: &RemoteAddress, token: Option<&Token>) {
    connected().get_or_insert_default().insert(name, (address.clone(), token.cloned()));
}

/// How the device of that name was connected, if it was by this crate.
pub(super) fn of(name: &str) -> Option<(RemoteAddress, Option<Token>)> {
    connected().as_ref()?.get(name).cloned()
}

/// What is wrong with the Iroh server of a device, as far as somebody sees who only knocks. `None` where nothing is, or
/// where nobody knows where it is.
pub(crate) fn problem_of_iroh_server(name: &str, within: Duration) -> Option<String> {
    of(name)?.0.problem(within)
}
