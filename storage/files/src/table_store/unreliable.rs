//! An object store for tests, which fails in the ways that networks and busy stores do.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use tokio::sync::Notify;

use crate::ObjectStoreSettings;

pub(super) const AT: &str = "s3://bucket/some/where";

/// Returns settings of an object store with these options.
pub fn remote(options: &[(&str, &str)]) -> ObjectStoreSettings {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ObjectStoreSettings {
        address: AT.parse().expect("invariant: an address of S3"),
        options: options.collect(),
        allow_http: false,
        cache_bytes_max: 1 << 20,
    }
}

/// Kind of failure of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFault {
    /// The request has no effect.
    Refused,
    /// The request has its effect, and its answer is lost.
    Lost,
    /// The request seems to fail, and has its effect just before the next put.
    Late,
    /// This request and all later ones have no effect.
    Down,
    /// This request and the given number of later ones have no effect.
    Outage(u64),
    /// The request lets other work run first.
    Slow,
}

impl RequestFault {
    /// The faults of one request, and the permanent outage.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Lost, Self::Late, Self::Down];
}

/// Permanent defect of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreDefect {
    /// The condition of a put is ignored.
    IgnoresConditions,
    /// Objects are missing from listings.
    ListsNothing,
}

/// An unreliable object store: see the module's description. Clones share it. The default is an
/// empty store without defects or planned faults.
#[derive(Debug, Clone, Default)]
pub struct UnreliableStore {
    objects: Arc<InMemory>,
    plan: Arc<Mutex<FaultPlan>>,
    let_go: Arc<Notify>,
}

#[derive(Debug, Default)]
struct FaultPlan {
    requests: u64,
    bytes_read: u64,
    fail_at: Option<(u64, RequestFault)>,
    troubles: u64,
    flaw: Option<StoreDefect>,
    late: Vec<(Path, PutPayload, PutOptions)>,
    /// Text that a request's description must contain to be held.
    hold: Option<&'static str>,
    /// Number of requests held.
    held: u64,
}

impl UnreliableStore {
    /// Creates an empty store with this permanent defect.
    pub fn with(flaw: StoreDefect) -> Self {
        let store = Self::default();
        store.plan().flaw = Some(flaw);
        store
    }

    /// Makes the n-th request from now on fail (1 is the next).
    pub fn fail(&self, nth: u64, trouble: RequestFault) {
        let mut plan = self.plan();
        plan.fail_at = Some((plan.requests + nth, trouble));
    }

    /// Cancels planned faults. Returns the number of faults since the last call.
    pub fn heal(&self) -> u64 {
        let mut plan = self.plan();
        plan.fail_at = None;
        std::mem::take(&mut plan.troubles)
    }

    /// Runs `work` with the planned faults suspended.
    pub fn without_faults<T>(&self, work: impl FnOnce() -> T) -> T {
        let planned = self.plan().fail_at.take();
        let done = work();
        self.plan().fail_at = planned;
        done
    }

    /// Holds lists and puts whose description (`list` or `put`, and the path) contains this text,
    /// from now on. `None` releases them.
    pub fn hold(&self, words: Option<&'static str>) {
        self.plan().hold = words;
        self.let_go.notify_waiters();
    }

    /// Returns the number of requests held.
    pub fn held(&self) -> u64 {
        self.plan().held
    }

    async fn pass(&self, words: String) {
        loop {
            let let_go = self.let_go.notified();
            if !self.plan().hold.is_some_and(|part| words.contains(part)) {
                return;
            }
            self.plan().held += 1;
            let_go.await;
            self.plan().held -= 1;
        }
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> u64 {
        self.plan().requests
    }

    /// Returns the bytes of objects that were requested so far.
    pub fn bytes_read(&self) -> u64 {
        self.plan().bytes_read
    }

    /// Returns the stored objects, without injected faults.
    pub fn objects(&self) -> &InMemory {
        &self.objects
    }

    fn plan(&self) -> MutexGuard<'_, FaultPlan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> Option<RequestFault> {
        let mut plan = self.plan();
        plan.requests += 1;
        let (at, trouble) = plan.fail_at?;
        let last = match trouble {
            RequestFault::Down => u64::MAX,
            RequestFault::Outage(requests) => at + requests,
            _ => at,
        };
        let hit = (at..=last).contains(&plan.requests);
        plan.troubles += u64::from(hit);
        hit.then_some(trouble)
    }

    /// Counts a read. A read has no effect that could be lost or late.
    async fn read(&self) -> Result<()> {
        match self.trouble() {
            None => Ok(()),
            Some(RequestFault::Slow) => {
                be_slow().await;
                Ok(())
            }
            Some(_) => Err(no_answer()),
        }
    }
}

async fn be_slow() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn no_answer() -> Error {
    Error::Generic { store: "unreliable store", source: "503 SlowDown".into() }
}

impl fmt::Display for UnreliableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreliable store")
    }
}

#[async_trait]
impl ObjectStore for UnreliableStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        self.pass(format!("put {location}")).await;
        let (trouble, late) = (self.trouble(), std::mem::take(&mut self.plan().late));
        for (location, payload, options) in late {
            let _ = self.objects.put_opts(&location, payload, options).await;
        }
        if self.plan().flaw == Some(StoreDefect::IgnoresConditions) {
            options.mode = PutMode::Overwrite;
        }
        match trouble {
            None => self.objects.put_opts(location, payload, options).await,
            Some(RequestFault::Lost) => {
                let _ = self.objects.put_opts(location, payload, options).await;
                Err(no_answer())
            }
            Some(RequestFault::Late) => {
                self.plan().late.push((location.clone(), payload, options));
                Err(no_answer())
            }
            Some(RequestFault::Slow) => {
                be_slow().await;
                self.objects.put_opts(location, payload, options).await
            }
            Some(RequestFault::Refused | RequestFault::Down | RequestFault::Outage(_)) => {
                Err(no_answer())
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.read().await?;
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read().await?;
        let got = self.objects.get_opts(location, options).await?;
        self.plan().bytes_read += got.range.end - got.range.start;
        Ok(got)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let (location, trouble) = (location?, store.trouble());
                if trouble == Some(RequestFault::Slow) {
                    be_slow().await;
                }
                let is_done =
                    matches!(trouble, None | Some(RequestFault::Lost | RequestFault::Slow));
                if is_done {
                    let one = stream::once(std::future::ready(Ok(location.clone()))).boxed();
                    store.objects.delete_stream(one).try_collect::<Vec<_>>().await?;
                }
                match trouble {
                    None | Some(RequestFault::Slow) => Ok(location),
                    Some(_) => Err(no_answer()),
                }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = match self.plan().flaw {
            Some(StoreDefect::ListsNothing) => stream::empty().boxed(),
            _ => self.objects.list(prefix),
        };
        let store = self.clone();
        let begun = async move { store.read().await.map(|()| listed) };
        stream::once(begun).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.pass(format!("list {}", prefix.map_or("", Path::as_ref))).await;
        self.read().await?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.read().await?;
        self.objects.copy_opts(from, to, options).await
    }
}
