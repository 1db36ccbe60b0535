//! Large objects: sent in parts, and read by ranges, a few of them at a time. So a request is short, a failed
//! one is repeated alone, and memory is bounded.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::error::mirror_failure::MirrorFailure;
use crate::error::{Error, Result};
use crate::mirror::store::connect::REQUEST_TIMEOUT;
use crate::mirror::store::connection::Store;
use crate::mirror::store::waiting::ended as given_up;

/// S3 takes 10,000 parts.
const MAX_PARTS: u64 = 9_000;
/// How many parts are on their way at a time.
const PARTS_AT_ONCE: usize = 3;

/// How often a transfer that waits for the store calls its progress.
const WAIT_SLICE: Duration = Duration::from_secs(1);

/// Called with the number of bytes that were just sent or received, and each second with 0 while the store
/// takes its time. Its error ends the transfer.
///
/// ```
/// use burn_ckpt::mirror::Progress;
///
/// let progress: Progress<'_> = &|bytes| {
///     println!("{bytes} more bytes");
///     Ok(())
/// };
/// # progress(1).unwrap();
/// ```
pub type Progress<'a> = &'a dyn Fn(u64) -> io::Result<()>;

impl Store {
    /// Writes an object of a known size, which `read` fills piece by piece. A failure leaves no object.
    pub(crate) fn upload(
        &self,
        key: &str,
        size: u64,
        read: &mut dyn FnMut(&mut [u8]) -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<()> {
        if size <= self.inner.part_bytes {
            let mut bytes = vec![0; size as usize];
            read(&mut bytes)?;
            progress(0).map_err(ended("send", self.shown(key)))?;
            self.put_while(key, &bytes, &|| progress(0).map_err(ended("send", self.shown(key))))?;
            return progress(size).map_err(ended("send", self.shown(key)));
        }
        let (objects, path) = (Arc::clone(&self.inner.objects), self.path(key)?);
        let upload = self.run(0, async move { objects.put_multipart(&path).await });
        let mut upload = upload.map_err(|cause| self.failed("write", key, &cause))?;
        let sent = match self.send_parts(&mut *upload, key, size, read, progress) {
            Ok(()) => self.complete(&mut *upload, key, progress),
            Err(error) => Err(error),
        };
        if sent.is_err() {
            // The failure is what is reported. A store forgets parts by itself if it is told to. If the
            // object is there nevertheless, there is nothing to give up.
            let _ = self.run(0, upload.abort());
        }
        sent
    }

    fn complete(&self, upload: &mut dyn MultipartUpload, key: &str, progress: Progress<'_>) -> Result<()> {
        let waits = || progress(0).map_err(ended("send", self.shown(key)));
        let completed = self.run_while(upload.complete(), &waits)?;
        completed.map(drop).map_err(|cause| self.failed("write", key, &cause))
    }

    fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        key: &str,
        size: u64,
        read: &mut dyn FnMut(&mut [u8]) -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let part = self.inner.part_bytes.max(size.div_ceil(MAX_PARTS));
        let mut on_their_way = FuturesUnordered::new();
        let mut left = size;
        loop {
            progress(0).map_err(ended("send", self.shown(key)))?;
            if left > 0 {
                let mut bytes = vec![0; part.min(left) as usize];
                read(&mut bytes)?;
                let length = bytes.len() as u64;
                left -= length;
                let sending = upload.put_part(PutPayload::from(bytes));
                on_their_way.push(async move { sending.await.map(|()| length) });
                if on_their_way.len() < PARTS_AT_ONCE {
                    continue;
                }
            }
            let waits = || progress(0).map_err(ended("send", self.shown(key)));
            let Some(sent) = self.run_while(on_their_way.next(), &waits)? else { return Ok(()) };
            let length = sent.map_err(|cause| self.failed("write", key, &cause))?;
            progress(length).map_err(ended("send", self.shown(key)))?;
        }
    }

    /// Reads a whole object of a known size, piece by piece.
    pub(crate) fn download(
        &self,
        key: &str,
        size: u64,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
        progress: Progress<'_>,
    ) -> Result<()> {
        let path = self.path(key)?;
        let part = self.inner.part_bytes;
        let mut ranges = (0..size).step_by(part as usize).map(|start| start..size.min(start + part));
        let get = |range: Range<u64>| {
            let (objects, path) = (Arc::clone(&self.inner.objects), path.clone());
            async move { objects.get_range(&path, range.clone()).await.map(|bytes| (range, bytes)) }
        };
        let mut on_their_way: FuturesOrdered<_> = ranges.by_ref().take(PARTS_AT_ONCE).map(get).collect();
        let waits = || progress(0).map_err(ended("receive", self.shown(key)));
        while let Some(answer) = self.run_while(on_their_way.next(), &waits)? {
            let (range, bytes) = answer.map_err(|cause| self.failed("read", key, &cause))?;
            if bytes.len() as u64 != range.end - range.start {
                return Err(self.cut_off(key, range.end - range.start, bytes.len()));
            }
            if let Some(range) = ranges.next() {
                on_their_way.push_back(get(range));
            }
            write(&bytes)?;
            progress(bytes.len() as u64).map_err(ended("receive", self.shown(key)))?;
        }
        Ok(())
    }

    /// Waits for a request of content, and calls `waits` each second meanwhile. Its error ends the request.
    pub(super) fn run_while<T: Send>(
        &self,
        request: impl Future<Output = T> + Send,
        waits: &dyn Fn() -> Result<()>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut request = pin!(request);
        loop {
            let answer = self.block_on(async { tokio::time::timeout(WAIT_SLICE, request.as_mut()).await });
            match answer {
                Ok(answer) => return Ok(answer),
                Err(_) => waits()?,
            }
            self.say_wait(begun, REQUEST_TIMEOUT);
            if self.is_stopped() {
                return Err(self.failed("wait for", "", &given_up(ErrorKind::Interrupted)));
            }
        }
    }

    /// Compares what the store says of an object with what was sent.
    pub(crate) fn check_stored(&self, key: &str, size: u64) -> Result<()> {
        let reason = match self.size(key)? {
            Some(found) if found == size => return Ok(()),
            Some(found) => format!("{size} bytes were sent, and the store has {found}"),
            None => "it was sent, and the store does not have it".to_owned(),
        };
        Err(self.failure("write", key, MirrorFailure::Failed, reason))
    }
}

/// The error for a transfer that its caller has ended.
fn ended(action: &'static str, object: String) -> impl FnOnce(io::Error) -> Error {
    Error::io(action, object)
}
