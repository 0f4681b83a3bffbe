//! An OpenID Connect issuer for tests, with one person, who always agrees.
//!
//! It makes its keys at start. It checks the same as a production issuer: the client's secret,
//! PKCE, the redirect address, and that a code is used once.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json as JsonBody, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    digest, hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value as Json, json};
use tokio::{net::TcpListener, runtime::Runtime};

/// The client that it knows, and the client's secret, which has characters that must be encoded.
pub(crate) const CLIENT: &str = "tidings";
pub(crate) const SECRET: &str = "a secret: +%&";
/// The audience of machines' tokens.
pub(crate) const AUDIENCE: &str = "tidings-api";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

type Parameters = BTreeMap<String, String>;

/// Makes a token, valid or forged, from claims.
pub(crate) type TokenMaker = fn(&SigningKey, &Json) -> String;

/// A running issuer.
pub(crate) struct Issuer {
    /// Its URL, such as `http://localhost:5556`.
    pub(crate) url: String,
    state: Arc<Mutex<IssuerState>>,
}

struct IssuerState {
    url: String,
    key: SigningKey,
    /// Claims of the person that replace the usual ones. A `null` removes a claim.
    claims: Json,
    /// Replaces the published set of keys.
    published: Option<String>,
    /// Makes ID tokens in place of the usual function.
    forge: Option<TokenMaker>,
    is_down: bool,
    codes: BTreeMap<String, Parameters>,
    refresh_token: Option<String>,
    asked: BTreeMap<String, u32>,
}

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) name: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub(crate) fn new(name: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { name: name.to_owned(), pair }
    }

    fn jwk(&self) -> Json {
        let (x, y) = self.public()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"kty": "EC", "crv": "P-256", "kid": self.name, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Makes a correctly signed token.
    pub(crate) fn sign(&self, claims: &Json) -> String {
        let message = message(&json!({"alg": "ES256", "kid": self.name, "typ": "JWT"}), claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Makes a token without a signature.
    pub(crate) fn unsigned(&self, claims: &Json) -> String {
        format!("{}.", message(&json!({"alg": "none", "kid": self.name}), claims))
    }

    /// Makes a token signed with the public key, as if that were a shared secret.
    pub(crate) fn sign_with_public(&self, claims: &Json) -> String {
        let message = message(&json!({"alg": "HS256", "kid": self.name}), claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public());
        let tag = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn message(header: &Json, claims: &Json) -> String {
    let encode = |part: &Json| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Issuer {
    /// Starts an issuer whose person is in the group `dev`.
    pub(crate) fn start() -> Self {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        // A browser treats `localhost` as another site than 127.0.0.1.
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(IssuerState {
            url: url.clone(),
            key: SigningKey::new("first"),
            claims: json!({}),
            published: None,
            forge: None,
            is_down: false,
            codes: BTreeMap::new(),
            refresh_token: None,
            asked: BTreeMap::new(),
        }));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/end", get(end))
            .layer(middleware::from_fn_with_state(Arc::clone(&state), count))
            .with_state(Arc::clone(&state));
        RUNTIME.spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }

    /// Returns the host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    fn state(&self) -> MutexGuard<'_, IssuerState> {
        self.state.lock().unwrap()
    }

    /// Adds these claims to the person's usual ones from now on.
    pub(crate) fn set_claims(&self, claims: Json) {
        self.state().claims = claims;
    }

    /// Makes the issuer unavailable, or available again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// Publishes this text in place of its keys.
    pub(crate) fn publish(&self, keys: Option<String>) {
        self.state().published = keys;
    }

    /// Makes ID tokens with this function from now on.
    pub(crate) fn forge(&self, forge: Option<TokenMaker>) {
        self.state().forge = forge;
    }

    /// Replaces the signing key by a new one, and publishes only that.
    pub(crate) fn rotate(&self, name: &str) {
        self.state().key = SigningKey::new(name);
    }

    /// Rejects the refresh tokens that it issued.
    pub(crate) fn forget_refresh_token(&self) {
        self.state().refresh_token = None;
    }

    /// Returns the number of requests of a path.
    pub(crate) fn asked(&self, path: &str) -> u32 {
        self.state().asked.get(path).copied().unwrap_or_default()
    }

    /// Returns the claims of a machine's token, with some of them replaced.
    pub(crate) fn machine(&self, changed: Json) -> Json {
        let usual = json!({
            "iss": self.url, "sub": "machine", "aud": AUDIENCE, "iat": now(), "exp": now() + 300,
            "groups": ["dev"],
        });
        merged(usual, &changed)
    }

    /// Makes a machine's token, with some claims replaced.
    pub(crate) fn token(&self, changed: Json) -> String {
        let claims = self.machine(changed);
        self.state().key.sign(&claims)
    }

    /// Makes a machine's token with this function.
    pub(crate) fn token_by(&self, make: TokenMaker) -> String {
        let claims = self.machine(json!({}));
        make(&self.state().key, &claims)
    }
}

/// Replaces fields. A `null` removes a field.
fn merged(mut usual: Json, changed: &Json) -> Json {
    let fields = usual.as_object_mut().unwrap();
    for (name, value) in changed.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    usual
}

type Shared = State<Arc<Mutex<IssuerState>>>;

async fn count(State(state): Shared, request: Request, next: Next) -> Response {
    {
        let mut state = state.lock().unwrap();
        *state.asked.entry(request.uri().path().to_owned()).or_default() += 1;
        if state.is_down {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    next.run(request).await
}

async fn describe(State(state): Shared) -> JsonBody<Json> {
    let url = state.lock().unwrap().url.clone();
    JsonBody(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize?prompt=login"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "end_session_endpoint": format!("{url}/end"),
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(state): Shared) -> String {
    let state = state.lock().unwrap();
    let usual = || json!({"keys": [state.key.jwk()]}).to_string();
    state.published.clone().unwrap_or_else(usual)
}

/// Answers a request for authorisation: the person always agrees.
async fn authorize(State(state): Shared, Query(asked): Query<Parameters>) -> Response {
    let mut state = state.lock().unwrap();
    let is_asked = |name: &str, value: &str| asked.get(name).is_some_and(|given| given == value);
    let is_good = is_asked("response_type", "code")
        && is_asked("client_id", CLIENT)
        && is_asked("code_challenge_method", "S256")
        && is_asked("prompt", "login")
        && asked["scope"].split(' ').any(|scope| scope == "openid")
        && asked["nonce"].len() >= 32
        && asked["state"].len() >= 32;
    if !is_good {
        return (StatusCode::BAD_REQUEST, format!("{asked:?}")).into_response();
    }
    let code = format!("code-{}", state.codes.len());
    let back =
        format!("{}?code={code}&state={}&iss={}", asked["redirect_uri"], asked["state"], state.url);
    state.codes.insert(code, asked);
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}

/// Redirects the person to the client after the sign-out.
async fn end(Query(asked): Query<Parameters>) -> Response {
    let back = asked["post_logout_redirect_uri"].clone();
    (StatusCode::FOUND, [(header::LOCATION, back)]).into_response()
}

async fn token(State(state): Shared, headers: HeaderMap, form: String) -> Response {
    let form: Uri = format!("/?{form}").parse().unwrap();
    let Query(form) = Query::<Parameters>::try_from_uri(&form).unwrap();
    let mut state = state.lock().unwrap();
    let refuse = |error: &str| {
        let body = json!({"error": error, "error_description": "<b>no</b>"});
        (StatusCode::BAD_REQUEST, JsonBody(body)).into_response()
    };
    // The secret is encoded as in a form before it is encoded in base64.
    let expected = STANDARD.encode(format!("{CLIENT}:a+secret%3A+%2B%25%26"));
    let given = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
    if given != Some(&format!("Basic {expected}")) {
        return refuse("invalid_client");
    }
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let nonce = match field("grant_type").as_str() {
        "authorization_code" => {
            let Some(asked) = state.codes.remove(&field("code")) else {
                return refuse("invalid_grant");
            };
            // A used code is recorded, so that a second use is detected.
            state.codes.insert(format!("used {}", field("code")), BTreeMap::new());
            let digest = digest::digest(&digest::SHA256, field("code_verifier").as_bytes());
            let challenge = URL_SAFE_NO_PAD.encode(digest);
            if asked.get("code_challenge") != Some(&challenge)
                || asked.get("redirect_uri") != Some(&field("redirect_uri"))
            {
                return refuse("invalid_grant");
            }
            asked["nonce"].clone().into()
        }
        "refresh_token" if state.refresh_token == Some(field("refresh_token")) => Json::Null,
        _ => return refuse("invalid_grant"),
    };
    let usual = json!({
        "iss": state.url, "sub": "person-1", "aud": CLIENT, "iat": now(), "exp": now() + 300,
        "nonce": nonce, "email": "ada@example.com", "email_verified": true, "groups": ["dev"],
    });
    let claims = merged(usual, &state.claims);
    let id_token = match state.forge {
        Some(forge) => forge(&state.key, &claims),
        None => state.key.sign(&claims),
    };
    let refresh_token = format!("refresh-{}", state.asked["/token"]);
    state.refresh_token = Some(refresh_token.clone());
    JsonBody(json!({
        "access_token": "opaque", "token_type": "Bearer", "expires_in": 300,
        "id_token": id_token, "refresh_token": refresh_token,
    }))
    .into_response()
}
