//! Authentication of people and machines by an issuer: [OpenID
//! Connect](https://openid.net/specs/openid-connect-core-1_0.html) and signed tokens.
//!
//! Owns the issuer's description and signing keys, which are read again at intervals, and the cache
//! of verified tokens. Does not own sessions ([`crate::session`]) and cookies, which the HTTP
//! address writes. Keys of this server stay valid when the issuer cannot be reached.
//!
//! ```text
//! Bearer header.claims.signature ─► Jws ─► KeySet::verify ─► Claims ─► Identity ─► Caller
//! browser ─► authorize ─► Ticket in a cookie ─► issuer ─► complete (code, PKCE) ─► Identity ─► session
//! ```

mod claims;
mod code_flow;
mod ended_subjects;
mod endpoints;
mod jws;
mod key_set;
mod roles;
mod ticket;
mod token_cache;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tidings_storage::Clock;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use self::{
    ended_subjects::EndedSubjects, endpoints::Endpoints, ticket::Seal, token_cache::TokenCache,
};
use crate::{
    caller::Caller,
    error::{AccessError, TokenError},
    key::KeyId,
    sign_in_shares::SignInShares,
    tenant::TenantName,
};

pub(crate) use claims::ExpectedClaims;
pub use claims::Identity;
pub(crate) use code_flow::{RENEWAL_AHEAD, Renewal, may_pass};
pub use code_flow::{SignInAnswer, SignInError, SignInStart, SignedIn};
pub use endpoints::{ClientSecret, IssuerError, IssuerUrl};
pub(crate) use endpoints::{Description, IssuedTokens};
pub(crate) use jws::{Jws, is_token};
pub(crate) use key_set::KeySet;
pub use roles::RoleMapping;
pub use ticket::TICKET_AGE;

/// Interval between two reads of an issuer's description and keys.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Delay before an issuer that did not answer is asked again, doubled each time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Minimum time between two reads of the keys that tokens with an unknown key cause.
const DEMAND_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of concurrent exchanges of refresh tokens. Only people who are signed in cause
/// them.
const RENEWALS_MAX: usize = 16;

/// Settings of an issuer.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Its address.
    pub issuer: IssuerUrl,
    /// The client id of this server; `None` disables the sign-in of people.
    pub client_id: Option<String>,
    /// The secret of that client, if it has one.
    pub client_secret: Option<ClientSecret>,
    /// The requested scopes; `openid` is requested in any case.
    pub scopes: Vec<String>,
    /// The claim that gives roles, and the role of each of its values.
    pub roles: RoleMapping,
    /// The claim that names tenants; `None` assigns all people and machines to `default`.
    pub tenant_claim: Option<String>,
    /// The audiences of which tokens of machines need one. If empty, such tokens are refused.
    pub audiences: Vec<String>,
    /// The name of the issuer on the sign-in button.
    pub name: String,
    /// A PEM file with additional root certificates.
    pub roots: Option<PathBuf>,
}

impl OidcSettings {
    fn tenant_claim(&self) -> Option<&str> {
        self.tenant_claim.as_deref()
    }
}

/// An issuer.
#[derive(Debug)]
pub struct Issuer {
    settings: OidcSettings,
    endpoints: Endpoints,
    clock: Arc<dyn Clock>,
    published: RwLock<Option<Arc<IssuerMetadata>>>,
    /// Held during a request to the issuer, so that concurrent callers share one.
    asking: AsyncMutex<LastDemand>,
    /// The fault of the last request, which is logged once.
    fault: Mutex<Option<String>>,
    tokens: TokenCache,
    ended: EndedSubjects,
    seal: Seal,
    sign_ins: SignInShares,
    renewals: Semaphore,
}

/// The description and keys that an issuer publishes.
#[derive(Debug)]
struct IssuerMetadata {
    description: Description,
    keys: KeySet,
}

/// The end of the last request to the issuer that a token caused.
#[derive(Debug, Default)]
struct LastDemand(Option<Instant>);

impl Issuer {
    /// Prepares requests to an issuer without sending one. Reads the trusted root certificates;
    /// blocks.
    ///
    /// # Errors
    /// When the roots cannot be read.
    pub fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let endpoints = Endpoints::new(
            settings.issuer.clone(),
            settings.client_id.clone().unwrap_or_default(),
            settings.client_secret.clone(),
            settings.roots.as_ref(),
        )?;
        Ok(Self {
            endpoints,
            settings,
            clock,
            published: RwLock::default(),
            asking: AsyncMutex::default(),
            fault: Mutex::default(),
            tokens: TokenCache::default(),
            ended: EndedSubjects::default(),
            seal: Seal::new().ok_or("the system gives no random numbers")?,
            sign_ins: SignInShares::default(),
            renewals: Semaphore::new(RENEWALS_MAX),
        })
    }

    /// Returns the name of the issuer, if people can sign in.
    #[must_use]
    pub fn sign_in_name(&self) -> Option<&str> {
        self.settings.client_id.as_ref().map(|_| self.settings.name.as_str())
    }

    /// Returns the fault of the last request to the issuer, if it failed.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the issuer's description and keys at intervals, without end.
    pub async fn follow(self: Arc<Self>) {
        let mut retry = RETRY_INTERVAL;
        loop {
            let asked = self.asking.lock().await;
            let answered = self.ask().await;
            drop(asked);
            let wait = if answered { REFRESH_INTERVAL } else { retry };
            retry = if answered { RETRY_INTERVAL } else { (retry * 2).min(RETRY_INTERVAL_MAX) };
            self.clock.sleep(wait).await;
        }
    }

    /// Verifies a token and returns its caller.
    ///
    /// # Errors
    /// When the token is not valid here, or the issuer's keys have not been read yet.
    pub(crate) fn find(&self, text: &str) -> Result<Caller, AccessError> {
        let now = self.clock.now();
        if let Some(key) = self.tokens.get(text, now) {
            return Ok(Caller::new(key, now));
        }
        let token = self.read(text)?;
        let published = self.published().ok_or(AccessError::IssuerUnavailable)?;
        published.keys.verify(&token).map_err(AccessError::Token)?;
        let tenant_claim = self.settings.tenant_claim();
        let identity = token.claims.identity(&self.settings.roles, tenant_claim);
        let identity = identity.map_err(AccessError::Token)?;
        let record = identity.record(&self.settings, now)?;
        if self.ended.includes(&record, token.claims.issued()) {
            return Err(AccessError::Token(TokenError::Ended));
        }
        Ok(Caller::new(self.tokens.insert(text, record, now), now))
    }

    /// Refuses tokens that a subject was issued up to now; only those of the tenant, if one is
    /// given. Returns the number of those that were in use.
    pub(crate) fn end_tokens(&self, subject: KeyId, tenant: Option<&TenantName>) -> usize {
        // This comes first, because a concurrent request may add the token to the cache again.
        self.ended.insert(subject, tenant.cloned(), self.clock.now());
        self.tokens.drop_of(subject, tenant)
    }

    /// Reads the keys again if a token is signed with an unknown one, so that [`Issuer::find`] can
    /// decide.
    ///
    /// # Errors
    /// When [`Issuer::find`] could not decide now, because the issuer did not answer or was asked a
    /// moment ago.
    pub(crate) async fn learn(&self, text: &str) -> Result<(), AccessError> {
        if self.tokens.get(text, self.clock.now()).is_some() {
            return Ok(());
        }
        // Tokens that are refused for their claims cause no request.
        let Ok(token) = self.read(text) else { return Ok(()) };
        if self.knows_key_of(&token) { Ok(()) } else { self.ask_about(&token).await }
    }

    fn knows_key_of(&self, token: &Jws<'_>) -> bool {
        let published = self.published();
        published.is_some_and(|published| published.keys.knows_key_of(token))
    }

    /// Reads the keys again because of this token, at most once in [`DEMAND_INTERVAL`].
    ///
    /// # Errors
    /// When the issuer did not answer, or was asked a moment ago.
    async fn ask_about(&self, token: &Jws<'_>) -> Result<(), AccessError> {
        let mut asked = self.asking.lock().await;
        // Another caller may have read the keys while this one waited for the lock.
        if self.knows_key_of(token) {
            return Ok(());
        }
        let now = self.clock.instant();
        let is_recent = |last: Instant| now.saturating_duration_since(last) < DEMAND_INTERVAL;
        if asked.0.is_some_and(is_recent) {
            return Err(AccessError::IssuerUnavailable);
        }
        let is_answered = self.ask().await;
        // The interval begins at the end of the request, so that callers that waited for a slow
        // issuer do not ask it again.
        asked.0 = Some(self.clock.instant());
        if is_answered { Ok(()) } else { Err(AccessError::IssuerUnavailable) }
    }

    /// Parses a machine's token and checks all but its signature.
    fn read<'a>(&self, text: &'a str) -> Result<Jws<'a>, AccessError> {
        if self.settings.audiences.is_empty() {
            return Err(AccessError::NoTokens);
        }
        let token = Jws::read(text).map_err(AccessError::Token)?;
        let checked = token.claims.check(self.expected(&self.settings.audiences));
        checked.map_err(AccessError::Token)?;
        Ok(token)
    }

    fn expected<'a>(&'a self, audiences: &'a [String]) -> ExpectedClaims<'a> {
        let (issuer, now) = (self.settings.issuer.as_str(), self.clock.now());
        ExpectedClaims { issuer, audiences, now }
    }

    fn published(&self) -> Option<Arc<IssuerMetadata>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests the description and the keys. Returns whether the issuer answered.
    async fn ask(&self) -> bool {
        let answer = async {
            let description = self.endpoints.describe().await?;
            let keys = self.endpoints.keys(&description).await?;
            Ok::<_, IssuerError>(IssuerMetadata { description, keys })
        };
        let fault = match answer.await {
            Ok(published) => {
                self.publish(published);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let mut before = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let issuer = self.settings.issuer.as_str();
        match &fault {
            Some(error) if *before != fault => {
                tracing::error!(issuer, %error, "the issuer cannot be used; its last known keys stay valid");
            }
            None if before.is_some() => tracing::info!(issuer, "the issuer can be used again"),
            _ => {}
        }
        let answered = fault.is_none();
        *before = fault;
        answered
    }

    fn publish(&self, published: IssuerMetadata) {
        let mut before = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let has_lost_keys =
            before.as_ref().is_some_and(|before| !published.keys.includes(&before.keys));
        *before = Some(Arc::new(published));
        drop(before);
        if has_lost_keys {
            // A key that is no longer published may have been stolen, so the cached tokens are
            // verified again.
            self.tokens.clear();
        }
    }
}
