//! A key: its text, which is shown once, and its record, which has only a digest of the text.
//!
//! ```text
//! tk_<id: 8 hex digits>_<secret: 48 hex digits>
//! ```
//!
//! The record is found by the id, which is not secret. The secret has 192 random bits, so its
//! SHA-256 is as safe to store as a slow hash of a password.

use std::fmt;

use ring::{
    digest::{SHA256, SHA256_OUTPUT_LEN, digest},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use tidings_proto::{UnixNanos, hex};

use crate::{
    error::KeyFileError,
    role::{KeyLimit, Role},
    tenant::{TENANTS_MAX, TenantName},
};

/// Maximum characters of the name of a key, and of its service.
pub const KEY_NAME_CHARS_MAX: usize = 100;

/// The prefix of every key, by which scanners find leaked keys.
const PREFIX: &str = "tk_";
const SECRET_BYTES: usize = 24;
/// The prefix without its underscore, which may be percent-encoded in a URL.
const PREFIX_LETTERS: &str = "tk";
/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 8;

/// Returns whether a character is printable: neither a control character nor one that changes the
/// direction of the text after it. So pages and terminals show a name as it is stored.
#[must_use]
pub fn is_printable(sign: char) -> bool {
    let turns_direction = matches!(
        sign,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !sign.is_control() && !turns_direction
}

/// The id of a key, which is not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl KeyId {
    /// Reads the id's text: 8 hex digits in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// The whole text of a key. It is a secret, and its `Debug` shows only the id.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyToken(String);

impl fmt::Debug for KeyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..PREFIX.len() + 8).unwrap_or_default();
        write!(f, "{shown}_…")
    }
}

impl KeyToken {
    /// Generates the text of a key from an id and random bits.
    pub(crate) fn generate(id: KeyId, random: &SystemRandom) -> Result<Self, KeyFileError> {
        let secret: [u8; SECRET_BYTES] = random_bytes(random)?;
        Ok(Self(format!("{PREFIX}{id}_{}", hex(&secret))))
    }

    /// Returns the text, to show it once or to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the digest that a record keeps.
    pub(crate) fn digest(&self) -> SecretDigest {
        SecretDigest::from_secret(self.0.as_bytes())
    }
}

/// Returns the id of a key, if the text has the form of a key.
pub(crate) fn id_of(text: &str) -> Option<KeyId> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let _: [u8; SECRET_BYTES] = unhex(secret)?;
    KeyId::parse(id)
}

/// Removes the secret part of each key in a text. The ids and the rest of the text stay. The
/// underscores of a key may be percent-encoded.
#[must_use]
pub fn without_keys(text: String) -> String {
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(PREFIX_LETTERS) {
        let (before, key) = rest.split_at(at);
        kept.push_str(before);
        match key_lengths(key) {
            Some((shown, whole)) => {
                kept.push_str(&key[..shown]);
                kept.push('…');
                rest = &key[whole..];
            }
            None => {
                kept.push_str(PREFIX_LETTERS);
                rest = &key[PREFIX_LETTERS.len()..];
            }
        }
    }
    if kept.is_empty() {
        return text;
    }
    kept.push_str(rest);
    kept
}

/// Returns two lengths of the key with which a text begins: up to the end of its id, and of the
/// whole. `None` if the text does not begin with `tk_`, 8 digits, `_` and 48 digits, in lower-case
/// hexadecimal.
fn key_lengths(text: &str) -> Option<(usize, usize)> {
    let digits = |text: &str, count: usize| {
        let digits = text.as_bytes().get(..count)?;
        digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(count)
    };
    let underscore = |text: &str| {
        ["_", "%5F", "%5f"].into_iter().find(|mark| text.starts_with(*mark)).map(str::len)
    };
    let mut length = PREFIX_LETTERS.len();
    length += underscore(&text[length..])?;
    length += digits(&text[length..], ID_DIGITS)?;
    let shown = length;
    length += underscore(&text[length..])?;
    length += digits(&text[length..], 2 * SECRET_BYTES)?;
    Some((shown, length))
}

/// The SHA-256 of a secret.
#[derive(Clone, Copy)]
pub(crate) struct SecretDigest([u8; SHA256_OUTPUT_LEN]);

impl SecretDigest {
    pub(crate) fn from_secret(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }

    /// Returns the digest, to tell holders of sessions apart. Must not be used to check a secret,
    /// because comparing it is not constant in time.
    pub(crate) fn to_bytes(self) -> [u8; SHA256_OUTPUT_LEN] {
        self.0
    }
}

pub(crate) fn sha256(secret: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, secret).as_ref());
    bytes
}

/// Compares in constant time.
impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The id of the key.
    #[serde(with = "id_text")]
    pub id: KeyId,
    /// Its name, unique in its tenant.
    pub name: String,
    /// The actions that it allows.
    pub role: Role,
    /// The tenant that it belongs to.
    #[serde(default, skip_serializing_if = "TenantName::is_default")]
    pub tenant: TenantName,
    /// Further tenants that its requests may choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<TenantName>,
    /// The only `service.name` whose telemetry it may send; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its creation, in nanoseconds of the Unix epoch.
    #[serde(with = "nanos")]
    pub created_unix_nanos: UnixNanos,
    /// The time at which it expires; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_nanos")]
    pub expires_unix_nanos: Option<UnixNanos>,
    /// Decompressed bytes a second that it may send, on average; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Decompressed bytes a day that it may send, refilled evenly; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Requests a second that it may make, on average; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
    /// The SHA-256 of the key's text.
    #[serde(with = "digest_text")]
    pub(crate) sha256: SecretDigest,
}

impl KeyRecord {
    /// Describes the key in a text, without its digest.
    #[must_use]
    pub fn describe(&self) -> String {
        let service = self.service.as_ref().map(|service| format!(", of the service {service:?}"));
        let service = service.unwrap_or_default();
        let tenant =
            (!self.tenant.is_default()).then(|| format!(", of the tenant {}", self.tenant));
        let tenant = tenant.unwrap_or_default();
        let (id, name, role) = (self.id, &self.name, self.role.name());
        let limits = self.limits().into_iter().map(|limit| format!(", {limit}"));
        let limits: String = limits.collect();
        format!("key {id} {name:?}, role {role}{service}{tenant}{limits}")
    }

    /// Describes each limit of the key, as `10 requests per second`.
    #[must_use]
    pub fn limits(&self) -> Vec<String> {
        let limits = [
            (self.requests_per_second, KeyLimit::RequestsPerSecond),
            (self.bytes_per_second, KeyLimit::BytesPerSecond),
            (self.bytes_per_day, KeyLimit::BytesPerDay),
        ];
        let set = limits.into_iter().filter_map(|(amount, limit)| Some((amount?, limit)));
        set.map(|(amount, limit)| format!("{amount} {limit}")).collect()
    }

    /// Returns the record of a person or machine that an issuer knows. It is in no file, and no
    /// text is a key for it. The id is the same at every sign-in.
    pub(crate) fn of_subject(
        subject: &str,
        name: String,
        role: Role,
        created: UnixNanos,
        ends: UnixNanos,
    ) -> Self {
        let digest = sha256(subject.as_bytes());
        let [first, second, third, fourth, ..] = digest;
        Self {
            id: KeyId([first, second, third, fourth]),
            name,
            role,
            service: None,
            tenant: TenantName::default(),
            tenants: Vec::new(),
            created_unix_nanos: created,
            expires_unix_nanos: Some(ends),
            bytes_per_second: None,
            bytes_per_day: None,
            requests_per_second: None,
            sha256: SecretDigest(digest),
        }
    }

    /// Returns whether the record has this id, and this tenant if one is given.
    pub(crate) fn belongs_to(&self, holder: KeyId, tenant: Option<&TenantName>) -> bool {
        self.id == holder && tenant.is_none_or(|tenant| self.tenant == *tenant)
    }

    pub(crate) fn has_expired(&self, now: UnixNanos) -> bool {
        self.expires_unix_nanos.is_some_and(|end| end <= now)
    }
}

/// The description of a key that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// Its name: 1 to [`KEY_NAME_CHARS_MAX`] characters, none of them a control character.
    pub name: String,
    /// The actions that it allows.
    pub role: Role,
    /// The tenant that it belongs to.
    pub tenant: TenantName,
    /// Further tenants that its requests may choose.
    pub tenants: Vec<TenantName>,
    /// The only `service.name` whose telemetry it may send; only for keys of the role ingest.
    pub service: Option<String>,
    /// The time at which it expires; `None` for never.
    pub expires_unix_nanos: Option<UnixNanos>,
    /// Decompressed bytes a second that it may send, on average, above 0; only for keys of the role
    /// ingest.
    pub bytes_per_second: Option<u64>,
    /// Decompressed bytes a day that it may send, above 0; only for keys of the role ingest.
    pub bytes_per_day: Option<u64>,
    /// Requests a second that it may make, on average, above 0.
    pub requests_per_second: Option<u64>,
}

impl KeyRequest {
    /// Describes a key of the tenant `default` without limits.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self {
            name: name.into(),
            role,
            tenant: TenantName::default(),
            tenants: Vec::new(),
            service: None,
            expires_unix_nanos: None,
            bytes_per_second: None,
            bytes_per_day: None,
            requests_per_second: None,
        }
    }

    /// Checks the description without creating a key.
    ///
    /// # Errors
    /// `Request` with the first fault.
    pub fn check(&self, now: UnixNanos) -> Result<(), KeyFileError> {
        let refuse = |reason: String| Err(KeyFileError::Request(reason));
        let is_text = |text: &str| {
            let count = text.chars().count();
            (1..=KEY_NAME_CHARS_MAX).contains(&count) && text.chars().all(is_printable)
        };
        if !is_text(&self.name) || self.name.trim() != self.name {
            return refuse(format!(
                "a key needs a name of 1 to {KEY_NAME_CHARS_MAX} printable characters"
            ));
        }
        if self.service.as_deref().is_some_and(|service| !is_text(service)) {
            return refuse(format!(
                "a service has a name of 1 to {KEY_NAME_CHARS_MAX} printable characters"
            ));
        }
        let is_choice = |tenant: &TenantName| *tenant != self.tenant;
        if self.tenants.len() >= TENANTS_MAX || !self.tenants.iter().all(is_choice) {
            return refuse(format!(
                "tenants to choose are others than the key's own, and less than {TENANTS_MAX}"
            ));
        }
        if self.role == Role::Admin && self.tenants.iter().any(TenantName::is_default) {
            return refuse("a key that administers the tenant `default` belongs to it".to_owned());
        }
        let limits_bytes = self.bytes_per_second.is_some() || self.bytes_per_day.is_some();
        if self.role != Role::Ingest && (self.service.is_some() || limits_bytes) {
            return refuse(
                "a service and limits of bytes are of keys with the role ingest".to_owned(),
            );
        }
        let limits = [self.bytes_per_second, self.bytes_per_day, self.requests_per_second];
        if limits.contains(&Some(0)) {
            return refuse("a limit of bytes or requests is above 0".to_owned());
        }
        if self.expires_unix_nanos.is_some_and(|end| end <= now) {
            return refuse("a key cannot expire before it is made".to_owned());
        }
        Ok(())
    }

    /// Generates the key and its record.
    pub(crate) fn make(
        self,
        id: KeyId,
        now: UnixNanos,
        random: &SystemRandom,
    ) -> Result<(KeyToken, KeyRecord), KeyFileError> {
        let token = KeyToken::generate(id, random)?;
        let record = KeyRecord {
            id,
            name: self.name,
            role: self.role,
            tenant: self.tenant,
            tenants: self.tenants,
            service: self.service,
            created_unix_nanos: now,
            expires_unix_nanos: self.expires_unix_nanos,
            bytes_per_second: self.bytes_per_second,
            bytes_per_day: self.bytes_per_day,
            requests_per_second: self.requests_per_second,
            sha256: token.digest(),
        };
        Ok((token, record))
    }
}

/// Generates a random id.
pub(crate) fn random_id(random: &SystemRandom) -> Result<KeyId, KeyFileError> {
    random_bytes(random).map(KeyId)
}

pub(crate) fn random_bytes<const N: usize>(random: &SystemRandom) -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| KeyFileError::NoRandomness)?;
    Ok(bytes)
}

/// Parses exactly `N` bytes from lower-case hex digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

/// Serialises ids of the file.
mod id_text {
    use super::{Deserialize, Deserializer, KeyId, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &KeyId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyId, D::Error> {
        let text = String::deserialize(from)?;
        KeyId::parse(&text).ok_or_else(|| serde::de::Error::custom("an id has 8 hex digits"))
    }
}

/// Serialises digests of the file.
mod digest_text {
    use super::{Deserialize, Deserializer, SecretDigest, Serializer, hex, unhex};

    pub(super) fn serialize<S: Serializer>(of: &SecretDigest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(&of.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SecretDigest, D::Error> {
        let text = String::deserialize(from)?;
        let digest = unhex(&text).map(SecretDigest);
        digest.ok_or_else(|| serde::de::Error::custom("sha256 has 64 hex digits"))
    }
}

/// Serialises times of the file.
mod nanos {
    use super::{Deserialize, Deserializer, Serializer, UnixNanos};

    pub(super) fn serialize<S: Serializer>(of: &UnixNanos, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(of.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixNanos, D::Error> {
        u64::deserialize(from).map(UnixNanos)
    }
}

/// Serialises optional times of the file.
mod optional_nanos {
    use super::{Deserialize, Deserializer, Serialize, Serializer, UnixNanos};

    pub(super) fn serialize<S: Serializer>(
        of: &Option<UnixNanos>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        of.map(|nanos| nanos.0).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<UnixNanos>, D::Error> {
        Ok(Option::deserialize(from)?.map(UnixNanos))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use tidings_proto::UnixNanos;

    use super::{KeyRecord, KeyRequest, KeyToken, Role, TenantName, id_of, random_id};

    fn request(name: &str) -> KeyRequest {
        KeyRequest::new(name, Role::Ingest)
    }

    #[test]
    fn debug_and_json_do_not_show_the_secret_of_a_key() {
        let random = SystemRandom::new();
        let id = random_id(&random).unwrap();
        let (token, record) = request("checkout").make(id, UnixNanos(1), &random).unwrap();
        let text = token.reveal().to_owned();
        assert_eq!((text.len(), id_of(&text)), (60, Some(id)));
        let secret = &text[12..];
        for shown in [format!("{token:?} {record:?}"), serde_json::to_string(&record).unwrap()] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let (other, _) = request("checkout").make(id, UnixNanos(1), &random).unwrap();
        assert_ne!(text, other.reveal());
    }

    #[test]
    fn only_a_whole_key_has_an_id() {
        let secret = "0".repeat(48);
        assert!(id_of(&format!("tk_0123abcd_{secret}")).is_some());
        for text in [
            "",
            "tk_",
            "tk_0123abcd",
            "tk_0123abcd_",
            &format!("tk_0123abc_{secret}"),
            &format!("tk_0123ABCD_{secret}"),
            &format!("tk_0123abcd_{secret}0"),
            &format!("TK_0123abcd_{secret}"),
            &format!(" tk_0123abcd_{secret}"),
        ] {
            assert_eq!(id_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn invalid_descriptions_of_keys_are_refused() {
        let long = "x".repeat(101);
        let bad = [
            request(""),
            request(&long),
            request("a\nb"),
            request("a\u{202e}b"),
            request(" a"),
            KeyRequest { service: Some(String::new()), ..request("a") },
            KeyRequest { bytes_per_second: Some(0), ..request("a") },
            KeyRequest { expires_unix_nanos: Some(UnixNanos(7)), ..request("a") },
            KeyRequest { role: Role::Read, service: Some("a".to_owned()), ..request("a") },
            KeyRequest { role: Role::Admin, bytes_per_second: Some(1), ..request("a") },
            KeyRequest { role: Role::Read, bytes_per_day: Some(1), ..request("a") },
            KeyRequest { bytes_per_day: Some(0), ..request("a") },
            KeyRequest { requests_per_second: Some(0), ..request("a") },
            KeyRequest { tenants: vec![TenantName::default()], ..request("a") },
        ];
        for request in bad {
            assert!(request.check(UnixNanos(7)).is_err(), "{request:?}");
        }
        let end = Some(UnixNanos(8));
        let good = KeyRequest { expires_unix_nanos: end, ..request("Käse prod") };
        good.check(UnixNanos(7)).unwrap();
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            name in "[a-z ]{1,20}",
            service in proptest::option::of("[a-z]{1,9}"),
            created: u64,
            end: Option<u64>,
            rate: Option<u64>,
            tenants in proptest::collection::vec("[a-z]{1,9}", 1..4),
        ) {
            let random = SystemRandom::new();
            let mut tenants = tenants.iter().map(|name| name.parse().unwrap());
            let request = KeyRequest {
                tenant: tenants.next().unwrap(),
                tenants: tenants.collect(),
                service,
                expires_unix_nanos: end.map(UnixNanos),
                bytes_per_second: rate,
                ..request(&name)
            };
            let id = random_id(&random).unwrap();
            let (token, record) = request.make(id, UnixNanos(created), &random).unwrap();
            let text = serde_json::to_string(&record).unwrap();
            let read: KeyRecord = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(read.sha256, KeyToken(token.reveal().to_owned()).digest());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = id_of(&text);
        }
    }
}
