//! Accounting of the answer bytes that clients have not read yet.
//!
//! A client may hold at most [`SHARE`] times the bytes that stay free, and so may a tenant when
//! there are several: one client three quarters, each of two clients three sevenths. So some bytes
//! are free for the next client, however slowly others read. Owns the counts. Does not own the time
//! that an answer may take, which its connection owns.

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
const SHARE: u64 = 3;
/// Granularity of the accounting, so that many small answers count too.
const PIECE_BYTES: u64 = 1 << 10;

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

/// Reports whether this amount is within the share of one client when this much stays free.
pub(crate) fn is_within_share(amount: u64, free: u64) -> bool {
    amount <= free.saturating_mul(SHARE)
}

/// Number of a tenant, whose answers are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TenantNumber(u32);

impl TenantNumber {
    /// The number of the first tenant.
    pub(crate) const FIRST: Self = Self(0);
}

/// The budget of bytes of unread answers.
#[derive(Debug)]
pub(crate) struct AnswerShares {
    bytes_max: u64,
    tenants: AtomicU32,
    counts: Mutex<ShareCounts>,
}

#[derive(Debug, Default)]
struct ShareCounts {
    total: u64,
    by_client: HashMap<ClientId, u64>,
    by_tenant: HashMap<TenantNumber, u64>,
}

impl AnswerShares {
    /// Creates a budget of this many bytes for one tenant.
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, tenants: AtomicU32::new(1), counts: Mutex::default() })
    }

    /// Adds a tenant and returns its number.
    pub(crate) fn add_tenant(&self) -> TenantNumber {
        TenantNumber(self.tenants.fetch_add(1, Relaxed))
    }

    /// The maximum bytes of a single client without others, which is the longest answer.
    pub(crate) fn share_max(bytes_max: u64) -> u64 {
        bytes_max / (SHARE + 1) * SHARE
    }

    /// Reserves this many bytes; returns `None` when the client, or its tenant, would exceed its
    /// share.
    pub(crate) fn take(
        self: &Arc<Self>,
        tenant: TenantNumber,
        client: &ClientId,
        bytes: u64,
    ) -> Option<AnswerShare> {
        let bytes = bytes.div_ceil(PIECE_BYTES).saturating_mul(PIECE_BYTES);
        let mut counts = self.counts();
        let free = self.bytes_max.checked_sub(counts.total)?.checked_sub(bytes)?;
        let of_client = counts.by_client.get(client).copied().unwrap_or_default();
        let of_tenant = counts.by_tenant.get(&tenant).copied().unwrap_or_default();
        let is_divided = self.tenants.load(Relaxed) > 1;
        let had = if is_divided { of_client.max(of_tenant) } else { of_client };
        if bytes > 0 && !is_within_share(had.saturating_add(bytes), free) {
            return None;
        }
        counts.total += bytes;
        *counts.by_client.entry(client.clone()).or_default() += bytes;
        *counts.by_tenant.entry(tenant).or_default() += bytes;
        drop(counts);
        Some(AnswerShare { shares: Arc::clone(self), tenant, client: client.clone(), bytes })
    }

    fn counts(&self) -> MutexGuard<'_, ShareCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of one answer, released on drop.
pub(crate) struct AnswerShare {
    shares: Arc<AnswerShares>,
    tenant: TenantNumber,
    client: ClientId,
    bytes: u64,
}

impl fmt::Debug for AnswerShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerShare").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for AnswerShare {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        counts.total = counts.total.saturating_sub(self.bytes);
        give_back(&mut counts.by_client, &self.client, self.bytes);
        give_back(&mut counts.by_tenant, &self.tenant, self.bytes);
    }
}

fn give_back<K: Hash + Eq>(counts: &mut HashMap<K, u64>, of: &K, bytes: u64) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(bytes);
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerShare, AnswerShares, ClientId, TenantNumber};

    const KIB: u64 = 1 << 10;

    /// Takes one KiB at a time until the budget refuses.
    fn take_all(
        shares: &std::sync::Arc<AnswerShares>,
        tenant: TenantNumber,
        client: &ClientId,
    ) -> Vec<AnswerShare> {
        std::iter::from_fn(|| shares.take(tenant, client, 1)).collect()
    }

    #[test]
    fn no_client_keeps_others_out() {
        let shares = AnswerShares::new(1000 * KIB);
        let clients = ["a", "b", "c", "d"].map(ClientId::new);
        let taken = clients.each_ref().map(|id| take_all(&shares, TenantNumber::FIRST, id));
        assert_eq!(taken.each_ref().map(Vec::len), [750, 187, 47, 12]);
        drop(taken);
        assert_eq!(take_all(&shares, TenantNumber::FIRST, &clients[3]).len(), 750);
        assert!(shares.counts().by_client.is_empty() && shares.counts().total == 0);
    }

    #[test]
    fn no_tenants_together_keep_another_out_with_however_many_clients() {
        let shares = AnswerShares::new(1000 * KIB);
        let others = [shares.add_tenant(), shares.add_tenant()];
        let mut taken = Vec::new();
        for client in 0..100 {
            for tenant in [TenantNumber::FIRST, others[0]] {
                let client = ClientId::new(format!("{client} of {tenant:?}"));
                taken.extend(take_all(&shares, tenant, &client));
            }
        }
        assert!(shares.take(others[1], &ClientId::new("quiet"), 40 * KIB).is_some(), "{taken:?}");
    }

    #[test]
    fn one_answer_has_no_more_than_the_share_of_one_client() {
        let shares = AnswerShares::new(1000 * KIB);
        let longest = AnswerShares::share_max(1000 * KIB);
        let take = |bytes| shares.take(TenantNumber::FIRST, &ClientId::default(), bytes);
        assert!(take(longest + 1).is_none());
        let taken = take(longest);
        assert!(taken.is_some());
        assert!(take(1).is_none() && take(0).is_some(), "what has no bytes always fits");
    }
}
