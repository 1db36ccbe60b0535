//! The connection to a store: requests about whole objects, each of which waits for its answer.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::Dispatch;

use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::mirror::address::MirrorAddress;
use crate::mirror::store::connect::{self, Purpose};
use crate::mirror::store::failure;
use crate::mirror::store::on_wait::OnWait;
use crate::mirror::store::variables::{Variables, environment};

/// The size of a part of a large object. A smaller object is one request.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Google Cloud Storage takes one change of an object a second, and answers 429 to the next one. The
/// library's own tries are over before.
const PAUSE_BETWEEN_CHANGES: Duration = Duration::from_millis(1100);
const CHANGES_TRIED: u32 = 4;

/// A connection to a store. A clone is the same connection.
///
/// ```
/// use burn_ckpt::mirror::{MirrorAddress, Store};
///
/// let address: MirrorAddress = "memory:example".parse()?;
/// let store = Store::connect(&address)?;
/// assert!(store.runs()?.is_empty());
/// # Ok::<(), burn_ckpt::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
    pub(super) on_wait: OnWait,
}

pub(super) struct Inner {
    address: MirrorAddress,
    /// What is before each object's name in the bucket.
    prefix: ObjectPath,
    /// Of a `file://` address.
    pub(super) directory: Option<PathBuf>,
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The size of a part of a large object.
    pub(super) part_bytes: u64,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
}

/// What an object was when it was read: a conditional write compares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version(pub(super) UpdateVersion);

impl Store {
    /// Makes the client of a store. Sends nothing yet.
    ///
    /// Credentials, endpoint and region come from the environment, by the names that each store's users know:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
    /// `AWS_ALLOW_HTTP`; `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_BASE_URL`; `AZURE_STORAGE_ACCOUNT_NAME`,
    /// `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_ENDPOINT`; and, on a machine of the cloud, its role.
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when a setting is missing or invalid; [`Error::Io`] when the directory of a
    /// `file://` address cannot be made.
    pub fn connect(address: &MirrorAddress) -> Result<Self> {
        Self::connect_with(address, &environment())
    }

    /// The same to read alone: the directory of a `file://` address is not made.
    ///
    /// ```
    /// use burn_ckpt::MirrorFailure;
    /// use burn_ckpt::mirror::Store;
    ///
    /// let error = Store::connect_to_read(&"file:///no/such/mirror".parse()?).unwrap_err();
    /// assert!(matches!(error, burn_ckpt::Error::Mirror { failure: MirrorFailure::NotFound, .. }));
    /// # Ok::<(), burn_ckpt::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Mirror`] when a setting is missing or invalid, and when there is no such directory.
    pub fn connect_to_read(address: &MirrorAddress) -> Result<Self> {
        let objects = connect::connect(address, &environment(), Purpose::Reading)?;
        Self::with_objects(address, objects, PART_BYTES)
    }

    /// As [`connect`](Self::connect), with variables that are given in place of the environment: for tests.
    #[doc(hidden)]
    pub fn connect_with(address: &MirrorAddress, variables: &Variables) -> Result<Self> {
        Self::with_objects(address, connect::connect(address, variables, Purpose::Writing)?, PART_BYTES)
    }

    /// The same over a store of objects that is given, with parts of this size: for tests.
    #[doc(hidden)]
    pub fn with_objects(
        address: &MirrorAddress,
        objects: Arc<dyn ObjectStore>,
        part_bytes: u64,
    ) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start the connection to", address.to_string()))?;
        let prefix = ObjectPath::parse(address.prefix());
        let prefix = prefix.map_err(|cause| failure::error("name", address.to_string(), &cause.into()))?;
        let inner = Inner {
            address: address.clone(),
            prefix,
            directory: address.directory(),
            objects,
            part_bytes,
            runtime: Some(runtime),
        };
        Ok(Self { inner: Arc::new(inner), on_wait: OnWait::default() })
    }

    /// The same connection, with what a wait for an answer does.
    #[doc(hidden)]
    #[must_use]
    pub fn with_on_wait(self, on_wait: OnWait) -> Self {
        Self { on_wait, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &MirrorAddress {
        &self.inner.address
    }

    /// A whole small object. `None` if there is none.
    pub(crate) fn get(&self, key: &str, most_bytes: u64) -> Result<Option<(Vec<u8>, Version)>> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        let answer = match self.run(0, async move { objects.get(&path).await }) {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer.map_err(|cause| self.failed("read", key, &cause))?,
        };
        let meta = answer.meta.clone();
        if meta.size > most_bytes {
            let path = PathBuf::from(self.shown(key));
            let reason = format!("it has {} bytes, and {most_bytes} are allowed", meta.size);
            return Err(Error::damaged(&path, reason, None));
        }
        let bytes = self.run(meta.size, answer.bytes());
        let bytes = bytes.map_err(|cause| self.failed("read", key, &cause))?;
        if bytes.len() as u64 != meta.size {
            return Err(self.cut_off(key, meta.size, bytes.len()));
        }
        let version = Version(UpdateVersion { e_tag: meta.e_tag, version: meta.version });
        Ok(Some((bytes.to_vec(), version)))
    }

    /// Bytes of an object.
    pub(crate) fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        let wanted = range.end.saturating_sub(range.start);
        let bytes = self.run(wanted, async move { objects.get_range(&path, range).await });
        let bytes = bytes.map_err(|cause| self.failed("read", key, &cause))?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes.to_vec()),
            false => Err(self.cut_off(key, wanted, bytes.len())),
        }
    }

    /// The size of an object. `None` if there is none.
    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        match self.run(0, async move { objects.head(&path).await }) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(self.failed("look for", key, &cause)),
        }
    }

    /// Writes a small object, in place of one that is there.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.put_with(key, bytes, PutMode::Overwrite)
            .map(drop)
            .map_err(|cause| self.failed("write", key, &cause))
    }

    /// The same, and calls `waits` each second meanwhile. Its error ends the request.
    pub(crate) fn put_while(&self, key: &str, bytes: &[u8], waits: &dyn Fn() -> Result<()>) -> Result<()> {
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        let payload = PutPayload::from(bytes.to_vec());
        let put = async move { objects.put_opts(&path, payload, PutMode::Overwrite.into()).await };
        self.run_while(put, waits)?.map(drop).map_err(|cause| self.failed("write", key, &cause))
    }

    /// Writes a small object unless one of that name is there: then `None`.
    pub(crate) fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Option<Version>> {
        self.conditional(key, self.put_with(key, bytes, PutMode::Create))
    }

    /// Writes a small object in place of the one that was read. `None` if it is another one by now.
    pub(crate) fn replace(&self, key: &str, bytes: &[u8], was: &Version) -> Result<Option<Version>> {
        match &self.inner.directory {
            Some(directory) => {
                let run_id = key.split('/').next().unwrap_or_default();
                self.replace_locked(&directory.join(run_id), key, bytes, was)
            }
            None => self.conditional(key, self.put_with(key, bytes, PutMode::Update(was.0.clone()))),
        }
    }

    pub(super) fn put_with(&self, key: &str, bytes: &[u8], mode: PutMode) -> object_store::Result<Version> {
        let path = self.raw_path(key)?;
        let payload = PutPayload::from(bytes.to_vec());
        let put = self.change(bytes.len() as u64, || {
            let (objects, path) = (Arc::clone(&self.inner.objects), path.clone());
            let (payload, mode) = (payload.clone(), mode.clone());
            async move { objects.put_opts(&path, payload, mode.into()).await }
        });
        Ok(Version(put?.into()))
    }

    pub(super) fn conditional(
        &self,
        key: &str,
        put: object_store::Result<Version>,
    ) -> Result<Option<Version>> {
        match put {
            Ok(version) => Ok(Some(version)),
            // S3 answers a replacement of an object that is gone with "not found".
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotFound { .. },
            ) => Ok(None),
            Err(cause) => Err(self.failed("write", key, &cause)),
        }
    }

    /// Deletes an object. One that is not there is not an error.
    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let deleted = self.change(0, || {
            let (objects, path) = (Arc::clone(&self.inner.objects), path.clone());
            async move { objects.delete(&path).await }
        });
        match deleted {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(cause) => Err(self.failed("delete", key, &cause)),
        }
    }

    /// Changes an object that may have been changed a moment ago.
    fn change<T: Send, F>(&self, bytes: u64, request: impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
    {
        for _ in 1..CHANGES_TRIED {
            match self.run(bytes, request()) {
                Err(cause) if failure::is_too_often(&cause) => thread::sleep(PAUSE_BETWEEN_CHANGES),
                changed => return changed,
            }
        }
        self.run(bytes, request())
    }

    /// What is before each object's name in the bucket.
    pub(super) fn prefix(&self) -> &ObjectPath {
        &self.inner.prefix
    }

    /// The address of an object, for messages.
    pub(crate) fn shown(&self, key: &str) -> String {
        if key.is_empty() { self.inner.address.to_string() } else { self.inner.address.join(key) }
    }

    pub(crate) fn failure(
        &self,
        action: &'static str,
        key: &str,
        failure: MirrorFailure,
        reason: String,
    ) -> Error {
        Error::Mirror { action, object: self.shown(key), failure, reason }
    }

    pub(super) fn failed(&self, action: &'static str, key: &str, cause: &object_store::Error) -> Error {
        failure::error(action, self.shown(key), cause)
    }

    pub(super) fn cut_off(&self, key: &str, wanted: u64, found: usize) -> Error {
        let reason = format!("the answer was cut off: it has {found} bytes of {wanted}");
        self.failure("read", key, MirrorFailure::Failed, reason)
    }

    pub(super) fn path(&self, key: &str) -> Result<ObjectPath> {
        self.raw_path(key).map_err(|cause| self.failed("name", key, &cause))
    }

    /// Names are the same in the store as on disk: nothing in them is replaced.
    fn raw_path(&self, key: &str) -> object_store::Result<ObjectPath> {
        let prefix = &self.inner.prefix;
        Ok(match (prefix.as_ref().is_empty(), key.is_empty()) {
            (_, true) => prefix.clone(),
            (true, false) => ObjectPath::parse(key)?,
            (false, false) => ObjectPath::parse(format!("{prefix}/{key}"))?,
        })
    }

    /// Works until it is done. Nothing that the library logs gets anywhere: it can hold a whole request.
    pub(super) fn block_on<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let Some(runtime) = &self.inner.runtime else { unreachable!("it is taken when it is dropped") };
        let work = || tracing::dispatcher::with_default(&Dispatch::none(), || runtime.block_on(future));
        if Handle::try_current().is_err() {
            return work();
        }
        // On a thread of another runtime tokio does not wait.
        let outcome = thread::scope(|scope| scope.spawn(work).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropped as usual it would wait, which tokio forbids on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own would show its settings.
        f.debug_tuple("Store").field(&self.inner.address).finish()
    }
}
