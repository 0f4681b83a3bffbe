//! The tenants of the process, each with its own store, queries and counts.
//!
//! ```text
//! request ─► key ─► Caller::tenant ─► Tenants::find ─► Tenant: store, queries, destination, routes
//! ```
//!
//! Owns which tenants are open and the parts of each. The parts of a tenant know no other tenant:
//! they have one store, so that no query, id or cursor can reach the rows of another. `default` is
//! always open and has the data directory itself. The others have `tenants/<name>/` in it, and are
//! opened at the start or with their first request. Does not own keys (`tidings_access`) or the
//! division of what all of them share ([`division`]).

mod division;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use axum::Router;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use tidings_access::{AccessError, AccessPolicy, Caller, KeyRing, TenantName};
use tidings_apis::zipkin_router;
use tidings_collector::{Destination, DestinationError, Destinations};
use tidings_query::{QueryLimits, QueryService};
use tidings_storage::{Clock, Recovery, StorageError, Store};

use division::divided;
pub(crate) use division::{folders, possible, settings_of};

use crate::{health::Health, settings::Settings};

/// Time after which a store that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The alarm about tenants whose stores could not be opened.
const NOT_OPENED: &str = "a tenant's store cannot be opened: its requests are refused, and try again \
                          to open it";
/// The alarm about tenants that are not served.
const NO_ROOM: &str = "there is no room for a tenant, whose requests are refused: raise tenants-max, \
                       or memory-bytes-max, which has room for a request of http-body-bytes-max of \
                       each";
/// Maximum time that a request waits for its tenant's store to be opened.
const OPEN_WAIT: Duration = Duration::from_secs(5);

/// One tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: TenantName,
    pub(crate) store: Store,
    pub(crate) query: QueryService,
    /// The sink of its records, which counts them.
    pub(crate) destination: Arc<Destination>,
    /// The routes of Zipkin's read API.
    pub(crate) zipkin: Router,
    /// Set when the process answers requests.
    api: OnceLock<TenantApi>,
}

/// The HTTP address's part of a tenant.
pub(crate) struct TenantApi {
    pub(crate) router: Router,
    /// Reports "not ready" from now on and ends demo traffic.
    pub(crate) drain: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl fmt::Debug for TenantApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantApi").field("router", &self.router).finish_non_exhaustive()
    }
}

/// Makes a tenant's part of the HTTP address.
pub(crate) type ApiBuilder = Box<dyn Fn(&Tenant) -> TenantApi + Send + Sync>;

/// The open tenants. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Tenants(Arc<OpenTenants>);

struct OpenTenants {
    default: Arc<Tenant>,
    others: RwLock<BTreeMap<TenantName, Arc<Tenant>>>,
    /// Serialises opening: each opened store changes the shares of all.
    opening: tokio::sync::Mutex<()>,
    failed: Mutex<FailedOpens>,
    /// Stores that are being opened and that requests wait for.
    awaited: Mutex<BTreeMap<TenantName, AwaitedTenant>>,
    /// Tenants for which there is no room.
    unserved: Mutex<BTreeSet<TenantName>>,
    is_closed: AtomicBool,
    settings: Settings,
    /// The keys; `None` where no keys are required, so that there are no other tenants.
    ring: Option<Arc<KeyRing>>,
    health: Health,
    clock: Arc<dyn Clock>,
    builder: OnceLock<ApiBuilder>,
}

impl fmt::Debug for OpenTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("others", &self.others).finish_non_exhaustive()
    }
}

/// The stores that could not be opened, with the time and error of the last try.
type FailedOpens = BTreeMap<TenantName, (Instant, Arc<StorageError>)>;

/// A tenant whose store is being opened.
type AwaitedTenant = Shared<BoxFuture<'static, Result<Arc<Tenant>, DestinationError>>>;

fn closed() -> DestinationError {
    DestinationError::Storage(Arc::new(StorageError::Closed))
}

impl Tenant {
    fn new(name: TenantName, store: Store, query: QueryService) -> Arc<Self> {
        let destination = Arc::new(Destination::new(Arc::new(store.clone())));
        let (zipkin, api) = (zipkin_router(query.clone()), OnceLock::new());
        Arc::new(Self { name, store, query, destination, zipkin, api })
    }
}

impl Tenants {
    /// Opens the store of `default`, and those of the tenants that a folder or a key names. Where
    /// these are more than `tenants-max`, those with a folder come first, and the others are an
    /// alarm. Stores that cannot be opened, such as a damaged one, are alarms as well.
    ///
    /// # Errors
    /// Fails if the store of `default` cannot be opened, or if these settings fit no store.
    pub(crate) async fn open(
        settings: &Settings,
        access: &AccessPolicy,
        health: &Health,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let ring = access.ring().map(Arc::clone);
        let found = folders(&settings.store.data_dir)?;
        let named = ring.as_ref().map(|ring| ring.tenants()).unwrap_or_default();
        let names = match ring {
            Some(_) => without_default(&found, &named),
            None => Vec::new(),
        };
        let (names, unserved) = names.split_at(names.len().min(possible(settings) - 1));
        let count = names.len() + 1;
        let opened = divided(settings.store.clone(), count);
        let (store, recovery) = Store::open(opened, Arc::clone(clock)).await?;
        let default = TenantName::default();
        tell_opened(&default, settings, &recovery);
        health.add_store(&default, &store);
        if ring.is_none() && !found.is_empty() {
            tracing::warn!(
                tenants = found.len(),
                "nobody is asked for a key, so the tenants in tenants/ are neither served nor \
                 looked after: set require-keys"
            );
        }
        let query = QueryService::with_limits(
            store.clone(),
            settings.query.clone(),
            settings.memory.map_or_else(QueryLimits::default, QueryLimits::within),
            Arc::clone(clock),
        );
        let tenants = Self(Arc::new(OpenTenants {
            default: Tenant::new(default, store, query),
            others: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            awaited: Mutex::default(),
            unserved: Mutex::default(),
            is_closed: AtomicBool::new(false),
            settings: settings.clone(),
            ring,
            health: health.clone(),
            clock: Arc::clone(clock),
            builder: OnceLock::new(),
        }));
        for name in names {
            tenants.open_early(name, count).await?;
        }
        tenants.divide(tenants.all().len());
        for name in unserved {
            tenants.note_unserved(name);
        }
        let asked = Arc::downgrade(&tenants.0);
        health.add_alarm(move || asked.upgrade()?.unserved_alarm());
        let asked = Arc::downgrade(&tenants.0);
        health.add_alarm(move || asked.upgrade()?.failed_alarm());
        Ok(tenants)
    }

    /// Returns the tenant of requests without a key.
    pub(crate) fn default_tenant(&self) -> &Arc<Tenant> {
        &self.0.default
    }

    /// Returns a tenant, and opens it when its first key was made since the start.
    ///
    /// # Errors
    /// Fails if no key names it, or if its store cannot be opened.
    pub(crate) async fn find(&self, name: &TenantName) -> Result<Arc<Tenant>, DestinationError> {
        if let Some(tenant) = self.opened(name) {
            return Ok(tenant);
        }
        let ring = self.0.ring.as_ref();
        if !ring.is_some_and(|ring| ring.tenants().contains(name)) {
            return Err(AccessError::UnknownTenant { tenant: name.clone() }.into());
        }
        tokio::select! {
            opened = self.await_store(name) => opened,
            () = self.0.clock.sleep(OPEN_WAIT) => Err(DestinationError::Opening),
        }
    }

    /// Opens a tenant's store for all who wait for it, in a task of its own: opening must not stop
    /// halfway when a caller goes away.
    fn await_store(&self, name: &TenantName) -> AwaitedTenant {
        let mut awaited = self.0.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let (tenants, name) = (self.clone(), name.clone());
            let opening = tokio::spawn(async move {
                let opened = tenants.open_late(&name).await;
                let awaited = tenants.0.awaited.lock();
                awaited.unwrap_or_else(PoisonError::into_inner).remove(&name);
                opened
            });
            opening.map(|opened| opened.unwrap_or_else(|_| Err(closed()))).boxed().shared()
        };
        awaited.entry(name.clone()).or_insert_with(begin).clone()
    }

    /// Returns a tenant's routes at the HTTP address.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) async fn router(&self, name: &TenantName) -> Result<Router, DestinationError> {
        let tenant = self.find(name).await?;
        let api = tenant.api.get().map(|api| api.router.clone());
        api.ok_or(DestinationError::Opening)
    }

    /// Gives every tenant its part of the HTTP address, from now on.
    pub(crate) fn serve(&self, builder: ApiBuilder) {
        let builder = self.0.builder.get_or_init(|| builder);
        for tenant in self.all() {
            tenant.api.get_or_init(|| builder(&tenant));
        }
    }

    /// Returns every open tenant.
    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        let others = self.0.others.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.0.default).chain(others.values()).map(Arc::clone).collect()
    }

    /// Reports "not ready" from now on and ends demo traffic.
    pub(crate) async fn drain(&self) {
        let tenants = self.all();
        let parts = tenants.iter().filter_map(|tenant| tenant.api.get());
        join_all(parts.map(|api| (api.drain)())).await;
    }

    /// Ends every tail and every wait for a version.
    pub(crate) fn end_waits(&self) {
        self.all().iter().for_each(|tenant| tenant.query.end_waits());
    }

    /// Closes every store, and opens none from now on.
    ///
    /// # Errors
    /// Returns the error of the first store whose last flush failed; its log has everything.
    pub(crate) async fn close(&self) -> Result<(), StorageError> {
        self.0.is_closed.store(true, Relaxed);
        let tenants = self.all();
        let closed = join_all(tenants.iter().map(|tenant| tenant.store.close())).await;
        closed.into_iter().collect()
    }

    fn opened(&self, name: &TenantName) -> Option<Arc<Tenant>> {
        if name.is_default() {
            return Some(Arc::clone(&self.0.default));
        }
        let others = self.0.others.read().unwrap_or_else(PoisonError::into_inner);
        others.get(name).map(Arc::clone)
    }

    /// Opens a tenant's store at the start, as one of `count`. Other tenants are served even if it
    /// cannot be opened.
    async fn open_early(&self, name: &TenantName, count: usize) -> Result<(), StorageError> {
        match self.open_store(name.clone(), count).await {
            Ok(_) => Ok(()),
            Err(StorageError::Closed) => Err(StorageError::Closed),
            Err(error) => {
                self.note_failed(name, error);
                Ok(())
            }
        }
    }

    /// Opens a tenant's store while others are in use.
    async fn open_late(&self, name: &TenantName) -> Result<Arc<Tenant>, DestinationError> {
        let _turn = self.0.opening.lock().await;
        if let Some(tenant) = self.opened(name) {
            return Ok(tenant);
        }
        let now = self.0.clock.instant();
        if let Some((time, error)) = self.0.failed().get(name)
            && now.saturating_duration_since(*time) < RETRY
        {
            return Err(DestinationError::Storage(Arc::clone(error)));
        }
        let before = self.all().len();
        match self.open_store(name.clone(), before + 1).await {
            Ok(tenant) => {
                self.0.failed().remove(name);
                Ok(tenant)
            }
            Err(error) => {
                self.divide(before);
                Err(DestinationError::Storage(self.note_failed(name, error)))
            }
        }
    }

    /// Raises an alarm for a tenant whose store cannot be opened, until it can be.
    fn note_failed(&self, name: &TenantName, error: StorageError) -> Arc<StorageError> {
        tracing::error!(tenant = %name, %error, "a tenant's store cannot be opened");
        let error = Arc::new(error);
        let failure = (self.0.clock.instant(), Arc::clone(&error));
        self.0.failed().insert(name.clone(), failure);
        error
    }

    /// Opens a tenant's store as one of `count`.
    async fn open_store(
        &self,
        name: TenantName,
        count: usize,
    ) -> Result<Arc<Tenant>, StorageError> {
        let inner = &self.0;
        let possible = possible(&inner.settings);
        if count > possible {
            self.note_unserved(&name);
            let reason = format!("{possible} tenants are possible");
            return Err(StorageError::Refused { at: name.to_string(), reason });
        }
        let settings = settings_of(&inner.settings, &name)?;
        // The other stores shrink first, so that no more memory than the budget is ever in use.
        self.divide(count);
        let opened = divided(settings.store.clone(), count);
        let (store, recovery) = Store::open(opened, Arc::clone(&inner.clock)).await?;
        tell_opened(&name, &settings, &recovery);
        let query = inner.default.query.with_shared_permits(store.clone());
        let tenant = Tenant::new(name.clone(), store.clone(), query);
        if self.insert(name, Arc::clone(&tenant)) {
            inner.default.query.halve_permits();
        }
        if inner.is_closed.load(Relaxed) {
            store.close().await?;
            return Err(StorageError::Closed);
        }
        inner.health.add_store(&tenant.name, &store);
        // This comes after the tenant is listed: whoever sets the builder goes through that list
        // afterwards.
        if let Some(builder) = inner.builder.get() {
            tenant.api.get_or_init(|| builder(&tenant));
        }
        Ok(tenant)
    }

    /// Raises an alarm for a tenant for which there is no room.
    fn note_unserved(&self, name: &TenantName) {
        let mut unserved = self.0.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        if unserved.insert(name.clone()) {
            tracing::error!(tenant = %name, possible = possible(&self.0.settings), "{NO_ROOM}");
        }
    }

    /// Lists a tenant as open. Returns true for the first one beside the default tenant.
    fn insert(&self, name: TenantName, tenant: Arc<Tenant>) -> bool {
        let mut others = self.0.others.write().unwrap_or_else(PoisonError::into_inner);
        let is_first = others.is_empty();
        others.insert(name, tenant);
        is_first
    }

    /// Divides the memory of stores among this many.
    fn divide(&self, count: usize) {
        let share = divided(self.0.settings.store.clone(), count).memory();
        self.all().iter().for_each(|tenant| tenant.store.set_memory(share));
    }
}

impl OpenTenants {
    fn failed(&self) -> MutexGuard<'_, FailedOpens> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the alarm about tenants without room that a key or a folder still names.
    fn unserved_alarm(&self) -> Option<String> {
        let mut unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        let named = self.named()?;
        unserved.retain(named);
        counted(NO_ROOM, unserved.len())
    }

    /// Returns the alarm about stores that could not be opened and that a key or a folder still
    /// names.
    fn failed_alarm(&self) -> Option<String> {
        let unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (named, mut failed) = (self.named()?, self.failed());
        failed.retain(|name, _| named(name));
        counted(NOT_OPENED, failed.keys().filter(|name| !unserved.contains(name)).count())
    }

    /// Returns a test for names that a key or a folder has.
    fn named(&self) -> Option<impl Fn(&TenantName) -> bool> {
        let named = self.ring.as_ref()?.tenants();
        let has_folder = |name: &TenantName| {
            settings_of(&self.settings, name).is_ok_and(|of| of.store.data_dir.is_dir())
        };
        Some(move |name: &TenantName| named.contains(name) || has_folder(name))
    }
}

/// Words an alarm about a number of tenants, without their names.
fn counted(alarm: &str, tenants: usize) -> Option<String> {
    (tenants > 0).then(|| format!("{alarm} (tenants: {tenants}; the log names them)"))
}

/// Returns the tenants other than the default one, those that have a folder first.
fn without_default(with_folder: &[TenantName], named: &BTreeSet<TenantName>) -> Vec<TenantName> {
    let with_folder: BTreeSet<_> = with_folder.iter().filter(|name| !name.is_default()).collect();
    let others = named.iter().filter(|name| !name.is_default() && !with_folder.contains(name));
    with_folder.iter().copied().chain(others).cloned().collect()
}

fn tell_opened(name: &TenantName, settings: &Settings, recovery: &Recovery) {
    tracing::info!(
        tenant = %name,
        data_dir = %settings.store.data_dir.display(),
        replayed_records = recovery.replayed_records,
        torn_bytes = recovery.torn_bytes,
        quarantined_files = recovery.quarantined.len(),
        memory = settings.memory,
        "store opened"
    );
}

impl Destinations for Tenants {
    fn common(&self) -> &Arc<Destination> {
        &self.0.default.destination
    }

    fn destination_of<'a>(
        &'a self,
        caller: &'a Caller,
    ) -> BoxFuture<'a, Result<Arc<Destination>, DestinationError>> {
        Box::pin(async {
            let tenant = self.find(caller.tenant()).await?;
            Ok(Arc::clone(&tenant.destination))
        })
    }
}
