//! `/sign-in` and `/sign-in/callback`: the way of a browser to an issuer and back, and the names of
//! its cookies.
//!
//! Both are pages and not calls of the API: the issuer sends the browser here by a link of another
//! site. A link alone signs nobody in: the callback needs the ticket that the same browser got from
//! `/sign-in` ([`tidings_access::SignInStart`]). A refusal is explained in HTML.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{AppendHeaders, IntoResponse, Response},
    routing::get,
};
use tidings_access::{
    AccessPolicy, Caller, Issuer, KeyRing, RotatedSession, SESSION_AGE, SESSION_COOKIES,
    SignInAnswer, SignInError, TICKET_AGE, TICKET_COOKIES, ticket_of,
};
use tidings_apis::ProblemResponse;
use tidings_collector::{RequestHolder, ShareHolder};
use tidings_proto::api::{ProblemDetails, SignInOptions};
use utoipa::OpenApi;

use super::{audit::AuditDetail, problem::without_parameters, status::wrong_method};

/// The path at which a sign-in begins.
pub(super) const SIGN_IN: &str = "/sign-in";
/// The path to which the issuer sends a browser back.
pub(super) const CALLBACK: &str = "/sign-in/callback";
/// The parameter of [`SIGN_IN`] with the path to come back to.
const RETURN: &str = "return";

/// The description of the route of the API.
#[derive(OpenApi)]
#[openapi(paths(get_sign_in), components(schemas(ProblemDetails, SignInOptions)))]
pub(super) struct SignInApi;

/// The way by which browsers reach this server.
#[derive(Debug, Clone)]
pub(crate) struct BrowserAccess {
    /// True when the listener itself speaks TLS.
    pub(crate) is_over_tls: bool,
    /// The address that browsers use, where a proxy stands before the listener.
    pub(crate) public_url: Option<String>,
}

impl BrowserAccess {
    /// Returns whether the browser reaches the server over TLS, which a proxy may end.
    pub(super) fn is_secure(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        self.is_always_secure() || origin.starts_with(b"https://")
    }

    /// Returns whether every browser reaches the server over TLS.
    fn is_always_secure(&self) -> bool {
        let public = self.public_url.as_deref().unwrap_or_default();
        self.is_over_tls || public.starts_with("https://")
    }

    /// Returns the address of a path as browsers know it.
    pub(super) fn url(&self, uri: &Uri, headers: &HeaderMap, path: &str) -> String {
        if let Some(public) = &self.public_url {
            return format!("{public}{path}");
        }
        let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        // HTTP/2 has the host in the address. The guard has checked that it is a name of this
        // server.
        let host = uri.authority().map(Authority::as_str).or(asked).unwrap_or("localhost");
        let scheme = if self.is_secure(headers) { "https" } else { "http" };
        format!("{scheme}://{host}{path}")
    }

    /// Writes the cookie of a session.
    pub(super) fn session_cookie(
        &self,
        headers: &HeaderMap,
        value: &str,
    ) -> (header::HeaderName, String) {
        cookie(SESSION_COOKIES, self.is_secure(headers), value, "Strict", SESSION_AGE)
    }

    /// Writes the cookie that replaces a session's, under the name of the one before it.
    pub(super) fn rotated_cookie(rotated: &RotatedSession) -> (header::HeaderName, String) {
        let RotatedSession { token, age, is_over_tls } = rotated;
        cookie(SESSION_COOKIES, *is_over_tls, token.reveal(), "Strict", *age)
    }

    /// Writes the cookies that end a session, of either name.
    pub(super) fn without_session() -> [(header::HeaderName, String); 2] {
        [true, false].map(|secure| cookie(SESSION_COOKIES, secure, "", "Strict", Duration::ZERO))
    }
}

/// Removes the cookies of plain HTTP from a request where all browsers use TLS. Another host of the
/// domain can set those, but not the ones that are bound to this host.
pub(super) async fn drop_plain_cookies(
    State(browsers): State<BrowserAccess>,
    mut request: Request,
    next: Next,
) -> Response {
    if browsers.is_always_secure() {
        without_plain_cookies(request.headers_mut());
    }
    next.run(request).await
}

fn without_plain_cookies(headers: &mut HeaderMap) {
    let [_, session] = SESSION_COOKIES;
    let [_, ticket] = TICKET_COOKIES;
    let is_plain = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().trim();
        name == session || name == ticket
    };
    let given: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    let has_plain =
        |value: &HeaderValue| value.to_str().is_ok_and(|text| text.split(';').any(is_plain));
    if !given.iter().any(has_plain) {
        return;
    }
    headers.remove(header::COOKIE);
    for value in given {
        // No session is read from a cookie that is not text.
        let Ok(text) = value.to_str() else { continue };
        let kept: Vec<&str> = text.split(';').filter(|pair| !is_plain(pair)).collect();
        if let Ok(kept) = HeaderValue::from_str(&kept.join(";")) {
            headers.append(header::COOKIE, kept);
        }
    }
}

fn cookie(
    names: [&str; 2],
    is_secure: bool,
    value: &str,
    same_site: &str,
    age: Duration,
) -> (header::HeaderName, String) {
    let [over_tls, plain] = names;
    let (name, secure) = if is_secure { (over_tls, "; Secure") } else { (plain, "") };
    let seconds = age.as_secs();
    let text = format!(
        "{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={seconds}{secure}"
    );
    (header::SET_COOKIE, text)
}

/// The state of the pages.
#[derive(Debug, Clone)]
struct SignInPages {
    ring: Arc<KeyRing>,
    issuer: Arc<Issuer>,
    browsers: BrowserAccess,
}

/// Builds the pages, where people can sign in.
pub(crate) fn pages(policy: &AccessPolicy, browsers: BrowserAccess) -> Router {
    let Some(ring) = policy.ring().map(Arc::clone) else { return Router::new() };
    let Some(issuer) = ring.issuer().map(Arc::clone) else { return Router::new() };
    if issuer.sign_in_name().is_none() {
        return Router::new();
    }
    Router::new()
        .route(SIGN_IN, get(authorize))
        .route(CALLBACK, get(complete))
        .method_not_allowed_fallback(wrong_method)
        .with_state(SignInPages { ring, issuer, browsers })
}

/// Builds the route of the API.
pub(crate) fn routes(policy: AccessPolicy) -> Router {
    let routes = Router::new()
        .route("/api/v1/sign-in", get(get_sign_in))
        .method_not_allowed_fallback(wrong_method)
        .with_state(policy);
    tidings_apis::with_api_headers(routes)
}

/// Says how a person can sign in. Answered to everybody.
#[utoipa::path(
    get,
    path = "/api/v1/sign-in",
    tag = "keys",
    operation_id = "getSignIn",
    responses(
        (status = 200, body = SignInOptions),
        (status = 400, body = ProblemDetails, content_type = "application/problem+json", description = "invalid parameter")
    )
)]
async fn get_sign_in(State(policy): State<AccessPolicy>, uri: Uri) -> Response {
    if let Err(refusal) = without_parameters(&uri) {
        return refusal.into_response();
    }
    let issuer = policy.ring().and_then(|ring| ring.issuer());
    let name = issuer.and_then(|issuer| issuer.sign_in_name()).map(str::to_owned);
    Json(SignInOptions { issuer: name, keys: policy.ring().is_some() }).into_response()
}

/// Sends a browser to the issuer.
async fn authorize(State(pages): State<SignInPages>, uri: Uri, headers: HeaderMap) -> Response {
    let redirect_uri = pages.browsers.url(&uri, &headers, CALLBACK);
    match pages.issuer.authorize(&redirect_uri, &return_to(&uri)) {
        Ok(start) => {
            let is_secure = pages.browsers.is_secure(&headers);
            // With `Lax` the browser sends the ticket along when it follows the issuer's link back.
            let ticket = cookie(TICKET_COOKIES, is_secure, &start.ticket, "Lax", TICKET_AGE);
            redirect(&start.location, [ticket])
        }
        Err(error) => refuse(&headers, &error),
    }
}

/// Takes a browser back from the issuer, and begins its session.
async fn complete(
    State(pages): State<SignInPages>,
    holder: Option<Extension<Arc<RequestHolder>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = SignInAnswer::read(uri.query().unwrap_or_default());
    let address = holder.map(|holder| holder.peer().to_string()).unwrap_or_default();
    let person = match pages.issuer.complete(&answer, ticket_of(&headers), &address).await {
        Ok(person) => person,
        Err(error) => return refuse(&headers, &error),
    };
    let return_to = person.return_to.clone();
    match pages.ring.sign_in_person(person) {
        Ok((token, caller)) => {
            // The session before it ends at this server only, because the next one is of the same
            // issuer.
            pages.ring.sign_out(&headers, "");
            tell(&caller);
            let session = pages.browsers.session_cookie(&headers, token.reveal());
            let [over_tls, plain] = without_ticket();
            let mut response = redirect(&return_to, [session, over_tls, plain]);
            response.extensions_mut().insert(caller);
            response
        }
        Err(error) => refuse(&headers, &error.into()),
    }
}

fn tell(caller: &Caller) {
    let role = caller.role().name();
    tracing::info!(key = %caller.id(), name = caller.name(), role, "signed in");
}

/// Reads the path to come back to. The issuer's client checks that the path is this server's own.
fn return_to(uri: &Uri) -> String {
    let parameters = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let parameters = parameters.map(|Query(parameters)| parameters).unwrap_or_default();
    let given = parameters.into_iter().find(|(name, _)| name == RETURN);
    given.map(|(_, path)| path).unwrap_or_default()
}

fn without_ticket() -> [(header::HeaderName, String); 2] {
    [true, false].map(|secure| cookie(TICKET_COOKIES, secure, "", "Lax", Duration::ZERO))
}

fn redirect<const N: usize>(
    location: &str,
    cookies: [(header::HeaderName, String); N],
) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let fixed = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::SEE_OTHER, fixed, AppendHeaders(cookies)).into_response()
}

/// Tells a person or a program why the sign-in was refused.
fn refuse(headers: &HeaderMap, error: &SignInError) -> Response {
    let (status, detail) = (error.status(), error.to_string());
    tracing::warn!(%error, "a sign-in was refused");
    let accepts = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    let mut response = if accepts.is_some_and(|kinds| kinds.contains("text/html")) {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (status, kind, page(&detail)).into_response()
    } else {
        ProblemResponse::new(status, "sign-in-refused", REFUSED, &detail).into_response()
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response.extensions_mut().insert(AuditDetail::Change(detail));
    for (name, value) in without_ticket() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

const REFUSED: &str = "You are not signed in";

/// Writes the page of a refusal. Its text may come from the issuer.
fn page(detail: &str) -> String {
    let escaped: String = detail
        .chars()
        .map(|sign| match sign {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{REFUSED} · Tidings</title>\
         <h1>{REFUSED}</h1><p>{escaped}.</p>\
         <p><a href=\"{SIGN_IN}\">Sign in again</a>, or <a href=\"/\">use a key</a>.</p>"
    )
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, Uri};

    use super::{BrowserAccess, CALLBACK, page, return_to, without_plain_cookies};

    #[test]
    fn the_path_to_come_back_to_is_decoded_once() {
        for (query, path) in [
            ("return=%2Flogs%3Fq%3Da%26b", "/logs?q=a&b"),
            ("a=b&return=/logs", "/logs"),
            ("return=%252F%252Fevil.example", "%2F%2Fevil.example"),
            ("return=%2", "%2"),
            ("return=%zz", "%zz"),
            ("returned=/logs", ""),
            ("", ""),
        ] {
            let uri: Uri = format!("/sign-in?{query}").parse().unwrap();
            assert_eq!(return_to(&uri), path, "{query}");
        }
    }

    #[test]
    fn callback_has_the_address_that_browsers_use() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "tidings.example:8434".parse().unwrap());
        let uri: Uri = "/sign-in".parse().unwrap();
        for (is_over_tls, public_url, expected) in [
            (false, None, "http://tidings.example:8434/sign-in/callback"),
            (true, None, "https://tidings.example:8434/sign-in/callback"),
            (false, Some("https://t.example"), "https://t.example/sign-in/callback"),
        ] {
            let public_url = public_url.map(str::to_owned);
            let browsers = BrowserAccess { is_over_tls, public_url };
            assert_eq!(browsers.url(&uri, &headers, CALLBACK), expected);
            assert_eq!(browsers.is_secure(&headers), expected.starts_with("https"));
        }
    }

    #[test]
    fn over_tls_only_cookies_bound_to_the_host_are_left() {
        let mut headers = HeaderMap::new();
        let given = [
            "theme=dark; tidings-session=planted ;__Host-tidings-session=own",
            "tidings-sign-in=planted",
            "a=tidings-session=b",
        ];
        for cookie in given {
            headers.append("cookie", cookie.parse().unwrap());
        }
        without_plain_cookies(&mut headers);
        let left: Vec<_> = headers.get_all("cookie").iter().collect();
        assert_eq!(left, ["theme=dark;__Host-tidings-session=own", "", "a=tidings-session=b"]);
    }

    #[test]
    fn words_of_an_issuer_are_no_markup() {
        let page = page("<script>alert(\"1\")</script>&");
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;."), "{page}");
    }
}
