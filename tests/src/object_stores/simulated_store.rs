//! A store in memory whose operations fail by chance. All chance comes from one seed, time passes only where
//! a fault says so, and operations are counted: so a history repeats itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};
use parking_lot::Mutex;

use super::faults::{Fault, FaultRates};
use crate::random::SplitMix64;

/// What is done at an operation, before it: another writer's work.
pub type Hook = Box<dyn FnOnce() + Send>;

pub(super) struct State {
    random: SplitMix64,
    rates: FaultRates,
    now: Timestamp,
    modified: BTreeMap<Path, Timestamp>,
    pub(super) late: Vec<Late>,
    /// What late deletions have deleted.
    pub(super) deleted_late: Vec<String>,
    /// Operations of all clients.
    pub(super) operations: u64,
    /// Each operation with its fault.
    history: Vec<String>,
    /// The bytes of all answers.
    bytes_read: u64,
}

/// A write or a deletion that is done later.
pub(super) struct Late {
    pub(super) at: u64,
    pub(super) path: Path,
    /// What is written. `None` for a deletion.
    pub(super) put: Option<(PutPayload, PutMode)>,
}

/// A store with a clock. [`SimulatedStore::client`] is how a process reaches it.
#[derive(Clone)]
pub struct SimulatedStore {
    pub(super) inner: Arc<InMemory>,
    pub(super) state: Arc<Mutex<State>>,
}

/// A process's connection. It ends when the process is killed.
pub struct SimulatedClient {
    store: SimulatedStore,
    has_faults: bool,
    /// The operations that are left until the process is killed.
    left: Arc<Mutex<Option<u64>>>,
    /// The operation of this client at which something else happens first.
    hook: Arc<Mutex<Option<(u64, Hook)>>>,
}

impl SimulatedStore {
    /// An empty store.
    ///
    /// # Panics
    ///
    /// Never: the time is valid.
    #[must_use]
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        let state = State {
            random: SplitMix64::new(seed),
            rates,
            now: Timestamp::constant(1_800_000_000, 0),
            modified: BTreeMap::new(),
            late: Vec::new(),
            deleted_late: Vec::new(),
            operations: 0,
            history: Vec::new(),
            bytes_read: 0,
        };
        Self { inner: Arc::default(), state: Arc::new(Mutex::new(state)) }
    }

    /// A process that is never killed, and whose operations do not fail: for looking.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.connect(false, None, None))
    }

    /// A process, which is killed after this many operations, and at one of whose operations something else
    /// happens first.
    #[must_use]
    pub fn client(&self, killed_after: Option<u64>, hook: Option<(u64, Hook)>) -> Arc<dyn ObjectStore> {
        Arc::new(self.connect(true, killed_after, hook))
    }

    fn connect(&self, has_faults: bool, left: Option<u64>, hook: Option<(u64, Hook)>) -> SimulatedClient {
        let (left, hook) = (Arc::new(Mutex::new(left)), Arc::new(Mutex::new(hook)));
        SimulatedClient { store: self.clone(), has_faults, left, hook }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    /// Lets time pass.
    pub fn pass(&self, time: SignedDuration) {
        let mut state = self.state.lock();
        state.now += time;
    }

    /// From now on no operation fails, and those that are late are done.
    pub fn calm(&self) {
        self.state.lock().rates = FaultRates::default();
        self.do_late(u64::MAX);
    }

    /// Each operation so far with its fault.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        self.state.lock().history.clone()
    }

    /// How many bytes were read from it.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().bytes_read
    }

    /// Writes at once: the store in memory never waits.
    pub(super) fn put_now(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = futures_util::FutureExt::now_or_never(self.inner.put_opts(path, payload, options));
        let put = put.unwrap_or_else(|| Err(lost("put")))?;
        let mut state = self.state.lock();
        let now = state.now;
        state.modified.insert(path.clone(), now);
        Ok(put)
    }

    fn with_time(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let state = self.state.lock();
        let modified = state.modified.get(&meta.location).copied().unwrap_or(state.now);
        meta.last_modified = std::time::SystemTime::from(modified).into();
        meta
    }
}

pub(super) fn lost(what: &str) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::ConnectionReset, format!("simulated: {what}"));
    Error::Generic { store: "simulated", source: Box::new(source) }
}

impl SimulatedClient {
    /// The next operation: what it meets, and a number for truncation.
    fn begin(&self, name: &str, path: &Path) -> Result<(Fault, u64)> {
        let hook = {
            let mut hook = self.hook.lock();
            match hook.as_mut() {
                Some((0, _)) => hook.take(),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, work)) = hook {
            work();
        }
        if let Some(left) = self.left.lock().as_mut() {
            *left = left.checked_sub(1).ok_or_else(|| lost("the process is dead"))?;
        }
        if !self.has_faults {
            return Ok((Fault::None, 0));
        }
        let (fault, number, operation) = {
            let mut state = self.store.state.lock();
            state.operations += 1;
            let rates = state.rates;
            let fault = rates.draw(&mut state.random);
            let number = state.random.next_u64();
            let is_late = name == "delete" && number % 1000 < rates.late_deletions;
            let fault = match fault {
                Fault::None if is_late => Fault::Late(1 + number % 40),
                fault => fault,
            };
            if let Fault::Delay(time) = fault {
                state.now += time;
            }
            state.history.push(format!("{name} {path} {fault:?}"));
            (fault, number, state.operations)
        };
        self.store.do_late(operation);
        match fault {
            Fault::Before => Err(lost("before")),
            fault => Ok((fault, number)),
        }
    }

    fn end<T>(fault: Fault, answer: T) -> Result<T> {
        if fault == Fault::After { Err(lost("after")) } else { Ok(answer) }
    }

    fn write(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
        fault: Fault,
        number: u64,
    ) -> Result<PutResult> {
        match fault {
            Fault::Late(after) => Err(self.store.later(after, path, Some((payload, options.mode)))),
            Fault::Truncated => {
                let bytes: Vec<u8> = payload.iter().flat_map(|piece| piece.iter().copied()).collect();
                let length = (number % (bytes.len() as u64).max(1)) as usize;
                self.store.put_now(path, PutPayload::from(bytes[..length].to_vec()), options)
            }
            fault => Self::end(fault, self.store.put_now(path, payload, options)?),
        }
    }
}

impl fmt::Display for SimulatedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedClient")
    }
}

impl fmt::Debug for SimulatedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedClient")
    }
}

#[async_trait]
impl ObjectStore for SimulatedClient {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (fault, number) = self.begin("put", path)?;
        self.write(path, payload, options, fault, number)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (fault, _) = self.begin("begin parts", path)?;
        let (left, hook) = (Arc::clone(&self.left), Arc::clone(&self.hook));
        let client = Self { store: self.store.clone(), has_faults: self.has_faults, left, hook };
        Self::end(fault, Box::new(Parts { client, path: path.clone(), parts: Vec::new() }) as _)
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let (fault, number) = self.begin(if options.head { "head" } else { "get" }, path)?;
        let is_head = options.head;
        let mut answer = self.store.inner.get_opts(path, options).await?;
        answer.meta = self.store.with_time(answer.meta);
        if !is_head {
            self.store.state.lock().bytes_read += answer.range.end - answer.range.start;
        }
        if fault == Fault::Truncated && !is_head {
            let (meta, range, attributes) =
                (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
            let bytes = answer.bytes().await?;
            let length = (number % (bytes.len() as u64).max(1)) as usize;
            let payload =
                GetResultPayload::Stream(stream::once(async move { Ok(bytes.slice(..length)) }).boxed());
            return Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() });
        }
        Self::end(fault, answer)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let paths: Vec<Result<Path>> =
            futures_util::FutureExt::now_or_never(locations.collect()).unwrap_or_default();
        let deleted: Vec<Result<Path>> = paths
            .into_iter()
            .map(|path| {
                let path = path?;
                let (fault, _) = self.begin("delete", &path)?;
                if let Fault::Late(after) = fault {
                    return Err(self.store.later(after, &path, None));
                }
                let done = futures_util::FutureExt::now_or_never(self.store.inner.delete(&path));
                done.unwrap_or_else(|| Err(lost("delete")))?;
                Self::end(fault, path)
            })
            .collect();
        stream::iter(deleted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let begun = self.begin("list", prefix.unwrap_or(&Path::default()));
        let fault = match begun {
            Ok((fault, _)) => fault,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let store = self.store.clone();
        let listed = self.store.inner.list(prefix).map_ok(move |meta| store.with_time(meta));
        match fault {
            Fault::After => listed.chain(stream::once(async { Err(lost("after")) })).boxed(),
            _ => listed.boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (fault, _) = self.begin("list", prefix.unwrap_or(&Path::default()))?;
        Self::end(fault, self.store.inner.list_with_delimiter(prefix).await?)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (fault, _) = self.begin("copy", to)?;
        self.store.inner.copy_opts(from, to, options).await?;
        Self::end(fault, ())
    }
}

/// An upload in parts, which are put together when it is completed.
#[derive(Debug)]
struct Parts {
    client: SimulatedClient,
    path: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let begun = self.client.begin("part", &self.path);
        self.parts.push(data);
        let outcome = match begun {
            Ok((Fault::After | Fault::Late(_), _)) => Err(lost("after")),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        Box::pin(async move { outcome })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (fault, number) = self.client.begin("complete", &self.path)?;
        let payload: PutPayload = self.parts.iter().flat_map(|part| part.iter().cloned()).collect();
        self.client.write(&self.path, payload, PutOptions::default(), fault, number)
    }

    async fn abort(&mut self) -> Result<()> {
        self.client.begin("abort", &self.path).map(drop)
    }
}
