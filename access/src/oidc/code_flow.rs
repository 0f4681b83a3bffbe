//! The sign-in of a person: the authorization code flow with PKCE, and the renewal of what it gave.
//!
//! ```text
//! authorize ─► the issuer's page ─► complete: ticket, state, code ─► token endpoint ─► ID token
//! ```
//!
//! The ID token comes from the issuer itself, over TLS, and its signature is verified all the same.
//! Owns what a sign-in has to prove. Does not own cookies and sessions.

use std::fmt;

use http::StatusCode;
use thiserror::Error;
use tidings_proto::UnixNanos;
use url::Url;

use super::{
    Identity, Issuer, IssuerError, TokenError, endpoints::IssuedTokens, jws::Jws, ticket::Ticket,
};
use crate::{error::AccessError, key::KeyRecord};

/// The longest answer of an issuer in an address.
const ANSWER_BYTES_MAX: usize = 4096;
/// A longer ID token is not kept: it would not fit into the address of the issuer's sign-out.
const HINT_BYTES_MAX: usize = 4096;

/// The reason that somebody could not sign in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignInError {
    /// Another browser's answer, an old one, or one that nobody asked for.
    #[error("the sign-in was begun in another browser or tab, or more than ten minutes ago")]
    NotBegun,
    /// The issuer's answer is not in the form of one.
    #[error("the issuer's answer has no code")]
    NoCode,
    /// The issuer said no, with its words.
    #[error("the issuer let nobody in: {0}")]
    Denied(String),
    /// The issuer cannot be asked.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// Too many sign-ins at a time, or the issuer has not answered yet.
    #[error("signing in is not possible now: try again in a moment")]
    Unavailable,
    /// The issuer's token is not good.
    #[error("the issuer's token is refused: {0}")]
    Token(#[from] TokenError),
    /// The person has no role here.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl SignInError {
    /// Returns the status of the answer.
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

/// The beginning of a sign-in.
pub struct SignInStart {
    /// The issuer's page, to which the browser is sent.
    pub location: String,
    /// The ticket, for a cookie.
    pub ticket: String,
}

impl fmt::Debug for SignInStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignInStart")
    }
}

/// The parameters with which an issuer sends a browser back.
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
    /// Reads a query string; what it has besides is left alone, and so is one that is too long.
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

/// A person who has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The path to which the browser goes next.
    pub return_to: String,
    pub(crate) record: KeyRecord,
    pub(crate) renewal: Renewal,
}

/// Whatever of an issuer's tokens a session needs later.
#[derive(Clone)]
pub(crate) struct Renewal {
    subject: String,
    refresh_token: Option<String>,
    /// The ID token, which tells the issuer whose sign-out it is.
    hint: Option<String>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal")
    }
}

impl Issuer {
    /// Begins a sign-in. The issuer sends the browser to `redirect_uri`, which sends it on to the path
    /// `return_to`; a path that is not this server's own is replaced by `/`.
    ///
    /// # Errors
    /// When the issuer has not described itself yet.
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

    /// Completes a sign-in with the issuer's answer and the ticket of the same browser, which asks
    /// from this address.
    ///
    /// # Errors
    /// When they do not belong together, or the issuer's token is not good. `Unavailable` when the
    /// address has too many sign-ins under way, or had too many refused.
    pub async fn complete(
        &self,
        answer: &SignInAnswer,
        ticket: Option<&str>,
        address: &str,
    ) -> Result<SignedIn, SignInError> {
        let ticket = ticket.and_then(|sealed| self.seal.open(sealed, self.clock.now()));
        let ticket = ticket.filter(|ticket| ticket.is_answered_by(&answer.state));
        let ticket = ticket.ok_or(SignInError::NotBegun)?;
        // RFC 9207: an answer of another issuer is not for this one.
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
        let place = self.sign_ins.take_place(address, self.clock.instant());
        let place = place.ok_or(SignInError::Unavailable)?;
        let signed_in = async {
            let issued = self.exchange(&form).await?;
            let (identity, record) = self.person(&issued, Some(&ticket.nonce)).await?;
            Ok::<_, SignInError>((issued, identity, record))
        };
        let (issued, identity, record) = signed_in.await.inspect_err(|_| place.fail())?;
        let renewal = Renewal::new(identity.subject, issued);
        Ok(SignedIn { return_to: ticket.return_to, record, renewal })
    }

    /// Asks for new tokens of somebody whose tokens end.
    ///
    /// # Errors
    /// When the issuer gives none, or they are of somebody else.
    pub(crate) async fn renew(
        &self,
        renewal: &Renewal,
    ) -> Result<(KeyRecord, Renewal), SignInError> {
        let refresh_token = renewal.refresh_token.as_deref().ok_or(SignInError::Unavailable)?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let _place = self.renewals.try_acquire().map_err(|_| SignInError::Unavailable)?;
        let issued = self.exchange(&form).await?;
        let (identity, record) = self.person(&issued, None).await?;
        if identity.subject != renewal.subject {
            return Err(TokenError::Claim("sub").into());
        }
        let next = Renewal::new(identity.subject, issued);
        // An issuer that gives no new refresh token means the one before it.
        let refresh_token = next.refresh_token.clone().or_else(|| renewal.refresh_token.clone());
        Ok((record, Renewal { refresh_token, ..next }))
    }

    /// Returns the issuer's page at which a session ends there as well; `back_to` is this server.
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

    /// Reads who the ID token is of.
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

    /// Verifies a signature; reads the keys again where its key is new.
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

    /// Returns whether the issuer gives new tokens when these end.
    pub(crate) fn is_possible(&self) -> bool {
        self.refresh_token.is_some()
    }
}

/// Returns whether a renewal may succeed at another time.
pub(crate) fn may_pass(error: &SignInError) -> bool {
    match error {
        SignInError::Unavailable | SignInError::Access(AccessError::IssuerUnavailable) => true,
        SignInError::Issuer(error) => !matches!(error, IssuerError::Refused(_)),
        _ => false,
    }
}

/// The time of a token that is left when a session asks for the next one.
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
