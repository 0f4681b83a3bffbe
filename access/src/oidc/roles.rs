//! The mapping from values of a claim to roles: `oidc-roles-claim` and `oidc-roles`.
//!
//! Owns which role somebody gets who has several. Does not own the search for the claim
//! ([`super::claims`]).

use crate::key::Role;

/// Stands for every value, and for none: whoever the issuer lets in.
const ANYBODY: &str = "*";
/// The most values that can be mapped.
const MAPPED_MAX: usize = 1000;
/// The order in which a role is chosen among several.
const STRONGEST_FIRST: [Role; 3] = [Role::Admin, Role::Read, Role::Ingest];

/// The values of a claim that give a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMapping {
    claim: String,
    values: Vec<(String, Role)>,
}

impl RoleMapping {
    /// Reads a mapping: `VALUE=ROLE` with commas between them.
    ///
    /// # Errors
    /// The part that is malformed, or that parts are missing.
    pub fn read(claim: &str, mapping: &str) -> Result<Self, String> {
        let parts = mapping.split(',').map(str::trim).filter(|part| !part.is_empty());
        let values = parts.map(value).collect::<Result<Vec<_>, _>>()?;
        if claim.trim().is_empty() {
            return Err("oidc-roles-claim needs the name of a claim".to_owned());
        }
        if !(1..=MAPPED_MAX).contains(&values.len()) {
            return Err(format!("1 to {MAPPED_MAX} parts as ops=admin are needed"));
        }
        Ok(Self { claim: claim.trim().to_owned(), values })
    }

    /// Returns the name of the claim, or the names on the way to it with dots between them.
    #[must_use]
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// Returns the role of somebody with these values.
    pub(crate) fn role_of(&self, given: &[&str]) -> Option<Role> {
        let has = |value: &str| value == ANYBODY || given.contains(&value);
        STRONGEST_FIRST
            .into_iter()
            .find(|role| self.values.iter().any(|(value, gives)| gives == role && has(value)))
    }
}

/// Reads one part. The value may have `=` in it, as names of groups in directories do.
fn value(part: &str) -> Result<(String, Role), String> {
    let wrong = || format!("`{part}` is no mapping as ops=admin");
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
    fn a_mapping_that_is_none_is_refused() {
        for mapping in ["", " , ", "ops", "=admin", "ops=root", "ops=Admin", "ops=admin,dev"] {
            assert!(RoleMapping::read("roles", mapping).is_err(), "{mapping:?}");
        }
        assert!(RoleMapping::read(" ", "a=read").is_err());
    }
}
