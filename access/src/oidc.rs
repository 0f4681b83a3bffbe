//! People and machines by the word of an issuer: [OpenID
//! Connect](https://openid.net/specs/openid-connect-core-1_0.html) and tokens that are signed.
//!
//! Owns the issuer's description and keys, which are read again from time to time, and the tokens
//! that were found good. Does not own sessions ([`crate::session`]) nor cookies, which the HTTP
//! address writes. An issuer that cannot be reached keeps nobody out who has a key.
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
    caller::Caller, error::AccessError, key::KeyId, sign_in_shares::SignInShares,
    tenant::TenantName,
};

pub(crate) use claims::Expected;
pub use claims::{Identity, TokenError};
pub(crate) use code_flow::{RENEWAL_AHEAD, Renewal, may_pass};
pub use code_flow::{SignInAnswer, SignInError, SignInStart, SignedIn};
pub use endpoints::{ClientSecret, IssuerError, IssuerUrl};
pub(crate) use endpoints::{Description, IssuedTokens};
pub(crate) use jws::{Jws, is_token};
pub(crate) use key_set::KeySet;
pub use roles::RoleMapping;
pub use ticket::TICKET_AGE;

/// The description and the keys of an issuer are read again after this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The time before the next try at an issuer that gave no answer, doubled each time.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Tokens with a key that is not known make the keys be read again, at most once in this time.
const DEMAND_INTERVAL: Duration = Duration::from_secs(10);
/// Exchanges of refresh tokens at a time, which only people who are signed in ask for.
const RENEWALS_MAX: usize = 16;

/// The setup of an issuer.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// Its address.
    pub issuer: IssuerUrl,
    /// The name that it knows this server by; `None`: people do not sign in.
    pub client_id: Option<String>,
    /// The secret of that client, if it has one.
    pub client_secret: Option<ClientSecret>,
    /// The scopes that are asked for; `openid` is always one of them.
    pub scopes: Vec<String>,
    /// The claim with roles, and the roles of its values.
    pub roles: RoleMapping,
    /// The claim with the tenants of its people and machines; `None`: all belong to `default`.
    pub tenant_claim: Option<String>,
    /// The audiences of which tokens of machines need one; empty: they are not taken.
    pub audiences: Vec<String>,
    /// A name of the issuer, for the button to sign in.
    pub name: String,
    /// A file with more roots in PEM.
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
    published: RwLock<Option<Arc<Published>>>,
    /// Held while it is asked, so that it is asked once by all who wait.
    asking: AsyncMutex<LastDemand>,
    /// The fault of the last time, which is logged once.
    fault: Mutex<Option<String>>,
    tokens: TokenCache,
    ended: EndedSubjects,
    seal: Seal,
    sign_ins: SignInShares,
    renewals: Semaphore,
}

/// Whatever an issuer publishes.
#[derive(Debug)]
struct Published {
    description: Description,
    keys: KeySet,
}

/// The last time that it was asked because of a token.
#[derive(Debug, Default)]
struct LastDemand(Option<Instant>);

impl Issuer {
    /// Prepares to ask an issuer, without asking it. Reads the trusted roots; blocks.
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

    /// Returns its name, where people can sign in.
    #[must_use]
    pub fn sign_in_name(&self) -> Option<&str> {
        self.settings.client_id.as_ref().map(|_| self.settings.name.as_str())
    }

    /// Returns the reason that it could not be asked the last time.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads its description and its keys for ever.
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

    /// Finds out whose token this is.
    ///
    /// # Errors
    /// When the token is not good here, or its issuer has not told its keys yet.
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

    /// Refuses the tokens that a subject has been issued up to now; of its tenant only, if one is
    /// given. Returns the number of those in use.
    pub(crate) fn end_tokens(&self, subject: KeyId, tenant: Option<&TenantName>) -> usize {
        // First: a request beside this one may bring the token again.
        self.ended.insert(subject, tenant.cloned(), self.clock.now());
        self.tokens.drop_of(subject, tenant)
    }

    /// Reads the keys again where a token is of a key that is not known, so that [`Issuer::find`]
    /// can decide.
    ///
    /// # Errors
    /// When it cannot decide now: the issuer gave no answer, or was asked a moment ago.
    pub(crate) async fn learn(&self, text: &str) -> Result<(), AccessError> {
        if self.tokens.get(text, self.clock.now()).is_some() {
            return Ok(());
        }
        // Tokens that are refused for their claims ask for nothing.
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
    /// When the issuer gave no answer, or was asked a moment ago.
    async fn ask_about(&self, token: &Jws<'_>) -> Result<(), AccessError> {
        let mut asked = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if self.knows_key_of(token) {
            return Ok(());
        }
        let now = self.clock.instant();
        let is_recent = |last: Instant| now.saturating_duration_since(last) < DEMAND_INTERVAL;
        if asked.0.is_some_and(is_recent) {
            return Err(AccessError::IssuerUnavailable);
        }
        let is_answered = self.ask().await;
        // From its end on: whoever waits for a slow issuer does not ask it again.
        asked.0 = Some(self.clock.instant());
        if is_answered { Ok(()) } else { Err(AccessError::IssuerUnavailable) }
    }

    /// Reads a machine's token and checks what can be checked without a key.
    fn read<'a>(&self, text: &'a str) -> Result<Jws<'a>, AccessError> {
        if self.settings.audiences.is_empty() {
            return Err(AccessError::NoTokens);
        }
        let token = Jws::read(text).map_err(AccessError::Token)?;
        let checked = token.claims.check(self.expected(&self.settings.audiences));
        checked.map_err(AccessError::Token)?;
        Ok(token)
    }

    fn expected<'a>(&'a self, audiences: &'a [String]) -> Expected<'a> {
        let (issuer, now) = (self.settings.issuer.as_str(), self.clock.now());
        Expected { issuer, audiences, now }
    }

    fn published(&self) -> Option<Arc<Published>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the description and the keys; returns whether it answered.
    async fn ask(&self) -> bool {
        let answer = async {
            let description = self.endpoints.describe().await?;
            let keys = self.endpoints.keys(&description).await?;
            Ok::<_, IssuerError>(Published { description, keys })
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
                tracing::error!(issuer, %error, "the issuer cannot be used; keys count as before");
            }
            None if before.is_some() => tracing::info!(issuer, "the issuer can be used again"),
            _ => {}
        }
        let answered = fault.is_none();
        *before = fault;
        answered
    }

    fn publish(&self, published: Published) {
        let mut before = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let has_lost_keys =
            before.as_ref().is_some_and(|before| !published.keys.includes(&before.keys));
        *before = Some(Arc::new(published));
        drop(before);
        if has_lost_keys {
            // A key that is gone may have been stolen: what it signed is looked at again.
            self.tokens.clear();
        }
    }
}
