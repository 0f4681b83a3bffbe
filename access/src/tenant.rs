//! Tenants: groups of keys whose telemetry is kept apart.
//!
//! A key belongs to one tenant, which is `default` if the key names none. Owns the form of names,
//! which are also names of folders, and the header by which a request chooses another tenant than
//! its key's. Does not own the stores of tenants, which the process opens.

use std::{fmt, str::FromStr, sync::Arc};

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Default of the maximum number of tenants, `default` included.
pub const TENANTS_MAX: usize = 16;
/// Maximum characters of a tenant's name, as of a DNS label.
pub const TENANT_NAME_CHARS_MAX: usize = 63;

/// The header that chooses the tenant of a request, as Grafana's data sources and collectors send
/// it. In gRPC it is metadata of the same name.
pub const TENANT_HEADER: HeaderName = HeaderName::from_static("x-scope-orgid");

const DEFAULT: &str = "default";

/// A tenant's name: 1 to 63 lower-case letters, digits and hyphens, of which the first is not a
/// hyphen.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TenantName(Option<Arc<str>>);

impl TenantName {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT)
    }

    /// Returns whether this is `default`, the tenant of keys that name none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TenantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut bytes = text.bytes();
        let first = bytes.next().is_some_and(is_plain);
        if !first || text.len() > TENANT_NAME_CHARS_MAX || !bytes.all(|b| is_plain(b) || b == b'-')
        {
            return Err(format!(
                "a tenant has a name of 1 to {TENANT_NAME_CHARS_MAX} lower-case letters, digits \
                 and hyphens, and begins with a letter or a digit"
            ));
        }
        Ok(Self((text != DEFAULT).then(|| text.into())))
    }
}

impl Serialize for TenantName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TenantName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The tenant that a request's header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChosenTenant {
    /// The request has no such header.
    OfKey,
    /// The header names this tenant.
    Named(TenantName),
    /// The name is malformed, or the header names several.
    Unusable,
}

/// Returns the tenant that a request chooses.
pub(crate) fn chosen_tenant(headers: &HeaderMap) -> ChosenTenant {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return ChosenTenant::OfKey };
    let named = value.to_str().ok().and_then(|text| text.parse().ok());
    match (named, values.next()) {
        (Some(name), None) => ChosenTenant::Named(name),
        _ => ChosenTenant::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{ChosenTenant, TENANT_HEADER, TenantName, chosen_tenant};

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |value: &&str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        values.iter().map(|text| (TENANT_HEADER, value(text))).collect()
    }

    #[test]
    fn names_are_valid_names_of_folders() {
        for good in ["a", "team-a", "0", "a--", &"x".repeat(63)] {
            let name: TenantName = good.parse().unwrap();
            assert_eq!((name.as_str(), name.is_default()), (good, false));
        }
        assert_eq!("default".parse(), Ok(TenantName::default()));
        for bad in [
            "",
            "-a",
            "A",
            "a_b",
            "a.b",
            ".",
            "..",
            "a/b",
            "../a",
            "%2e%2e",
            "a\0",
            "a b",
            " a",
            "a|b",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<TenantName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_names_one_tenant_or_none() {
        let name = |text: &str| ChosenTenant::Named(text.parse().unwrap());
        for (values, chosen) in [
            (&[][..], ChosenTenant::OfKey),
            (&["a"], name("a")),
            (&["default"], name("default")),
            (&["a", "b"], ChosenTenant::Unusable),
            (&["a", "a"], ChosenTenant::Unusable),
            (&["a|b"], ChosenTenant::Unusable),
            (&[""], ChosenTenant::Unusable),
            (&["ä"], ChosenTenant::Unusable),
        ] {
            assert_eq!(chosen_tenant(&headers(values)), chosen, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(text in "[a-z0-9][a-z0-9-]{0,62}") {
            let name: TenantName = text.parse().unwrap();
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<TenantName>(&json).unwrap(), name);
        }

        #[test]
        fn no_name_leads_out_of_its_folder(text in "\\PC{0,70}") {
            if let Ok(name) = text.parse::<TenantName>() {
                prop_assert!(!name.as_str().contains(['/', '\\', '.', '\0']));
            }
        }
    }
}
