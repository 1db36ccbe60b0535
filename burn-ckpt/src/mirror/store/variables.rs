//! The variables of the environment by which a store is reached. They are checked before the library has
//! them: with some it panics, and what it says of others has their values. No value is repeated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use reqwest::Url;

use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::mirror::address::{MirrorAddress, StoreKind};

/// The ends of the names of variables that have a path or an address, which can have any letter.
const NAMES_OF_PLACES: [&str; 4] = ["_FILE", "_URL", "_URI", "_ENDPOINT"];
/// Variables that are in no request: paths, and a whole file.
const NAMES_OF_FILES: [&str; 4] = [
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
];
/// Google's endpoint, which the library takes as it is.
pub(super) const GOOGLE_ENDPOINT: &str = "GOOGLE_BASE_URL";
/// Where a server is, and what permits `http://` there.
const S3_ENDPOINTS: [&str; 3] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"];
const AZURE_ENDPOINTS: [&str; 2] = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"];
const AZURITE_ENDPOINT: &str = "AZURITE_BLOB_STORAGE_URL";
const ALLOW_HTTP: [(StoreKind, &str); 2] =
    [(StoreKind::S3, "AWS_ALLOW_HTTP"), (StoreKind::Azure, "AZURE_ALLOW_HTTP")];
/// The values that the library takes for true.
const TRUE: [&str; 5] = ["1", "true", "on", "yes", "y"];

/// Name -> value: the environment of a process, which [`Store::connect`](super::Store::connect) reads.
pub type Variables = BTreeMap<String, String>;

/// The environment of this process, as far as it is text.
pub(super) fn environment() -> Variables {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// The settings of a store among the variables, those of its own kind alone, as the library's `from_env`
/// reads them.
pub(super) fn settings<K: FromStr>(
    variables: &Variables,
    prefix: &'static str,
) -> impl Iterator<Item = (K, String)> {
    let own = variables.iter().filter(move |(name, _)| name.starts_with(prefix));
    own.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
}

/// Checks what the library would not.
pub(super) fn check(address: &MirrorAddress, variables: &Variables) -> Result<()> {
    match address.kind() {
        StoreKind::S3 => {
            check_values::<AmazonS3ConfigKey>(address, variables, "AWS_")?;
            check_endpoints(address, variables, &S3_ENDPOINTS)
        }
        StoreKind::GoogleCloud => {
            check_values::<GoogleConfigKey>(address, variables, "GOOGLE_")?;
            check_endpoints(address, variables, &[GOOGLE_ENDPOINT])
        }
        StoreKind::Azure => {
            check_values::<AzureConfigKey>(address, variables, "AZURE_")?;
            // Of an emulator the library reads another variable.
            match is_true(variables, "AZURE_STORAGE_USE_EMULATOR") {
                true => check_url(address, variables, AZURITE_ENDPOINT).map(drop),
                false => check_endpoints(address, variables, &AZURE_ENDPOINTS),
            }
        }
        StoreKind::Directory | StoreKind::Memory => Ok(()),
    }
}

/// Checks that a request can have the values: with another one, such as a key with the line break of the file
/// that it was read from, the library panics.
fn check_values<K: FromStr>(
    address: &MirrorAddress,
    variables: &Variables,
    prefix: &'static str,
) -> Result<()> {
    let is_setting = |name: &str| name.starts_with(prefix) && name.to_ascii_lowercase().parse::<K>().is_ok();
    let is_place = |name: &str| NAMES_OF_PLACES.iter().any(|end| name.ends_with(end));
    let is_invalid = |name: &str, value: &str| {
        value.chars().any(|c| c.is_control() || !c.is_ascii() && !is_place(name))
            && is_setting(name)
            && !NAMES_OF_FILES.contains(&name)
    };
    let Some((name, _)) = variables.iter().find(|(name, value)| is_invalid(name, value)) else {
        return Ok(());
    };
    let reason = "has a character that no request can have, such as a line break at its end: set it without";
    Err(invalid(address, MirrorFailure::Denied, name, reason))
}

fn check_endpoints(address: &MirrorAddress, variables: &Variables, names: &[&str]) -> Result<()> {
    for name in names {
        let allowed_by = ALLOW_HTTP.iter().find(|(kind, _)| *kind == address.kind());
        if let Some(url) = check_url(address, variables, name)?
            && url.scheme() == "http"
            && let Some((_, allow)) = allowed_by
            && !is_true(variables, allow)
        {
            let reason =
                format!("is http://, by which all is readable on its way: if it is meant, set {allow}=true");
            return Err(invalid(address, MirrorFailure::Unsupported, name, &reason));
        }
    }
    Ok(())
}

/// The address that a variable has. `None` if it is not set.
fn check_url(address: &MirrorAddress, variables: &Variables, name: &str) -> Result<Option<Url>> {
    let Some(value) = variables.get(name) else { return Ok(None) };
    match url(value) {
        Some(url) => Ok(Some(url)),
        None => {
            let reason = "is not an address such as https://host:port: set it with http:// or https://";
            Err(invalid(address, MirrorFailure::Unsupported, name, reason))
        }
    }
}

/// The address of a server.
pub(super) fn url(value: &str) -> Option<Url> {
    let url = Url::parse(value).ok()?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    (has_host && ["http", "https"].contains(&url.scheme())).then_some(url)
}

fn is_true(variables: &Variables, name: &str) -> bool {
    variables.get(name).is_some_and(|value| TRUE.contains(&&*value.to_ascii_lowercase()))
}

fn invalid(address: &MirrorAddress, failure: MirrorFailure, name: &str, reason: &str) -> Error {
    let (object, reason) = (address.to_string(), format!("the variable {name} {reason}"));
    Error::Mirror { action: "use the mirror", object, failure, reason }
}
