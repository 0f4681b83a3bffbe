//! Quotas of clients, and the quota of the answer bytes that they have not read yet.
//!
//! A client may hold at most [`QUOTA_RATIO`] times the bytes that stay free, and so may a tenant
//! when there are several: one client three quarters, each of two clients three sevenths. So some
//! bytes are free for the next client, however slowly others read. Owns the counts. Does not own
//! the time that an answer may take, which its connection owns.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Maximum ratio of the bytes of a client, or of a tenant, to the bytes that stay free.
const QUOTA_RATIO: u64 = 3;
/// Granularity of the accounting, so that many small answers count too.
const GRANULARITY_BYTES: u64 = 1 << 10;

/// The client of a request: its key, or its address when no key is required. A request extension;
/// requests without it share one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Creates the client of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

/// Reports whether this amount is within the quota of one client when this much stays free.
pub(crate) fn is_within_quota(amount: u64, free: u64) -> bool {
    amount <= free.saturating_mul(QUOTA_RATIO)
}

/// Number of a tenant, whose answers are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantNumber(u32);

impl TenantNumber {
    /// The number of the first tenant.
    pub const FIRST: Self = Self(0);
}

/// The quota of bytes of unread answers, by client and by tenant.
#[derive(Debug)]
pub struct UnreadQuota {
    bytes_max: u64,
    tenants: AtomicU32,
    counts: Mutex<QuotaUsage>,
}

#[derive(Debug, Default)]
struct QuotaUsage {
    total: u64,
    by_client: HashMap<ClientId, u64>,
    by_tenant: HashMap<TenantNumber, u64>,
}

impl UnreadQuota {
    /// Creates a quota of this many bytes for one tenant.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, tenants: AtomicU32::new(1), counts: Mutex::default() })
    }

    /// Adds a tenant and returns its number.
    pub(crate) fn add_tenant(&self) -> TenantNumber {
        TenantNumber(self.tenants.fetch_add(1, Relaxed))
    }

    /// The maximum bytes of a single client without others, which is the longest answer.
    pub(crate) fn client_bytes_max(bytes_max: u64) -> u64 {
        bytes_max / (QUOTA_RATIO + 1) * QUOTA_RATIO
    }

    /// Reserves this many bytes; returns `None` when the client, or its tenant, would exceed its
    /// quota.
    #[must_use]
    pub fn try_reserve(
        self: &Arc<Self>,
        tenant: TenantNumber,
        client: &ClientId,
        bytes: u64,
    ) -> Option<UnreadReservation> {
        let bytes = bytes.div_ceil(GRANULARITY_BYTES).saturating_mul(GRANULARITY_BYTES);
        let mut counts = self.counts();
        let free = self.bytes_max.checked_sub(counts.total)?.checked_sub(bytes)?;
        let of_client = counts.by_client.get(client).copied().unwrap_or_default();
        let of_tenant = counts.by_tenant.get(&tenant).copied().unwrap_or_default();
        let is_divided = self.tenants.load(Relaxed) > 1;
        let held = if is_divided { of_client.max(of_tenant) } else { of_client };
        if bytes > 0 && !is_within_quota(held.saturating_add(bytes), free) {
            return None;
        }
        counts.total += bytes;
        *counts.by_client.entry(client.clone()).or_default() += bytes;
        *counts.by_tenant.entry(tenant).or_default() += bytes;
        drop(counts);
        Some(UnreadReservation { quota: Arc::clone(self), tenant, client: client.clone(), bytes })
    }

    fn counts(&self) -> MutexGuard<'_, QuotaUsage> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reserved bytes of one answer, released on drop.
pub struct UnreadReservation {
    quota: Arc<UnreadQuota>,
    tenant: TenantNumber,
    client: ClientId,
    bytes: u64,
}

impl fmt::Debug for UnreadReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadReservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for UnreadReservation {
    fn drop(&mut self) {
        let mut counts = self.quota.counts();
        counts.total = counts.total.saturating_sub(self.bytes);
        release(&mut counts.by_client, &self.client, self.bytes);
        release(&mut counts.by_tenant, &self.tenant, self.bytes);
    }
}

fn release<K: Hash + Eq>(counts: &mut HashMap<K, u64>, of: &K, bytes: u64) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(bytes);
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientId, TenantNumber, UnreadQuota, UnreadReservation};

    const KIB: u64 = 1 << 10;

    /// Takes one KiB at a time until the budget refuses.
    fn reserve_all(
        quota: &std::sync::Arc<UnreadQuota>,
        tenant: TenantNumber,
        client: &ClientId,
    ) -> Vec<UnreadReservation> {
        std::iter::from_fn(|| quota.try_reserve(tenant, client, 1)).collect()
    }

    #[test]
    fn no_client_exhausts_the_quota() {
        let quota = UnreadQuota::new(1000 * KIB);
        let clients = ["a", "b", "c", "d"].map(ClientId::new);
        let taken = clients.each_ref().map(|id| reserve_all(&quota, TenantNumber::FIRST, id));
        assert_eq!(taken.each_ref().map(Vec::len), [750, 187, 47, 12]);
        drop(taken);
        assert_eq!(reserve_all(&quota, TenantNumber::FIRST, &clients[3]).len(), 750);
        assert!(quota.counts().by_client.is_empty() && quota.counts().total == 0);
    }

    #[test]
    fn tenants_with_many_clients_leave_bytes_for_another_tenant() {
        let quota = UnreadQuota::new(1000 * KIB);
        let others = [quota.add_tenant(), quota.add_tenant()];
        let mut taken = Vec::new();
        for client in 0..100 {
            for tenant in [TenantNumber::FIRST, others[0]] {
                let client = ClientId::new(format!("{client} of {tenant:?}"));
                taken.extend(reserve_all(&quota, tenant, &client));
            }
        }
        assert!(
            quota.try_reserve(others[1], &ClientId::new("quiet"), 40 * KIB).is_some(),
            "{taken:?}"
        );
    }

    #[test]
    fn one_answer_is_within_the_quota_of_one_client() {
        let quota = UnreadQuota::new(1000 * KIB);
        let longest = UnreadQuota::client_bytes_max(1000 * KIB);
        let try_reserve =
            |bytes| quota.try_reserve(TenantNumber::FIRST, &ClientId::default(), bytes);
        assert!(try_reserve(longest + 1).is_none());
        let taken = try_reserve(longest);
        assert!(taken.is_some());
        assert!(
            try_reserve(1).is_none() && try_reserve(0).is_some(),
            "an empty answer always fits"
        );
    }
}
