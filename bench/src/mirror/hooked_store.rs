//! A store that does something before each operation: waits, counts, or fails. The tests of mirrors use it
//! too.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// An operation of a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreOperation<'a> {
    /// `put`, `get`, `list`, `delete`, `part`, `abort`, `copy`.
    pub name: &'static str,
    /// The object.
    pub path: &'a str,
    /// How many bytes are sent.
    pub bytes: usize,
}

/// What is done before an operation. Its error is the operation's.
type BeforeOperation = Arc<dyn Fn(StoreOperation<'_>) -> Result<()> + Send + Sync>;

/// What a write waits for before it is done.
type Wait = Arc<dyn Fn(StoreOperation<'_>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Which conditions of writes a store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditions {
    All,
    /// It writes whatever is there.
    None,
    /// It writes in place of whatever is there.
    OfNewAlone,
    /// It answers a write in place of a version with 501.
    OfNewOrAnError,
}

/// A store with a hook before each operation.
#[derive(Clone)]
pub struct HookedStore {
    inner: Arc<dyn ObjectStore>,
    before: BeforeOperation,
    wait: Option<Wait>,
    conditions: Conditions,
}

/// As the client of S3 says it.
fn not_implemented() -> Error {
    let text = "Server returned non-2xx status code: 501 Not Implemented: <Code>NotImplemented</Code>";
    Error::Generic { store: "S3", source: text.into() }
}

impl HookedStore {
    /// A store that does this before each operation of another one.
    pub fn new(
        inner: Arc<dyn ObjectStore>,
        before: impl Fn(StoreOperation<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, before: Arc::new(before), wait: None, conditions: Conditions::All }
    }

    /// Its writes take time, in which their caller can do other things.
    #[must_use]
    pub fn with_wait(
        mut self,
        wait: impl Fn(StoreOperation<'_>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.wait = Some(Arc::new(wait));
        self
    }

    /// It writes whatever is there, as some servers of S3's interface do.
    #[must_use]
    pub fn without_conditions(mut self) -> Self {
        self.conditions = Conditions::None;
        self
    }

    /// It keeps what is there from a write of something new, and replaces it whatever version that names.
    #[must_use]
    pub fn without_conditional_replacement(mut self) -> Self {
        self.conditions = Conditions::OfNewAlone;
        self
    }

    /// It answers a write in place of a version as a server does that does not know it.
    #[must_use]
    pub fn refusing_conditional_replacement(mut self) -> Self {
        self.conditions = Conditions::OfNewOrAnError;
        self
    }

    fn waits(&self, name: &'static str, path: &Path, bytes: usize) -> BoxFuture<'static, ()> {
        let operation = StoreOperation { name, path: path.as_ref(), bytes };
        self.wait.as_ref().map_or_else(|| async {}.boxed(), |wait| wait(operation))
    }

    fn begin(&self, name: &'static str, path: &Path, bytes: usize) -> Result<()> {
        (self.before)(StoreOperation { name, path: path.as_ref(), bytes })
    }
}

impl fmt::Display for HookedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookedStore({})", self.inner)
    }
}

impl fmt::Debug for HookedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedStore")
    }
}

#[async_trait]
impl ObjectStore for HookedStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.begin("put", path, payload.content_length())?;
        self.waits("put", path, payload.content_length()).await;
        let options = match (self.conditions, &options.mode) {
            (Conditions::None, _) | (Conditions::OfNewAlone, PutMode::Update(_)) => PutMode::Overwrite.into(),
            (Conditions::OfNewOrAnError, PutMode::Update(_)) => return Err(not_implemented()),
            _ => options,
        };
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.begin("put", path, 0)?;
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(HookedParts { inner, path: path.clone(), store: self.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.begin("get", path, 0)?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let checked = locations.map(move |path| {
            let path = path?;
            store.begin("delete", &path, 0)?;
            Ok(path)
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.begin("list", prefix.unwrap_or(&Path::default()), 0) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.begin("list", prefix.unwrap_or(&Path::default()), 0)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.begin("copy", to, 0)?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload in parts.
#[derive(Debug)]
struct HookedParts {
    inner: Box<dyn MultipartUpload>,
    path: Path,
    store: HookedStore,
}

#[async_trait]
impl MultipartUpload for HookedParts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.store.begin("part", &self.path, data.content_length()) {
            Ok(()) => {
                let wait = self.store.waits("part", &self.path, data.content_length());
                let part = self.inner.put_part(data);
                Box::pin(async move {
                    wait.await;
                    part.await
                })
            }
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.begin("put", &self.path, 0)?;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.begin("abort", &self.path, 0)?;
        self.inner.abort().await
    }
}
