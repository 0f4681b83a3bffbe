//! The claims of a token: subject, audience, lifetime, role and tenants.
//!
//! Owns the rules of [OpenID Connect Core](https://openid.net/specs/openid-connect-core-1_0.html)
//! (3.1.3.7) and [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519) about claims. Does not own
//! signatures, which are verified before an [`Identity`] is made.

use std::time::Duration;

use serde_json::{Map, Value};
use tidings_proto::UnixNanos;

use super::roles::RoleMapping;
use crate::{
    error::TokenError,
    key::{KEY_NAME_CHARS_MAX, is_printable},
    role::Role,
    tenant::{TENANTS_MAX, TenantName},
};

/// Allowed difference between the clocks of an issuer and of this server.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// Maximum number of values that are read of a claim.
const VALUES_MAX: usize = 1000;
/// Maximum bytes of a subject; OpenID Connect allows 255.
const SUBJECT_BYTES_MAX: usize = 1000;

/// The claims as they were received.
#[derive(Debug, Clone)]
pub(crate) struct Claims(Map<String, Value>);

/// The values that the claims of a token must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpectedClaims<'a> {
    pub(crate) issuer: &'a str,
    /// Accepted audiences; the token must name one of them.
    pub(crate) audiences: &'a [String],
    pub(crate) now: UnixNanos,
}

/// A person or a machine that an issuer has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject, unique for the issuer.
    pub(crate) subject: String,
    /// The mail address or user name, or else the subject.
    pub(crate) name: String,
    /// The role; `None` when no value of the role claim is mapped to one.
    pub(crate) role: Option<Role>,
    /// The tenants that it may use, its own first; empty when no claim names one.
    pub(crate) tenants: Vec<TenantName>,
    /// The time at which the token expires, with the leeway.
    pub(crate) ends: UnixNanos,
}

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Returns a claim, if it is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Checks issuer, audience and lifetime, but not the signature.
    ///
    /// # Errors
    /// The first claim that is missing, malformed or not as expected.
    pub(crate) fn check(&self, expected: ExpectedClaims<'_>) -> Result<(), TokenError> {
        if self.text("iss") != Some(expected.issuer) {
            return Err(TokenError::Issuer);
        }
        let audiences = texts(self.0.get("aud").ok_or(TokenError::Claim("aud"))?);
        if !audiences.iter().any(|name| expected.audiences.iter().any(|ours| ours == name)) {
            return Err(TokenError::Audience);
        }
        if self.ends()? <= expected.now {
            return Err(TokenError::Expired);
        }
        let begin = self.time("nbf")?.unwrap_or(UnixNanos(0));
        if begin.0 > expected.now.0.saturating_add(nanos(LEEWAY)) {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }

    /// Returns the time at which the token was issued, if it has this claim.
    pub(crate) fn issued(&self) -> Option<UnixNanos> {
        self.time("iat").ok().flatten()
    }

    /// Checks the claims that only tokens of people have.
    ///
    /// # Errors
    /// When the token is from another sign-in, or was issued to another client.
    pub(crate) fn check_sign_in(
        &self,
        client: &str,
        nonce: Option<&str>,
    ) -> Result<(), TokenError> {
        let is_ours = self.0.get("azp").is_none_or(|azp| azp.as_str() == Some(client));
        if !is_ours {
            return Err(TokenError::Audience);
        }
        match nonce {
            Some(nonce) if self.text("nonce") != Some(nonce) => Err(TokenError::Nonce),
            _ => Ok(()),
        }
    }

    /// Returns the identity in the token.
    ///
    /// # Errors
    /// When the subject or the expiry is missing or malformed.
    pub(crate) fn identity(
        &self,
        roles: &RoleMapping,
        tenant_claim: Option<&str>,
    ) -> Result<Identity, TokenError> {
        let subject = self.text("sub").filter(|sub| (1..=SUBJECT_BYTES_MAX).contains(&sub.len()));
        let subject = subject.ok_or(TokenError::Claim("sub"))?;
        let address = self.text("email").filter(|_| self.has_verified_address() == Some(true));
        let names = [address, self.text("preferred_username"), Some(subject)];
        let name = names.into_iter().flatten().map(printable).find(|name| !name.is_empty());
        Ok(Identity {
            subject: subject.to_owned(),
            name: name.unwrap_or_default(),
            role: self.role(roles),
            tenants: self.tenants(tenant_claim),
            ends: self.ends()?,
        })
    }

    /// Returns the tenants that a claim names. The first is the bearer's own; if it is malformed,
    /// the result is empty. Malformed names after it are left out.
    fn tenants(&self, claim: Option<&str>) -> Vec<TenantName> {
        let mut named = claim.and_then(|claim| self.at(claim)).map(texts).unwrap_or_default();
        let mut named = named.drain(..).map(str::parse::<TenantName>);
        let Some(Ok(own)) = named.next() else { return Vec::new() };
        let others = named.filter_map(Result::ok).take(TENANTS_MAX - 1);
        std::iter::once(own).chain(others).collect()
    }

    fn role(&self, roles: &RoleMapping) -> Option<Role> {
        // An address that is not verified gives no role: at some issuers anybody can enter the
        // address of another person.
        if roles.claim() == "email" && self.has_verified_address() != Some(true) {
            return None;
        }
        roles.role_of(&self.at(roles.claim()).map(texts).unwrap_or_default())
    }

    fn has_verified_address(&self) -> Option<bool> {
        match self.0.get("email_verified")? {
            Value::Bool(is_verified) => Some(*is_verified),
            other => Some(other.as_str() == Some("true")),
        }
    }

    /// Finds a claim by its name, or by a path of names with dots between them.
    fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(path) {
            return Some(value);
        }
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(self.0.get(first)?, |value, name| value.get(name))
    }

    /// Returns the time at which the token expires, with the leeway.
    fn ends(&self) -> Result<UnixNanos, TokenError> {
        let end = self.time("exp")?.ok_or(TokenError::Claim("exp"))?;
        Ok(UnixNanos(end.0.saturating_add(nanos(LEEWAY))))
    }

    /// Parses a time in seconds, which may have a fraction.
    fn time(&self, name: &'static str) -> Result<Option<UnixNanos>, TokenError> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds = value.as_f64().ok_or(TokenError::Claim(name))?;
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| TokenError::Claim(name))?;
        Ok(Some(UnixNanos(nanos(time))))
    }
}

/// Returns the texts of a claim, which is a text or a list of texts.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).take(VALUES_MAX).collect(),
        _ => Vec::new(),
    }
}

/// Makes a name safe for logs and pages.
fn printable(text: &str) -> String {
    let signs = text.trim().chars().filter(|sign| is_printable(*sign));
    signs.take(KEY_NAME_CHARS_MAX).collect()
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, json};
    use tidings_proto::UnixNanos;

    use super::{Claims, ExpectedClaims, TokenError};
    use crate::{oidc::roles::RoleMapping, role::Role};

    const SECOND: u64 = 1_000_000_000;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    fn check(value: Value) -> Result<(), TokenError> {
        let audiences = ["tidings".to_owned(), "second".to_owned()];
        let now = UnixNanos(1000 * SECOND);
        claims(value).check(ExpectedClaims { issuer: "https://i", audiences: &audiences, now })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut good = json!({"iss": "https://i", "aud": "tidings", "exp": 1100, "nbf": 900});
        good[name] = value;
        good
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let second = json!(["other", "second"]);
        for good in [with("aud", second), with("exp", json!(971)), with("nbf", json!(1029.5))] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for (name, value, refusal) in [
            ("iss", json!("https://i/"), TokenError::Issuer),
            ("iss", json!(null), TokenError::Issuer),
            ("iss", json!(["https://i"]), TokenError::Issuer),
            ("aud", json!("other"), TokenError::Audience),
            ("aud", json!(["tiding", "tidings2"]), TokenError::Audience),
            ("aud", json!({"tidings": true}), TokenError::Audience),
            ("exp", json!(970), TokenError::Expired),
            ("exp", json!(0), TokenError::Expired),
            ("exp", json!("1100"), TokenError::Claim("exp")),
            ("exp", json!(null), TokenError::Claim("exp")),
            ("exp", json!(-1), TokenError::Claim("exp")),
            ("nbf", json!(1031), TokenError::NotYet),
            ("nbf", json!(1e300), TokenError::Claim("nbf")),
            ("nbf", json!("soon"), TokenError::Claim("nbf")),
        ] {
            assert_eq!(check(with(name, value.clone())), Err(refusal), "{name} {value}");
        }
        for name in ["iss", "aud", "exp"] {
            let mut without = with("iss", json!("https://i"));
            without.as_object_mut().unwrap().remove(name);
            assert!(check(without).is_err(), "{name}");
        }
    }

    #[test]
    fn a_token_of_another_sign_in_or_client_is_refused() {
        let check = |value: Value, nonce| claims(value).check_sign_in("me", nonce);
        assert_eq!(check(json!({"nonce": "n", "azp": "me"}), Some("n")), Ok(()));
        assert_eq!(check(json!({}), None), Ok(()));
        assert_eq!(check(json!({}), Some("n")), Err(TokenError::Nonce));
        assert_eq!(check(json!({"nonce": "m"}), Some("n")), Err(TokenError::Nonce));
        assert_eq!(check(json!({"azp": "you"}), None), Err(TokenError::Audience));
        assert_eq!(check(json!({"azp": ["me"]}), None), Err(TokenError::Audience));
    }

    fn identity(claim: &str, mapping: &str, value: Value) -> (String, Option<Role>) {
        let roles = RoleMapping::read(claim, mapping).unwrap();
        let identity = claims(value).identity(&roles, None).unwrap();
        (identity.name, identity.role)
    }

    #[test]
    fn tenants_come_from_a_claim_and_malformed_names_are_left_out() {
        let tenants = |value: Value, claim| {
            let roles = RoleMapping::read("roles", "x=read").unwrap();
            let identity = claims(value).identity(&roles, claim).unwrap();
            identity.tenants.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let of = |org: Value| json!({"sub": "s", "exp": 1, "org": {"names": org}});
        assert_eq!(tenants(of(json!("team-a")), Some("org.names")), ["team-a"]);
        let several = json!(["b", "../a", "A", 7, "", "a"]);
        assert_eq!(tenants(of(several.clone()), Some("org.names")), ["b", "a"]);
        assert!(tenants(of(several.clone()), Some("org")).is_empty());
        // If the first name is malformed, no other tenant becomes the own one.
        assert!(tenants(of(json!(["Team_A", "default"])), Some("org.names")).is_empty());
        assert!(tenants(of(json!([])), Some("org.names")).is_empty());
        assert!(tenants(of(several), None).is_empty());
        let many: Vec<String> = (0..1000).map(|number| format!("t{number}")).collect();
        assert!(tenants(of(json!(many)), Some("org.names")).len() <= 16);
    }

    #[test]
    fn a_role_comes_from_a_claim_at_any_level() {
        let read = Some(Role::Read);
        for (claim, value) in [
            ("roles", json!("viewer")),
            ("roles", json!(["x", "viewer", 7])),
            ("realm_access.roles", json!({"roles": ["viewer"]})),
            ("https://example.com/roles", json!(["viewer"])),
        ] {
            let name = if claim == "realm_access.roles" { "realm_access" } else { claim };
            let token = json!({"sub": "s", "exp": 1, name: value});
            assert_eq!(identity(claim, "viewer=read", token.clone()).1, read, "{token}");
        }
        for value in [json!({"viewer": 1}), json!(null), json!(["Viewer"]), json!("viewer read")] {
            let token = json!({"sub": "s", "exp": 1, "roles": value});
            assert_eq!(identity("roles", "viewer=read", token.clone()).1, None, "{token}");
        }
    }

    #[test]
    fn an_address_gives_a_role_when_the_issuer_has_verified_it() {
        let role = |verified: Value| {
            let token = json!({"sub": "s", "exp": 1, "email": "a@b.c", "email_verified": verified});
            identity("email", "a@b.c=admin", token)
        };
        assert_eq!(role(json!(true)), ("a@b.c".to_owned(), Some(Role::Admin)));
        assert_eq!(role(json!("true")).1, Some(Role::Admin));
        assert_eq!(role(json!(false)), ("s".to_owned(), None));
        assert_eq!(role(json!(null)).1, None);
        let unsaid = json!({"sub": "s", "exp": 1, "email": "a@b.c"});
        assert_eq!(identity("email", "a@b.c=admin", unsaid), ("s".to_owned(), None));
    }

    #[test]
    fn names_are_safe_to_show() {
        let name = |value: Value| identity("roles", "a=read", value).0;
        let addressed = |address: &str| {
            name(json!({"sub": "s", "exp": 1, "email": address, "email_verified": true}))
        };
        assert_eq!(name(json!({"sub": "s", "exp": 1, "preferred_username": "ada"})), "ada");
        assert_eq!(addressed("\u{1b}[31m\n"), "[31m");
        assert_eq!(addressed(" \n"), "s");
        assert_eq!(name(json!({"sub": "s".repeat(900), "exp": 1})).len(), 100);
        let roles = RoleMapping::read("roles", "a=read").unwrap();
        for sub in [json!(""), json!(7), json!(null), json!("s".repeat(1001))] {
            let refused = claims(json!({"sub": sub, "exp": 1})).identity(&roles, None);
            assert_eq!(refused, Err(TokenError::Claim("sub")));
        }
    }

    proptest! {
        #[test]
        fn any_claims_are_checked_without_a_panic(
            time in any::<f64>(),
            text in any::<String>(),
            names in proptest::collection::vec(any::<String>(), 0..5),
        ) {
            let token = json!({
                "iss": "https://i", "aud": names, "exp": time, "nbf": time, "sub": text, "roles": names,
            });
            let roles = RoleMapping::read("roles", "a=read").unwrap();
            let _ = check(token.clone());
            let _ = claims(token).identity(&roles, None);
        }
    }
}
