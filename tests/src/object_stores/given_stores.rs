//! Stores by their addresses, which a test gives to the trainer in this process: `memory:` and a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn_ckpt::mirror::{MirrorAddress, Store};
use object_store::ObjectStore;
use parking_lot::Mutex;

/// Small, so that a small checkpoint has several parts.
const PART_BYTES: u64 = 4096;

static STORES: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>> = Mutex::new(BTreeMap::new());

/// Has the trainer find a store at an address, in place of the one that was there.
///
/// # Panics
///
/// When the address is invalid.
pub fn give_store(address: &str, store: Arc<dyn ObjectStore>) {
    let parsed: MirrorAddress = address.parse().unwrap_or_else(|error| panic!("{error}"));
    STORES.lock().insert(parsed.to_string(), store);
    burn_trainer::connect_by(connect);
}

/// The connection that the trainer has to an address.
///
/// # Errors
///
/// As for [`Store::connect`].
pub fn connect(address: &MirrorAddress) -> burn_ckpt::Result<Store> {
    let given = STORES.lock().get(&address.to_string()).cloned();
    match given {
        Some(store) => Store::with_objects(address, store, PART_BYTES),
        None => Store::connect(address),
    }
}
