//! The objects of a store whose operations do not wait: listed, removed, and changed without its writers.

use futures_util::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, Result};

/// All objects of a store: name and size.
///
/// # Panics
///
/// When the store waits or fails.
#[must_use]
pub fn objects(store: &dyn ObjectStore) -> Vec<(String, u64)> {
    let listed = at_once(store.list(None).try_collect::<Vec<_>>());
    let mut objects: Vec<_> = listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
    objects.sort();
    objects
}

/// Removes the objects of a store whose names are these.
///
/// # Panics
///
/// When there is none, or the store waits or fails.
pub fn delete_objects(store: &dyn ObjectStore, is_meant: impl Fn(&str) -> bool) {
    let names: Vec<String> =
        objects(store).into_iter().map(|(name, _)| name).filter(|name| is_meant(name)).collect();
    assert!(!names.is_empty(), "no such object is there");
    for name in names {
        let path = Path::from(name);
        at_once(ObjectStoreExt::delete(store, &path));
    }
}

/// Writes other text to the objects of a store whose names are these.
///
/// # Panics
///
/// When there is none, one is not text, or the store waits or fails.
pub fn rewrite_objects(
    store: &dyn ObjectStore,
    is_meant: impl Fn(&str) -> bool,
    mut rewrite: impl FnMut(String) -> String,
) {
    let names: Vec<String> =
        objects(store).into_iter().map(|(name, _)| name).filter(|name| is_meant(name)).collect();
    assert!(!names.is_empty(), "no such object is there");
    for name in names {
        let path = Path::from(name);
        let bytes = at_once(async { ObjectStoreExt::get(store, &path).await?.bytes().await });
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| panic!("{path}: {error}"));
        at_once(ObjectStoreExt::put(store, &path, rewrite(text).into()));
    }
}

/// Changes the last byte of each object of a store whose name is one of these.
///
/// # Panics
///
/// When there is none, one is empty, or the store waits or fails.
pub fn damage_objects(store: &dyn ObjectStore, is_meant: impl Fn(&str) -> bool) {
    let names: Vec<String> =
        objects(store).into_iter().map(|(name, _)| name).filter(|name| is_meant(name)).collect();
    assert!(!names.is_empty(), "no such object is there");
    for name in names {
        let path = Path::from(name);
        let bytes = at_once(async { ObjectStoreExt::get(store, &path).await?.bytes().await });
        let mut bytes = bytes.to_vec();
        let last = bytes.last_mut().unwrap_or_else(|| panic!("{path} is empty"));
        *last = last.wrapping_add(1);
        at_once(ObjectStoreExt::put(store, &path, bytes.into()));
    }
}

fn at_once<T>(request: impl Future<Output = Result<T>>) -> T {
    let answer = FutureExt::now_or_never(request).unwrap_or_else(|| panic!("the store waits"));
    answer.unwrap_or_else(|error| panic!("{error}"))
}
