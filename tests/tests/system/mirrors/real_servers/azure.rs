//! What is Azure's alone: the ways to name an account and its credentials.

use system_tests::object_stores::azure_server;

use super::library::{denies_each_request, store};

#[test]
fn the_key_of_another_account_is_an_error_without_it() {
    let root = tempfile::tempdir().unwrap();
    let mut server = azure_server(root.path());
    let key = "Y2FuYXJ5LWFub3RoZXIta2V5";
    server.set("AZURE_STORAGE_ACCOUNT_KEY", key);
    server.secrets.push(key.to_owned());
    denies_each_request(&server);
}

#[test]
fn the_key_can_be_in_each_of_the_variables() {
    let root = tempfile::tempdir().unwrap();
    let mut server = azure_server(root.path());
    let key = server.variables()["AZURE_STORAGE_ACCOUNT_KEY"].clone();
    for name in ["AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY"] {
        server.environment.retain(|(known, _)| !known.ends_with("_KEY"));
        server.set(name, &key);
        assert!(store(&server, "p").runs().unwrap().is_empty(), "{name}");
    }
}
