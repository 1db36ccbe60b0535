//! A store in memory that takes as long for each write as its bytes take at a rate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

/// The store. One write at a time is on its way, as on one connection.
#[derive(Debug)]
pub(super) struct SlowStore {
    inner: InMemory,
    line: Line,
}

/// The connection: how long a byte takes.
#[derive(Debug, Clone)]
struct Line {
    seconds_per_byte: f64,
    one_at_a_time: Arc<Mutex<()>>,
}

impl Line {
    fn send(&self, bytes: usize) {
        let _sending = self.one_at_a_time.lock();
        std::thread::sleep(Duration::from_secs_f64(bytes as f64 * self.seconds_per_byte));
    }
}

impl SlowStore {
    pub(super) fn new(bytes_per_second: f64) -> Self {
        let line = Line { seconds_per_byte: 1.0 / bytes_per_second, one_at_a_time: Arc::default() };
        Self { inner: InMemory::new(), line }
    }
}

impl fmt::Display for SlowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowStore")
    }
}

#[async_trait]
impl ObjectStore for SlowStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.line.send(payload.content_length());
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(SlowParts { inner, line: self.line.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct SlowParts {
    inner: Box<dyn MultipartUpload>,
    line: Line,
}

#[async_trait]
impl MultipartUpload for SlowParts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.line.send(data.content_length());
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
