//! The client of a store, from an address and the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};
use parking_lot::Mutex;

use crate::disk::directories::{create_directory, is_directory};
use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::mirror::address::{MirrorAddress, StoreKind};
use crate::mirror::store::failure;

/// How long one request may take: a part of 16 MiB at 64 KiB a second, which is what is left of a slow
/// connection for each of several.
const REQUEST_TIMEOUT: &str = "300s";
/// Further tries of a request that failed on its way. The caller has its own, with longer breaks.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The ends of the names of variables that have a path or an address, which can have any letter.
const NAMES_OF_PLACES: [&str; 4] = ["_FILE", "_URL", "_URI", "_ENDPOINT"];

/// Name -> value: the environment of a process, which [`Store::connect`](super::Store::connect) reads.
pub type Variables = BTreeMap<String, String>;

/// The environment of this process, as far as it is text.
pub(super) fn environment() -> Variables {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read. A directory that is not there stays so, and is an error.
    Reading,
    /// To write too. A directory that is not there is made.
    Writing,
}

/// The client of a store. Nothing is sent.
pub(super) fn connect(
    address: &MirrorAddress,
    variables: &Variables,
    purpose: Purpose,
) -> Result<Arc<dyn ObjectStore>> {
    let kind = address.kind();
    match kind {
        StoreKind::S3 => check_values::<AmazonS3ConfigKey>(address, variables, "AWS_")?,
        StoreKind::Azure => check_values::<AzureConfigKey>(address, variables, "AZURE_")?,
        StoreKind::GoogleCloud | StoreKind::Directory | StoreKind::Memory => {}
    }
    if !matches!(kind, StoreKind::Directory | StoreKind::Memory) {
        // The process's own choice stands, if it has made one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let client: object_store::Result<Arc<dyn ObjectStore>> = match kind {
        StoreKind::S3 => s3(address.bucket(), variables),
        StoreKind::GoogleCloud => google_cloud(address.bucket(), variables),
        StoreKind::Azure => azure(address.bucket(), variables),
        StoreKind::Directory => {
            let directory = address.directory().unwrap_or_default();
            match purpose {
                Purpose::Writing => create_directory(&directory)?,
                Purpose::Reading if !is_directory(&directory)? => return Err(no_directory(address)),
                Purpose::Reading => {}
            }
            LocalFileSystem::new_with_prefix(directory).map(|store| Arc::new(store.with_fsync(true)) as _)
        }
        StoreKind::Memory => Ok(in_memory(address)),
    };
    client.map_err(|cause| failure::error("use the mirror", address.to_string(), &cause))
}

fn no_directory(address: &MirrorAddress) -> Error {
    Error::Mirror {
        action: "read",
        object: address.to_string(),
        failure: MirrorFailure::NotFound,
        reason: "there is no such directory".to_owned(),
    }
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// The settings of a store among the variables, those of its own kind alone, as the library's `from_env`
/// reads them.
fn settings<K: FromStr>(variables: &Variables, prefix: &'static str) -> impl Iterator<Item = (K, String)> {
    let own = variables.iter().filter(move |(name, _)| name.starts_with(prefix));
    own.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
}

/// Checks that a request can have the values of a store's variables: with another one, such as a key with the
/// line break of the file that it was read from, the library panics. The value is not repeated.
fn check_values<K: FromStr>(
    address: &MirrorAddress,
    variables: &Variables,
    prefix: &'static str,
) -> Result<()> {
    let is_setting = |name: &str| name.starts_with(prefix) && name.to_ascii_lowercase().parse::<K>().is_ok();
    let is_place = |name: &str| NAMES_OF_PLACES.iter().any(|end| name.ends_with(end));
    let is_invalid = |name: &str, value: &str| {
        value.chars().any(|c| c.is_control() || !c.is_ascii() && !is_place(name)) && is_setting(name)
    };
    match variables.iter().find(|(name, value)| is_invalid(name, value)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::Mirror {
            action: "use the mirror",
            object: address.to_string(),
            failure: MirrorFailure::Denied,
            reason: format!(
                "the variable {name} has a character that no request can have, such as a line break at its end: set it without"
            ),
        }),
    }
}

fn s3(bucket: &str, variables: &Variables) -> object_store::Result<Arc<dyn ObjectStore>> {
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = AmazonS3Builder::new().with_config(timeout, REQUEST_TIMEOUT);
    for (key, value) in settings::<AmazonS3ConfigKey>(variables, "AWS_") {
        builder = builder.with_config(key, value);
    }
    if builder.get_config_value(&AmazonS3ConfigKey::Checksum).is_none() {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retries()).build()?))
}

fn google_cloud(bucket: &str, variables: &Variables) -> object_store::Result<Arc<dyn ObjectStore>> {
    let timeout = GoogleConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = GoogleCloudStorageBuilder::new().with_config(timeout, REQUEST_TIMEOUT);
    if let Some(path) = variables.get("SERVICE_ACCOUNT") {
        builder = builder.with_service_account_path(path);
    }
    for (key, value) in settings::<GoogleConfigKey>(variables, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retries()).build()?))
}

fn azure(container: &str, variables: &Variables) -> object_store::Result<Arc<dyn ObjectStore>> {
    let timeout = AzureConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = MicrosoftAzureBuilder::new().with_config(timeout, REQUEST_TIMEOUT);
    for (key, value) in settings::<AzureConfigKey>(variables, "AZURE_") {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = variables.get("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    Ok(Arc::new(builder.with_container_name(container).with_retry(retries()).build()?))
}

/// A store of this process, the same for each use of an address.
fn in_memory(address: &MirrorAddress) -> Arc<dyn ObjectStore> {
    static STORES: Mutex<BTreeMap<String, Arc<InMemory>>> = Mutex::new(BTreeMap::new());
    Arc::clone(STORES.lock().entry(address.to_string()).or_default()) as _
}
