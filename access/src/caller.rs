//! The key of a request, with counts of its use.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tidings_proto::{
    UnixNanos,
    api::{AuditActor, AuditActorKind},
};
use tokio::sync::watch;

use crate::{
    error::AccessError,
    key::{KeyId, KeyRecord},
    rate::KeyBuckets,
    role::Role,
    tenant::{ChosenTenant, TenantName},
};

/// A key in use.
#[derive(Debug)]
pub(crate) struct LiveKey {
    pub(crate) record: KeyRecord,
    pub(crate) revocation: EndSignal,
    buckets: KeyBuckets,
    uses: UseCounters,
}

/// Signals the end of a key or a session to all tasks that wait for it.
#[derive(Debug, Default)]
pub(crate) struct EndSignal(watch::Sender<bool>);

impl EndSignal {
    pub(crate) fn send(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_sent(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the signal is sent.
    async fn sent(&self) {
        // The error case cannot occur: `self` owns the sender.
        let _ = self.0.subscribe().wait_for(|is_sent| *is_sent).await;
    }
}

#[derive(Debug, Default)]
struct UseCounters {
    requests: AtomicU64,
    refused: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    last_used: AtomicU64,
}

/// Counts of the use of a key since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUses {
    /// Requests that were admitted.
    pub requests: u64,
    /// Requests that were refused: for a role, a service or a tenant that the key does not have, or
    /// for a limit that is used up.
    pub refused: u64,
    /// Spans and log records that were stored.
    pub records: u64,
    /// Bytes of request bodies, decompressed, those of refused requests included.
    pub bytes: u64,
    /// The time of the last request; `None` before the first.
    pub last_used: Option<UnixNanos>,
}

impl LiveKey {
    pub(crate) fn new(record: KeyRecord) -> Self {
        let buckets = KeyBuckets::new(&record);
        Self { record, buckets, revocation: EndSignal::default(), uses: UseCounters::default() }
    }

    pub(crate) fn uses(&self) -> KeyUses {
        let UseCounters { requests, refused, records, bytes, last_used } = &self.uses;
        let last_used = last_used.load(Relaxed);
        KeyUses {
            requests: requests.load(Relaxed),
            refused: refused.load(Relaxed),
            records: records.load(Relaxed),
            bytes: bytes.load(Relaxed),
            last_used: (last_used > 0).then_some(UnixNanos(last_used)),
        }
    }
}

/// The sender of a request: a known key that has not expired, and the tenant that the request
/// chooses if it is not the key's.
#[derive(Debug, Clone)]
pub struct Caller {
    key: Arc<LiveKey>,
    chosen_tenant: Option<TenantName>,
    /// The end of the session, for a request that has a session in place of the key.
    session_end: Option<Arc<EndSignal>>,
}

impl Caller {
    /// Makes a caller of a key that was just verified.
    pub(crate) fn new(key: Arc<LiveKey>, now: UnixNanos) -> Self {
        key.uses.last_used.store(now.0, Relaxed);
        Self { key, chosen_tenant: None, session_end: None }
    }

    /// Binds the caller to a session: it is live only as long as the session.
    pub(crate) fn by_session(self, session_end: Arc<EndSignal>) -> Self {
        Self { session_end: Some(session_end), ..self }
    }

    /// Admits a request that needs this role, and counts it against the key's limits.
    ///
    /// # Errors
    /// `Role` when the key's role does not include the needed one, `Limit` when one of its limits
    /// is used up. A refused request counts against no limit.
    pub(crate) fn demand(&self, needed: Role, now: Instant) -> Result<(), AccessError> {
        let record = &self.key.record;
        let name = || record.name.clone();
        let admitted = if record.role.includes(needed) {
            let admitted = self.key.buckets.admit(now);
            admitted.map_err(|(limit, wait)| AccessError::over_limit(name(), limit, wait))
        } else {
            Err(AccessError::Role { name: name(), role: record.role, needed })
        };
        match &admitted {
            Ok(()) => drop(self.key.uses.requests.fetch_add(1, Relaxed)),
            Err(_) => self.count_refusal(),
        }
        admitted
    }

    /// Returns the key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key.record.id
    }

    /// Returns the key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.record.name
    }

    /// Returns the key's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.key.record.role
    }

    /// Returns the author of its requests, for the audit log.
    #[must_use]
    pub fn actor(&self) -> AuditActor {
        let record = &self.key.record;
        AuditActor {
            kind: AuditActorKind::Key,
            id: Some(record.id.to_string()),
            name: Some(record.name.clone()),
        }
    }

    /// Returns the tenant of the request. The request has access to no other.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        self.chosen_tenant.as_ref().unwrap_or(&self.key.record.tenant)
    }

    /// Returns the name of [`Self::tenant`], unless it is `default`, for the audit log.
    #[must_use]
    pub fn named_tenant(&self) -> Option<String> {
        (!self.tenant().is_default()).then(|| self.tenant().to_string())
    }

    /// Returns whether the key belongs to `default` and administers every tenant.
    #[must_use]
    pub fn governs_tenants(&self) -> bool {
        self.key.record.role == Role::Admin && self.key.record.tenant.is_default()
    }

    /// Sets the tenant that the request chooses.
    ///
    /// # Errors
    /// When the key may not use the tenant. Does not check that the tenant exists.
    pub(crate) fn choose(self, chosen: ChosenTenant) -> Result<Self, AccessError> {
        match chosen {
            ChosenTenant::OfKey => Ok(self),
            ChosenTenant::Named(tenant) if self.may_use(&tenant) => {
                Ok(Self { chosen_tenant: Some(tenant), ..self })
            }
            ChosenTenant::Named(_) | ChosenTenant::Unusable => {
                self.count_refusal();
                Err(AccessError::Tenant { name: self.key.record.name.clone() })
            }
        }
    }

    /// Returns whether the key belongs to this tenant or may choose it.
    #[must_use]
    pub fn may_use(&self, tenant: &TenantName) -> bool {
        let record = &self.key.record;
        // An admin of another tenant must not choose `default`: it would administer all tenants.
        let is_choice = !(tenant.is_default() && record.role == Role::Admin);
        let may_choose = is_choice && record.tenants.contains(tenant);
        record.tenant == *tenant || may_choose || self.governs_tenants()
    }

    /// Returns the one service whose telemetry the key may send, if there is one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.key.record.service.as_deref()
    }

    /// Returns whether the key may still be used: it was not revoked, has not expired, and the
    /// session in place of it has not ended.
    #[must_use]
    pub fn is_live(&self, now: UnixNanos) -> bool {
        let has_ended = self.session_end.as_ref().is_some_and(|end| end.is_sent());
        !has_ended && !self.key.revocation.is_sent() && !self.key.record.has_expired(now)
    }

    /// Resolves when the key is revoked, or when the session in place of it ends.
    pub(crate) async fn revoked(&self) {
        let session_end = async {
            match &self.session_end {
                Some(end) => end.sent().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.key.revocation.sent() => {}
            () = session_end => {}
        }
    }

    /// Counts the decompressed bytes of a body against the key's limits.
    pub fn charge(&self, bytes: u64, now: Instant) {
        self.key.uses.bytes.fetch_add(bytes, Relaxed);
        self.key.buckets.charge(bytes, now);
    }

    /// Counts spans or log records that were stored.
    pub fn count_records(&self, count: u64) {
        self.key.uses.records.fetch_add(count, Relaxed);
    }

    /// Counts a request that was refused because the key does not allow it.
    pub fn count_refusal(&self) {
        self.key.uses.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn key(&self) -> &Arc<LiveKey> {
        &self.key
    }
}
