//! The client of a store, from an address and the environment.

use std::collections::BTreeMap;
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
use crate::mirror::store::variables::{self, GOOGLE_ENDPOINT, Variables, settings};

/// How long one request may take: a part of 16 MiB at 64 KiB a second, which is what is left of a slow
/// connection for each of several.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Further tries of a request that failed on its way. The caller has its own, with longer breaks.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

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
    variables::check(address, variables)?;
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

fn request_timeout() -> String {
    format!("{}s", REQUEST_TIMEOUT.as_secs())
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

fn s3(bucket: &str, variables: &Variables) -> object_store::Result<Arc<dyn ObjectStore>> {
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = AmazonS3Builder::new().with_config(timeout, request_timeout());
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
    let mut builder = GoogleCloudStorageBuilder::new().with_config(timeout, request_timeout());
    if let Some(path) = variables.get("SERVICE_ACCOUNT") {
        builder = builder.with_service_account_path(path);
    }
    for (key, value) in settings::<GoogleConfigKey>(variables, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    // The library writes a / after it.
    if let Some(url) = variables.get(GOOGLE_ENDPOINT).and_then(|value| variables::url(value)) {
        builder = builder.with_base_url(url.as_str().trim_end_matches('/'));
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retries()).build()?))
}

fn azure(container: &str, variables: &Variables) -> object_store::Result<Arc<dyn ObjectStore>> {
    let timeout = AzureConfigKey::Client(ClientConfigKey::Timeout);
    let mut builder = MicrosoftAzureBuilder::new().with_config(timeout, request_timeout());
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
