//! The mapping from values of a claim to roles: the settings `oidc-roles-claim` and `oidc-roles`.
//!
//! Owns the choice among several roles. Does not own the search for the claim ([`super::claims`]).

use crate::role::Role;

/// The value that maps everybody whom the issuer authenticates, with or without the claim.
const ANYBODY: &str = "*";
/// Maximum number of mapped values.
const MAPPED_MAX: usize = 1000;
/// The order in which one of several roles is chosen.
const STRONGEST_FIRST: [Role; 3] = [Role::Admin, Role::Read, Role::Ingest];

/// The mapping from values of a claim to roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMapping {
    claim: String,
    values: Vec<(String, Role)>,
}

impl RoleMapping {
    /// Parses a mapping: `VALUE=ROLE` with commas between them.
    ///
    /// # Errors
    /// When the claim has no name, a mapping is malformed, or there are none or too many.
    pub fn read(claim: &str, mapping: &str) -> Result<Self, String> {
        let parts = mapping.split(',').map(str::trim).filter(|part| !part.is_empty());
        let values = parts.map(value).collect::<Result<Vec<_>, _>>()?;
        if claim.trim().is_empty() {
            return Err("oidc-roles-claim needs the name of a claim".to_owned());
        }
        if !(1..=MAPPED_MAX).contains(&values.len()) {
            return Err(format!("1 to {MAPPED_MAX} mappings as ops=admin are needed"));
        }
        Ok(Self { claim: claim.trim().to_owned(), values })
    }

    /// Returns the name of the claim, or its path of names with dots between them.
    #[must_use]
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// Returns the strongest role that these values give.
    pub(crate) fn role_of(&self, given: &[&str]) -> Option<Role> {
        let has = |value: &str| value == ANYBODY || given.contains(&value);
        STRONGEST_FIRST
            .into_iter()
            .find(|role| self.values.iter().any(|(value, gives)| gives == role && has(value)))
    }
}

/// Parses one mapping. The value may contain `=`, as names of groups in directories do.
fn value(part: &str) -> Result<(String, Role), String> {
    let wrong = || format!("`{part}` is not a mapping as ops=admin is");
    let (value, role) = part.rsplit_once('=').ok_or_else(wrong)?;
    let value = value.trim();
    if value.is_empty() {
        return Err(wrong());
    }
    Ok((value.to_owned(), role.trim().parse()?))
}

#[cfg(test)]
mod tests {
    use super::{Role, RoleMapping};

    fn role(mapping: &str, given: &[&str]) -> Option<Role> {
        RoleMapping::read("roles", mapping).unwrap().role_of(given)
    }

    #[test]
    fn the_strongest_of_several_roles_counts() {
        let mapping = "send=ingest, dev=read,ops=admin";
        assert_eq!(role(mapping, &["send"]), Some(Role::Ingest));
        assert_eq!(role(mapping, &["send", "dev"]), Some(Role::Read));
        assert_eq!(role(mapping, &["dev", "x", "ops"]), Some(Role::Admin));
        assert_eq!(role(mapping, &["admin", "Dev", "*", ""]), None);
        assert_eq!(role(mapping, &[]), None);
    }

    #[test]
    fn everybody_has_a_role_only_when_the_mapping_says_so() {
        assert_eq!(role("ops=admin,*=read", &[]), Some(Role::Read));
        assert_eq!(role("ops=admin,*=read", &["ops"]), Some(Role::Admin));
        assert_eq!(role("cn=ops=admin", &["cn=ops"]), Some(Role::Admin));
    }

    #[test]
    fn malformed_mappings_are_refused() {
        for mapping in ["", " , ", "ops", "=admin", "ops=root", "ops=Admin", "ops=admin,dev"] {
            assert!(RoleMapping::read("roles", mapping).is_err(), "{mapping:?}");
        }
        assert!(RoleMapping::read(" ", "a=read").is_err());
    }
}
