//! HTTP client of an issuer: its description, its keys, and its token endpoint.
//!
//! Owns the bounds of an issuer's answers: size, time, no redirects, and no URL that is less
//! protected than the issuer's own. Does not own the results, which [`super::Issuer`] keeps.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use url::{Host, Url};

use super::key_set::KeySet;

/// Maximum time for an issuer's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of an issuer's answer. A set of 100 keys with certificates fits.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const DISCOVERY: &str = ".well-known/openid-configuration";
/// The names of the endpoints in error messages.
const DESCRIPTION: &str = "the issuer's description";
const TOKENS: &str = "the issuer's token endpoint";
/// Maximum characters of an issuer's text in error messages.
const WORDS_MAX: usize = 200;

/// The URL of an issuer, as its tokens have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl {
    /// The URL as it was configured; it is compared byte by byte.
    text: String,
    url: Url,
}

impl IssuerUrl {
    /// Parses the URL of an issuer.
    ///
    /// # Errors
    /// When the text is not an HTTP URL, or has a user, a query or a fragment.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no issuer as https://login.example/realms/main");
        let url = Url::parse(text).map_err(|_| wrong())?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !is_plain {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// Returns the URL as it was configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns whether the URL uses TLS, or its host is this machine.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        is_protected(&self.url)
    }
}

fn is_protected(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || is_local
}

/// The secret that a client shares with its issuer. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret")
    }
}

/// The reason that a request to an issuer failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuerError {
    /// The answer was missing, late, or too large.
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// The endpoint of the issuer.
        endpoint: &'static str,
        /// The cause.
        reason: String,
    },
    /// The answer is not valid.
    #[error("{endpoint}: {reason}")]
    Answer {
        /// The endpoint of the issuer.
        endpoint: &'static str,
        /// The first fault in the answer.
        reason: String,
    },
    /// The issuer refused the request.
    #[error("the issuer refused: {0}")]
    Refused(String),
}

/// The issuer's description of itself
/// ([OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Description {
    issuer: String,
    pub(crate) authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    pub(crate) end_session_endpoint: Option<Url>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Description {
    /// Parses an issuer's description.
    ///
    /// # Errors
    /// When the answer is not a description, describes another issuer, or has endpoints that are
    /// less protected.
    pub(crate) fn read(bytes: &[u8], issuer: &IssuerUrl) -> Result<Self, IssuerError> {
        let described: Self = parse(DESCRIPTION, bytes)?;
        let wrong = |reason| Err(IssuerError::Answer { endpoint: DESCRIPTION, reason });
        if described.issuer != issuer.text {
            let other = shortened(&described.issuer);
            return wrong(format!("it is of {other}, and oidc-issuer has to be the same"));
        }
        let addresses =
            [&described.authorization_endpoint, &described.token_endpoint, &described.jwks_uri];
        let weaker = addresses.into_iter().chain(&described.end_session_endpoint).find(|url| {
            let is_web = matches!(url.scheme(), "http" | "https");
            !is_web || (issuer.is_protected() && !is_protected(url))
        });
        match weaker {
            Some(url) => wrong(format!("{} is not protected by TLS", shortened(url.as_str()))),
            None => Ok(described),
        }
    }
}

/// The tokens that an issuer gives for a code.
#[derive(Clone, Deserialize)]
pub(crate) struct IssuedTokens {
    pub(crate) id_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct IssuedError {
    error: String,
    error_description: Option<String>,
}

impl IssuedTokens {
    /// Parses an answer of the token endpoint.
    ///
    /// # Errors
    /// When the issuer refused, or the answer has no tokens.
    pub(crate) fn read(status: StatusCode, bytes: &[u8]) -> Result<Self, IssuerError> {
        if status.is_success() {
            return parse(TOKENS, bytes);
        }
        match serde_json::from_slice::<IssuedError>(bytes) {
            Ok(IssuedError { error, error_description }) if status.is_client_error() => {
                let description = error_description.unwrap_or_default();
                Err(IssuerError::Refused(shortened(&format!("{error} {description}"))))
            }
            _ => Err(unexpected(TOKENS, status)),
        }
    }
}

/// HTTP client of an issuer's endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    issuer: IssuerUrl,
    client_id: String,
    client_secret: Option<ClientSecret>,
    http: Client,
}

impl Endpoints {
    /// Reads the trusted root certificates: the system's, and those of the file. Blocks.
    ///
    /// # Errors
    /// When the certificates cannot be read.
    pub(crate) fn new(
        issuer: IssuerUrl,
        client_id: String,
        client_secret: Option<ClientSecret>,
        roots: Option<&PathBuf>,
    ) -> Result<Self, String> {
        let mut builder = Client::builder()
            .use_rustls_tls()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .https_only(issuer.url.scheme() == "https")
            .user_agent("tidings");
        if let Some(path) = roots {
            let wrong = |reason: String| format!("{}: {reason}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let roots = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(words(&error)))?;
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
            builder =
                roots.into_iter().fold(builder, |builder, root| builder.add_root_certificate(root));
        }
        let http = builder.build().map_err(|error| words(&error))?;
        Ok(Self { issuer, client_id, client_secret, http })
    }

    /// Requests the issuer's description.
    ///
    /// # Errors
    /// When the issuer does not answer, or [`Description::read`] refuses the answer.
    pub(crate) async fn describe(&self) -> Result<Description, IssuerError> {
        let address = format!("{}/{DISCOVERY}", self.issuer.text.trim_end_matches('/'));
        self.get(DESCRIPTION, &address)
            .await
            .and_then(|bytes| Description::read(&bytes, &self.issuer))
    }

    /// Requests the issuer's signing keys.
    ///
    /// # Errors
    /// When the issuer does not answer, or not with a set of keys.
    pub(crate) async fn keys(&self, described: &Description) -> Result<KeySet, IssuerError> {
        const ENDPOINT: &str = "the issuer's keys";
        let bytes = self.get(ENDPOINT, described.jwks_uri.as_str()).await?;
        KeySet::read(&bytes).map_err(|reason| IssuerError::Answer { endpoint: ENDPOINT, reason })
    }

    /// Sends a form to the token endpoint.
    ///
    /// # Errors
    /// When the issuer does not answer, or refuses.
    pub(crate) async fn tokens(
        &self,
        described: &Description,
        form: &[(&str, &str)],
    ) -> Result<IssuedTokens, IssuerError> {
        let mut form = form.to_vec();
        let mut request = self.http.post(described.token_endpoint.clone());
        let methods = described.token_endpoint_auth_methods_supported.as_ref();
        let takes_basic =
            methods.is_none_or(|methods| methods.iter().any(|name| name == "client_secret_basic"));
        match &self.client_secret {
            Some(ClientSecret(secret)) if takes_basic => {
                // RFC 6749, 2.3.1: id and secret are form-encoded before base64.
                request = request.basic_auth(encoded(&self.client_id), Some(encoded(secret)));
            }
            Some(ClientSecret(secret)) => {
                form.extend([("client_id", self.client_id.as_str()), ("client_secret", secret)]);
            }
            None => form.push(("client_id", &self.client_id)),
        }
        let (status, bytes) = self.answer(TOKENS, request.form(&form)).await?;
        IssuedTokens::read(status, &bytes)
    }

    async fn get(&self, endpoint: &'static str, address: &str) -> Result<Vec<u8>, IssuerError> {
        let request = self.http.get(address).header("accept", "application/json");
        let (status, bytes) = self.answer(endpoint, request).await?;
        if status == StatusCode::OK { Ok(bytes) } else { Err(unexpected(endpoint, status)) }
    }

    /// Sends a request and reads the answer within the bounds of time and size.
    async fn answer(
        &self,
        endpoint: &'static str,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), IssuerError> {
        let broken = |error: reqwest::Error| {
            let reason = words(&error.without_url());
            IssuerError::Unreachable { endpoint, reason }
        };
        let mut response: Response = request.send().await.map_err(broken)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let reason = format!("the answer is larger than {} KiB", ANSWER_BYTES_MAX >> 10);
                return Err(IssuerError::Answer { endpoint, reason });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status(), bytes))
    }
}

fn parse<T: DeserializeOwned>(endpoint: &'static str, bytes: &[u8]) -> Result<T, IssuerError> {
    let wrong = |error: serde_json::Error| {
        // The parser's message is left out, because it quotes its input, which may be a token.
        let reason = format!("the answer cannot be read, at column {}", error.column());
        IssuerError::Answer { endpoint, reason }
    };
    serde_json::from_slice(bytes).map_err(wrong)
}

fn unexpected(endpoint: &'static str, status: StatusCode) -> IssuerError {
    match status.is_server_error() {
        true => IssuerError::Unreachable { endpoint, reason: format!("it answers {status}") },
        false => IssuerError::Answer { endpoint, reason: format!("it answers {status}") },
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Makes an issuer's text safe for logs and pages.
fn shortened(text: &str) -> String {
    text.trim().chars().filter(|sign| !sign.is_control()).take(WORDS_MAX).collect()
}

/// Writes an error with its causes, of which the last is the most specific.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{IssuerUrl, encoded, shortened};

    #[test]
    fn an_issuer_is_an_http_url_without_user_query_or_fragment() {
        for (text, is_protected) in [
            ("https://login.example", true),
            ("https://login.example/realms/main/", true),
            ("http://localhost:5556/dex", true),
            ("http://127.0.0.1:5556", true),
            ("http://[::1]:5556", true),
            ("http://login.example", false),
            ("http://localhost.evil.example", false),
        ] {
            let url = IssuerUrl::read(text).unwrap();
            assert_eq!((url.as_str(), url.is_protected()), (text, is_protected));
        }
        for text in [
            "",
            "login.example",
            "ftp://login.example",
            "https://",
            "https://a:b@login.example",
            "https://login.example/?a=b",
            "https://login.example/#a",
            "file:///etc/passwd",
        ] {
            assert!(IssuerUrl::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn texts_of_an_issuer_are_safe_to_show() {
        assert_eq!(shortened("a\u{1b}[31m\r\nb"), "a[31mb");
        assert_eq!(shortened(&"x".repeat(5000)).len(), 200);
        assert_eq!(encoded("a:b c+%"), "a%3Ab+c%2B%25");
    }
}
