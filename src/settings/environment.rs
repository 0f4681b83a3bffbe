//! The environment's variables: those that are settings, those of AWS, and those that only look like
//! settings.
//!
//! Kubernetes gives every container variables for each Service of its namespace: a Service that is
//! called `tidings` makes `TIDINGS_SERVICE_HOST`, `TIDINGS_PORT=tcp://10.0.0.1:4317` and more. So a
//! name that is no setting is no error: it is ignored, with a warning.

use std::{ffi::OsString, fmt, path::PathBuf};

use tidings_access::ClientSecret;

use super::{AwsVariables, Origin, SETTINGS, Setting, SettingsError, oidc, suggestion};

/// Prefix of every variable that is a setting.
const PREFIX: &str = "TIDINGS_";
/// Name of the variable with the file of settings.
const CONFIG: &str = "TIDINGS_CONFIG";
/// Name of the variable with the key of client commands.
const KEY: &str = "TIDINGS_KEY";
/// Maximum number of names in a warning.
const NAMES_MAX: usize = 8;

/// The variables by their meaning.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) config: Option<PathBuf>,
    pub(super) values: Vec<(&'static Setting, String)>,
    pub(super) aws: AwsVariables,
    pub(super) key: ClientKey,
    pub(super) oidc_secret: Option<ClientSecret>,
    /// A sentence for each variable that is ignored, and one for all of Kubernetes'.
    pub(super) warnings: Vec<String>,
}

/// A key for a server that requires one. It is a secret: `Debug` does not show it.
#[derive(Clone, Default)]
pub(crate) struct ClientKey(pub(crate) Option<String>);

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a key" } else { "no key" })
    }
}

impl Environment {
    /// Sorts the variables.
    ///
    /// # Errors
    /// Fails if the value of a setting is not UTF-8.
    pub(super) fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut environment = Self::default();
        let mut services = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if name.starts_with("AWS_") {
                environment
                    .aws
                    .0
                    .extend(value.to_str().map(|value| (name.to_owned(), value.into())));
            } else if name == CONFIG {
                environment.config = Some(PathBuf::from(value));
            } else if name == KEY {
                environment.key = ClientKey(value.to_str().map(|key| key.trim().to_owned()));
            } else if name == oidc::SECRET {
                let secret = value.to_str().map(str::trim).filter(|secret| !secret.is_empty());
                environment.oidc_secret = secret.map(|secret| ClientSecret::new(secret.to_owned()));
            } else if let Some(setting) = SETTINGS.iter().find(|known| known.variable() == name) {
                environment.values.push((setting, text(setting, value)?));
            } else if is_of_a_service(name) {
                services.push(name.to_owned());
            } else if name.starts_with(PREFIX) {
                let suggestion = suggestion(name, Setting::variable);
                environment.warnings.push(format!(
                    "the variable {name} is no setting and is left alone{suggestion}"
                ));
            }
        }
        environment.warnings.extend(service_warning(services));
        Ok(environment)
    }
}

fn text(setting: &'static Setting, value: OsString) -> Result<String, SettingsError> {
    value.into_string().map_err(|value| SettingsError::Value {
        name: setting.name,
        value: value.to_string_lossy().into_owned(),
        origin: Origin::Environment(setting.variable()),
        reason: "it is not UTF-8".to_owned(),
    })
}

/// Reports whether Kubernetes may have set the variable, or Docker's links, from which Kubernetes
/// took the names: `…_SERVICE_HOST`, `…_SERVICE_PORT` and `…_SERVICE_PORT_NAME`, `…_PORT`,
/// `…_PORT_4317_TCP` and names that begin so.
fn is_of_a_service(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    // The name of a Service may have more parts: tidings-receivers.
    let parts: Vec<&str> = rest.split('_').collect();
    let ends = (0..parts.len()).filter_map(|at| parts.get(at..));
    ends.into_iter().any(|end| match end {
        ["SERVICE", "HOST"] | ["SERVICE", "PORT", ..] | ["PORT"] => true,
        ["PORT", number, "TCP" | "UDP" | "SCTP", ..] => {
            number.bytes().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    })
}

fn service_warning(mut names: Vec<String>) -> Option<String> {
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let listed = names.join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "the variables {listed}{more} are no settings and are left alone: Kubernetes sets them \
             for a Service whose name begins with tidings"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{SETTINGS, is_of_a_service};

    #[test]
    fn variables_of_kubernetes_are_known_by_their_names() {
        for name in [
            "TIDINGS_SERVICE_HOST",
            "TIDINGS_SERVICE_PORT",
            "TIDINGS_SERVICE_PORT_OTLP_GRPC",
            "TIDINGS_PORT",
            "TIDINGS_PORT_4317_TCP",
            "TIDINGS_PORT_4317_TCP_ADDR",
            "TIDINGS_PORT_4317_TCP_PROTO",
            "TIDINGS_HTTP_PORT_8434_UDP_PORT",
            "TIDINGS_RECEIVERS_SERVICE_HOST",
        ] {
            assert!(is_of_a_service(name), "{name}");
        }
        for name in ["TIDINGS_HTTP", "TIDINGS_PORTS", "TIDINGS_PORT_HTTP_TCP", "SERVICE_HOST", ""] {
            assert!(!is_of_a_service(name), "{name}");
        }
    }

    /// A Service of this name would set such a setting.
    #[test]
    fn no_setting_has_a_name_that_kubernetes_gives() {
        for setting in SETTINGS {
            assert!(!is_of_a_service(&setting.variable()), "{setting:?}");
        }
    }
}
