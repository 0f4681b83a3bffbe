//! The settings of an issuer of OpenID Connect: `oidc-issuer` and those that go with it.
//!
//! Owns which of them need which. The client's secret is no setting: it comes from a file or a
//! variable, so that neither a command line nor the output of `tidings config` shows it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tidings_access::{ClientSecret, IssuerUrl, OidcSettings, RoleMapping};

use super::SettingsError;

/// Name of the variable with the client's secret.
pub(super) const SECRET: &str = "TIDINGS_OIDC_CLIENT_SECRET";

/// The settings as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct OidcValues {
    pub(super) issuer: Option<IssuerUrl>,
    pub(super) client_id: String,
    pub(super) client_secret: Option<ClientSecret>,
    pub(super) client_secret_file: Option<PathBuf>,
    pub(super) scopes: Vec<String>,
    pub(super) roles_claim: String,
    pub(super) roles: String,
    pub(super) tenant_claim: String,
    pub(super) audience: Vec<String>,
    pub(super) name: String,
    pub(super) ca: Option<PathBuf>,
}

impl OidcValues {
    /// Reports whether there is an issuer.
    pub(crate) fn is_set(&self) -> bool {
        self.issuer.is_some()
    }

    /// Refuses an issuer without what it needs, and its settings without an issuer.
    pub(super) fn check(&self, insecure: bool) -> Result<(), SettingsError> {
        let wrong = |reason: &str| Err(SettingsError::Oidc(reason.to_owned()));
        let mapping = RoleMapping::read(&self.roles_claim, &self.roles);
        if let Err(reason) = mapping {
            return wrong(&format!("oidc-roles: {reason}"));
        }
        let Some(issuer) = &self.issuer else {
            let has_client = !self.client_id.is_empty() || self.client_secret_file.is_some();
            if has_client || !self.audience.is_empty() {
                return wrong(
                    "oidc-client-id, oidc-client-secret-file and oidc-audience need oidc-issuer",
                );
            }
            return Ok(());
        };
        if self.client_id.is_empty() && self.audience.is_empty() {
            return wrong(
                "oidc-issuer needs oidc-client-id, for people, or oidc-audience, for machines",
            );
        }
        if self.client_id.is_empty() && self.client_secret_file.is_some() {
            return wrong("oidc-client-secret-file needs oidc-client-id");
        }
        if self.client_secret.is_some() && self.client_secret_file.is_some() {
            return wrong(
                "oidc-client-secret-file and the variable TIDINGS_OIDC_CLIENT_SECRET are both set: one is needed",
            );
        }
        if !issuer.is_protected() && !insecure {
            return wrong(
                "oidc-issuer is on another machine and has no TLS, so that anybody between could let himself in: an https address is needed, or insecure = true if that is meant",
            );
        }
        Ok(())
    }

    /// Reads the file with the secret, if there is one; `None` without an issuer.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is empty.
    pub(crate) fn read(&self) -> Result<Option<OidcSettings>> {
        let Some(issuer) = self.issuer.clone() else { return Ok(None) };
        let secret = match &self.client_secret_file {
            None => self.client_secret.clone(),
            Some(path) => {
                let named = || format!("oidc-client-secret-file {}", path.display());
                let text = std::fs::read_to_string(path);
                let wrong = |reason: String| SettingsError::Oidc(format!("{}: {reason}", named()));
                let text = text.map_err(|error| wrong(error.to_string()))?;
                if text.trim().is_empty() {
                    return Err(wrong("there is nothing in it".to_owned()).into());
                }
                Some(ClientSecret::new(text.trim().to_owned()))
            }
        };
        let roles = RoleMapping::read(&self.roles_claim, &self.roles);
        let name = if self.name.is_empty() { issuer.host() } else { &self.name };
        Ok(Some(OidcSettings {
            client_id: Some(self.client_id.clone()).filter(|id| !id.is_empty()),
            client_secret: secret,
            scopes: self.scopes.clone(),
            roles: roles.map_err(SettingsError::Oidc).context("oidc-roles")?,
            tenant_claim: Some(self.tenant_claim.clone()).filter(|claim| !claim.is_empty()),
            audiences: self.audience.clone(),
            name: name.to_owned(),
            roots: self.ca.clone(),
            issuer,
        }))
    }
}
