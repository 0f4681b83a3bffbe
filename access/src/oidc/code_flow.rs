//! The sign-in of a person: the authorization code flow with PKCE, and the renewal of its tokens.
//!
//! ```text
//! authorize ─► the issuer's page ─► complete: ticket, state, code ─► token endpoint ─► ID token
//! ```
//!
//! The ID token comes from the issuer itself, over TLS; its signature is verified nevertheless.
//! Owns the checks of a sign-in. Does not own cookies and sessions.

use std::fmt;

use http::StatusCode;
use thiserror::Error;
use tidings_proto::UnixNanos;
use url::Url;

use super::{Identity, Issuer, IssuerError, endpoints::IssuedTokens, jws::Jws, ticket::Ticket};
use crate::{
    error::{AccessError, TokenError},
    key::KeyRecord,
};

/// Maximum bytes of a query string with which an issuer answers.
const ANSWER_BYTES_MAX: usize = 4096;
/// Maximum bytes of an ID token that is kept. A longer one would not fit into the URL of the
/// issuer's sign-out.
const HINT_BYTES_MAX: usize = 4096;

/// The reason that a sign-in failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignInError {
    /// The answer belongs to another browser, to an expired sign-in, or to none.
    #[error("the sign-in was begun in another browser or tab, or more than ten minutes ago")]
    NotBegun,
    /// The issuer's answer has no code.
    #[error("the issuer's answer has no code")]
    NoCode,
    /// The issuer denied the sign-in, with this text.
    #[error("the issuer denied the sign-in: {0}")]
    Denied(String),
    /// The issuer cannot be reached, or its answer cannot be used.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// Too many concurrent sign-ins, or the issuer's description has not been read yet.
    #[error("signing in is not possible now: try again in a moment")]
    Unavailable,
    /// The issuer's token is not valid.
    #[error("the issuer's token is refused: {0}")]
    Token(#[from] TokenError),
    /// The person has no role or no tenant here.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl SignInError {
    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotBegun | Self::NoCode => StatusCode::BAD_REQUEST,
            Self::Unavailable | Self::Access(AccessError::IssuerUnavailable) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Denied(_) | Self::Token(_) | Self::Access(_) => StatusCode::FORBIDDEN,
            Self::Issuer(IssuerError::Refused(_)) => StatusCode::FORBIDDEN,
            Self::Issuer(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

/// The start of a sign-in.
pub struct SignInStart {
    /// The issuer's page, to which the browser is redirected.
    pub location: String,
    /// The ticket, for a cookie.
    pub ticket: String,
}

impl fmt::Debug for SignInStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInStart")
    }
}

/// The parameters of the issuer's redirect back to this server.
#[derive(Clone, Default)]
pub struct SignInAnswer {
    state: String,
    code: String,
    error: String,
    description: String,
    issuer: Option<String>,
}

impl fmt::Debug for SignInAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInAnswer")
    }
}

impl SignInAnswer {
    /// Parses a query string. Ignores other parameters, and a string that is too long.
    #[must_use]
    pub fn read(query: &str) -> Self {
        let mut answer = Self::default();
        if query.len() > ANSWER_BYTES_MAX {
            return answer;
        }
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "state" => answer.state = value.into_owned(),
                "code" => answer.code = value.into_owned(),
                "error" => answer.error = value.into_owned(),
                "error_description" => answer.description = value.into_owned(),
                "iss" => answer.issuer = Some(value.into_owned()),
                _ => {}
            }
        }
        answer
    }
}

/// A completed sign-in of a person.
#[derive(Debug)]
pub struct SignedIn {
    /// The path to which the browser goes next.
    pub return_to: String,
    pub(crate) record: KeyRecord,
    pub(crate) renewal: Renewal,
}

/// The parts of an issuer's tokens that a session needs later.
#[derive(Clone)]
pub(crate) struct Renewal {
    subject: String,
    refresh_token: Option<String>,
    /// The ID token, by which the issuer recognises the session at sign-out.
    hint: Option<String>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

impl Issuer {
    /// Begins a sign-in. The issuer redirects the browser to `redirect_uri`, and this server then
    /// to the path `return_to`. A path that may lead to another server is replaced by `/`.
    ///
    /// # Errors
    /// When the issuer's description has not been read yet.
    pub fn authorize(
        &self,
        redirect_uri: &str,
        return_to: &str,
    ) -> Result<SignInStart, SignInError> {
        let client_id = self.settings.client_id.as_deref().ok_or(SignInError::Unavailable)?;
        let published = self.published().ok_or(SignInError::Unavailable)?;
        let ticket = Ticket::new(redirect_uri, return_to, self.clock.now());
        let ticket = ticket.ok_or(SignInError::Unavailable)?;
        let mut location = published.description.authorization_endpoint.clone();
        let scopes = self.settings.scopes.iter().filter(|scope| *scope != "openid");
        let scopes = scopes.fold("openid".to_owned(), |all, scope| format!("{all} {scope}"));
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &scopes)
            .append_pair("state", &ticket.state)
            .append_pair("nonce", &ticket.nonce)
            .append_pair("code_challenge", &ticket.challenge())
            .append_pair("code_challenge_method", "S256");
        let sealed = self.seal.close(&ticket).ok_or(SignInError::Unavailable)?;
        Ok(SignInStart { location: location.into(), ticket: sealed })
    }

    /// Completes a sign-in with the issuer's answer and the ticket of the browser at this address.
    ///
    /// # Errors
    /// When answer and ticket do not match, or the issuer's token is not valid. `Unavailable` when
    /// too many sign-ins are in progress, or the address has too many in progress or had too many
    /// refused.
    pub async fn complete(
        &self,
        answer: &SignInAnswer,
        ticket: Option<&str>,
        address: &str,
    ) -> Result<SignedIn, SignInError> {
        let ticket = ticket.and_then(|sealed| self.seal.open(sealed, self.clock.now()));
        let ticket = ticket.filter(|ticket| ticket.is_answered_by(&answer.state));
        let ticket = ticket.ok_or(SignInError::NotBegun)?;
        // RFC 9207: the answer must come from the issuer that was asked.
        if answer.issuer.as_deref().is_some_and(|issuer| issuer != self.settings.issuer.as_str()) {
            return Err(TokenError::Issuer.into());
        }
        if !answer.error.is_empty() {
            let words = format!("{} {}", answer.error, answer.description);
            let words = words.chars().filter(|sign| !sign.is_control()).take(200);
            return Err(SignInError::Denied(words.collect::<String>().trim().to_owned()));
        }
        if answer.code.is_empty() {
            return Err(SignInError::NoCode);
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", answer.code.as_str()),
            ("redirect_uri", &ticket.redirect_uri),
            ("code_verifier", &ticket.verifier),
        ];
        let permit = self.sign_ins.acquire(address, self.clock.instant());
        let permit = permit.ok_or(SignInError::Unavailable)?;
        let signed_in = async {
            let issued = self.exchange(&form).await?;
            let (identity, record) = self.person(&issued, Some(&ticket.nonce)).await?;
            Ok::<_, SignInError>((issued, identity, record))
        };
        let (issued, identity, record) = signed_in.await.inspect_err(|_| permit.fail())?;
        let renewal = Renewal::new(identity.subject, issued);
        Ok(SignedIn { return_to: ticket.return_to, record, renewal })
    }

    /// Exchanges the refresh token for new tokens of the same subject.
    ///
    /// # Errors
    /// When the issuer gives no tokens, or tokens of another subject.
    pub(crate) async fn renew(
        &self,
        renewal: &Renewal,
    ) -> Result<(KeyRecord, Renewal), SignInError> {
        let refresh_token = renewal.refresh_token.as_deref().ok_or(SignInError::Unavailable)?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let _permit = self.renewals.try_acquire().map_err(|_| SignInError::Unavailable)?;
        let issued = self.exchange(&form).await?;
        let (identity, record) = self.person(&issued, None).await?;
        if identity.subject != renewal.subject {
            return Err(TokenError::Claim("sub").into());
        }
        let next = Renewal::new(identity.subject, issued);
        // Without a new refresh token, the previous one stays valid.
        let refresh_token = next.refresh_token.clone().or_else(|| renewal.refresh_token.clone());
        Ok((record, Renewal { refresh_token, ..next }))
    }

    /// Returns the issuer's sign-out page, which sends the browser back to `back_to`.
    pub(crate) fn end_session(&self, renewal: &Renewal, back_to: &str) -> Option<String> {
        let published = self.published()?;
        let mut location: Url = published.description.end_session_endpoint.clone()?;
        {
            let mut pairs = location.query_pairs_mut();
            if let Some(hint) = &renewal.hint {
                pairs.append_pair("id_token_hint", hint);
            }
            if let Some(client_id) = &self.settings.client_id {
                pairs.append_pair("client_id", client_id);
            }
            pairs.append_pair("post_logout_redirect_uri", back_to);
        }
        Some(location.into())
    }

    async fn exchange(&self, form: &[(&str, &str)]) -> Result<IssuedTokens, SignInError> {
        let published = self.published().ok_or(SignInError::Unavailable)?;
        Ok(self.endpoints.tokens(&published.description, form).await?)
    }

    /// Verifies the ID token and returns its identity and record.
    async fn person(
        &self,
        issued: &IssuedTokens,
        nonce: Option<&str>,
    ) -> Result<(Identity, KeyRecord), SignInError> {
        let client_id = self.settings.client_id.clone().ok_or(SignInError::Unavailable)?;
        let text = issued.id_token.as_deref().ok_or(TokenError::Claim("id_token"))?;
        let token = Jws::read(text)?;
        token.claims.check(self.expected(std::slice::from_ref(&client_id)))?;
        token.claims.check_sign_in(&client_id, nonce)?;
        self.verify(&token).await?;
        let identity = token.claims.identity(&self.settings.roles, self.settings.tenant_claim())?;
        let record = identity.record(&self.settings, self.clock.now())?;
        Ok((identity, record))
    }

    /// Verifies a signature. Reads the keys again if its key is unknown.
    async fn verify(&self, token: &Jws<'_>) -> Result<(), SignInError> {
        if !self.knows_key_of(token) {
            self.ask_about(token).await?;
        }
        let published = self.published().ok_or(SignInError::Unavailable)?;
        Ok(published.keys.verify(token)?)
    }
}

impl Renewal {
    fn new(subject: String, issued: IssuedTokens) -> Self {
        let IssuedTokens { id_token, refresh_token } = issued;
        let is_short = |token: &String| token.len() <= HINT_BYTES_MAX;
        Self {
            subject,
            refresh_token: refresh_token.filter(is_short),
            hint: id_token.filter(is_short),
        }
    }

    /// Returns whether there is a refresh token to renew with.
    pub(crate) fn is_possible(&self) -> bool {
        self.refresh_token.is_some()
    }
}

/// Returns whether a renewal that failed may succeed later.
pub(crate) fn may_pass(error: &SignInError) -> bool {
    match error {
        SignInError::Unavailable | SignInError::Access(AccessError::IssuerUnavailable) => true,
        SignInError::Issuer(error) => !matches!(error, IssuerError::Refused(_)),
        _ => false,
    }
}

/// Remaining lifetime of a token at which a session asks for the next one.
pub(crate) const RENEWAL_AHEAD: UnixNanos = UnixNanos(30_000_000_000);

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::SignInAnswer;

    #[test]
    fn an_answer_is_read_from_a_query_string() {
        let answer = SignInAnswer::read("state=a%20b&code=c+d&x=y&iss=https%3A%2F%2Fi");
        assert_eq!((answer.state.as_str(), answer.code.as_str()), ("a b", "c d"));
        assert_eq!(answer.issuer.as_deref(), Some("https://i"));
        let long = format!("state=a&code={}", "c".repeat(5000));
        assert_eq!(SignInAnswer::read(&long).state, "");
    }

    proptest! {
        #[test]
        fn any_query_string_is_read_without_a_panic(text in any::<String>()) {
            let _ = SignInAnswer::read(&text);
        }
    }
}
