//! Every setting: its name, default, meaning and where its value came from.
//!
//! One table ([`SETTINGS`]) makes the command line flags, the `TIDINGS_…` variables, the keys of
//! the file and the text of `tidings config`. A later source wins: default, file, environment,
//! command line. A name that is not in the table is an error in the file and on the command line. A
//! variable of an unknown name is a warning: Kubernetes sets some in every container beside a
//! Service that is called like this program. `memory` is divided among settings that nobody set.
//!
//! A setting that bounds a crate is a field of that crate's settings, which have its default, and a
//! line of the table. Does not own the fields of crates, nor what they mean.

mod bucket_access;
mod default_text;
mod environment;
mod memory;
mod oidc;
mod own_signals;
pub(crate) mod setting_value;
mod settings_table;

use std::{
    collections::BTreeMap, ffi::OsString, fmt, net::SocketAddr, path::PathBuf, time::Duration,
};

use bucket_access::{AwsVariables, BucketAccess};
pub(crate) use environment::ClientKey;
use environment::Environment;
pub(crate) use memory::MemoryFiles;
pub(crate) use oidc::OidcValues;
pub(crate) use own_signals::{
    MetricsPushSettings, MetricsPushValues, OwnRecords, OwnTelemetrySettings,
};
pub(crate) use setting_value::{age as parse_age, bytes as parse_bytes};
pub(crate) use settings_table::{SETTINGS, Setting};
use thiserror::Error;
use tidings_access::ClientSecret;
use tidings_collector::{CollectorSettings, TlsFiles};
use tidings_proto::api::LimitInForce;
use tidings_query::QuerySettings;
use tidings_sql::SqlLimits;
use tidings_storage::{StoreSettings, TablesAt};

/// The effective settings: those of each crate, in the crate's type, and those of the process.
/// Their defaults are in the table, or are the crates'.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) store: StoreSettings,
    pub(crate) bucket: BucketAccess,
    /// The collector's settings, without the parts that a server opens: keys, TLS, the audit log,
    /// names of the host.
    pub(crate) collector: CollectorSettings,
    pub(crate) query: QuerySettings,
    pub(crate) sql: SqlAt,
    pub(crate) sql_limits: SqlLimits,
    pub(crate) http: HttpListener,
    pub(crate) insecure: bool,
    pub(crate) require_keys: bool,
    /// The file of keys; `None` means the one in the data directory.
    pub(crate) keys_file: Option<PathBuf>,
    pub(crate) oidc: OidcValues,
    pub(crate) public_url: Option<String>,
    pub(crate) tenants_max: u64,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allow_origins: Vec<String>,
    /// The folder of the audit log; `None` means the one in the data directory. Commands on a
    /// tenant's store have that of `default`.
    pub(crate) audit_dir: Option<PathBuf>,
    pub(crate) audit_reads: bool,
    /// Age at which days of the audit log are deleted; `None` means never.
    pub(crate) audit_age: Option<Duration>,
    pub(crate) log: String,
    pub(crate) metrics_push: MetricsPushValues,
    pub(crate) own_telemetry: OwnTelemetrySettings,
    /// The memory budget; `None` before it is measured.
    pub(crate) memory: Option<u64>,
    /// The settings that bound something, with their values and sources.
    pub(crate) limits: Vec<LimitInForce>,
}

/// The listener of the UI and the API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpListener {
    pub(crate) address: SocketAddr,
}

impl Default for HttpListener {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8434)) }
    }
}

/// Listeners that answer queries in SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SqlAt {
    /// A listener that only this machine can reach.
    Loopback,
    /// Every listener.
    On,
    /// No listener.
    #[default]
    Off,
}

impl SqlAt {
    /// Reports whether the listener at this address answers SQL.
    pub(crate) fn includes(self, address: SocketAddr) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Loopback => address.ip().is_loopback(),
        }
    }
}

/// Source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    CommandLine,
    /// Measured on the machine.
    Measured(String),
    /// A share of `memory`.
    Share {
        parts: u64,
        of: u64,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::CommandLine => f.write_str("command line"),
            Self::Measured(why) => f.write_str(why),
            Self::Share { parts, of } => write!(f, "{parts}/{of} of memory"),
        }
    }
}

/// Errors in the settings.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    #[error("{origin}: `{value}` is not a value for {name}: {reason}")]
    Value { name: &'static str, value: String, origin: Origin, reason: String },
    #[error("{origin}: there is no setting `{name}`{}", suggestion(name, Setting::key))]
    Unknown { name: String, origin: Origin },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "{name} listens on {address}, which other machines can reach, and nothing checks who they are; set require-keys = true and make keys with `tidings keys create`, or oidc-issuer, or insecure = true if that is meant"
    )]
    Exposed { name: &'static str, address: SocketAddr },
    #[error("the clock of this machine is before 1970: set it, answers have its time")]
    Clock,
    #[error("{0}")]
    Oidc(String),
    #[error(
        "metrics-endpoint speaks TLS: metrics-ca is needed, with roots of its certificate or the certificate itself"
    )]
    MetricsRoots,
    #[error("{given} is set and {missing} is not: TLS needs a certificate and its key")]
    TlsPart { given: &'static str, missing: &'static str },
    #[error("{first} and {second} both listen on port {port}; each needs its own")]
    SharedPort { first: &'static str, second: &'static str, port: u16 },
    #[error("{less} ({less_bytes} bytes) is more than {more} ({more_bytes} bytes): {why}")]
    Order {
        less: &'static str,
        less_bytes: u64,
        more: &'static str,
        more_bytes: u64,
        why: &'static str,
    },
}

/// The texts of the settings by name, each with its source.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    values: BTreeMap<&'static str, (String, Origin)>,
    aws: AwsVariables,
    client_key: ClientKey,
    oidc_secret: Option<ClientSecret>,
    warnings: Vec<String>,
}

impl Sources {
    /// Reads every source; `flags` are those of the command line.
    pub(crate) fn read(
        file: Option<PathBuf>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        flags: impl Iterator<Item = (&'static str, String)>,
    ) -> Result<Self, SettingsError> {
        let mut sources = Self::default();
        for setting in SETTINGS {
            sources.set(setting, setting.default_text(), Origin::Default);
        }
        let Environment { config, values, aws, key, oidc_secret, warnings } =
            Environment::read(environment)?;
        (sources.aws, sources.client_key, sources.warnings) = (aws, key, warnings);
        sources.oidc_secret = oidc_secret;
        if let Some(path) = file.or(config) {
            sources.read_file(&path)?;
        }
        for (setting, value) in values {
            sources.set(setting, value, Origin::Environment(setting.variable()));
        }
        for (name, value) in flags {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
                sources.set(setting, value, Origin::CommandLine);
            }
        }
        Ok(sources)
    }

    fn set(&mut self, setting: &Setting, value: String, origin: Origin) {
        self.values.insert(setting.name, (value, origin));
    }

    fn read_file(&mut self, path: &PathBuf) -> Result<(), SettingsError> {
        let error = |reason: String| SettingsError::File { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|source| error(source.to_string()))?;
        let table: toml::Table =
            text.parse().map_err(|source: toml::de::Error| error(source.to_string()))?;
        for (key, value) in table {
            if let toml::Value::Table(table) = &value {
                return Err(error(table_text(&key, table)));
            }
            let origin = Origin::File(path.clone());
            match SETTINGS.iter().find(|setting| setting.key() == key) {
                Some(setting) => {
                    let text = setting_value::file_text(&value).ok_or_else(|| {
                        error(format!(
                            "`{key}` must be a text, a number, a truth value or a list of texts"
                        ))
                    })?;
                    self.set(setting, text, origin);
                }
                None => return Err(SettingsError::Unknown { name: key, origin }),
            }
        }
        Ok(())
    }

    /// Checks every value and returns the settings.
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        for setting in SETTINGS {
            let Some((value, origin)) = self.values.get(setting.name) else { continue };
            (setting.set)(&mut settings, setting.name, value).map_err(|reason| {
                SettingsError::Value {
                    name: setting.name,
                    value: value.clone(),
                    origin: origin.clone(),
                    reason,
                }
            })?;
        }
        settings.limits = self.limits();
        settings.sql_limits = settings.sql_limits.within_memory();
        settings.bucket.aws = self.aws.clone();
        if let TablesAt::ObjectStore(tables) = &mut settings.store.tables {
            *tables = settings.bucket.at(tables.address.clone());
        }
        settings.oidc.client_secret = self.oidc_secret.clone();
        settings.check_listeners()?;
        settings.check_exposure()?;
        settings.check_tls()?;
        settings.oidc.check(settings.insecure)?;
        settings.metrics_push.check()?;
        settings.check_order()?;
        Ok(settings)
    }

    /// Returns the settings that bound something, in the order of the table.
    fn limits(&self) -> Vec<LimitInForce> {
        let limit = |(setting, value, origin): (&Setting, &str, &Origin)| {
            let origin = match origin {
                // The path of the file is shown only to those who may look at the machine.
                Origin::File(_) => "file".to_owned(),
                origin => origin.to_string(),
            };
            Some(LimitInForce {
                name: setting.name.to_owned(),
                value: value.to_owned(),
                unit: setting.unit?.to_owned(),
                default_value: setting.default_text(),
                origin,
                help: setting.help.to_owned(),
            })
        };
        self.lines().filter_map(limit).collect()
    }

    /// Returns a sentence for each variable that looks like a setting but is not one.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the key of client commands.
    pub(crate) fn client_key(&self) -> &ClientKey {
        &self.client_key
    }

    /// Returns the text of a setting, not checked.
    pub(crate) fn text(&self, name: &str) -> String {
        self.values.get(name).map(|(value, _)| value.clone()).unwrap_or_default()
    }

    /// Returns every setting with its value and source, in the order of the table.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static Setting, &str, &Origin)> {
        SETTINGS.iter().filter_map(|setting| {
            let (value, origin) = self.values.get(setting.name)?;
            Some((setting, value.as_str(), origin))
        })
    }
}

/// Returns the words for a table of the file, with a setting of it on a line of its own. A section,
/// a dotted key and an inline table are all read as a table.
fn table_text(name: &str, table: &toml::Table) -> String {
    let mut keys = table.keys().map(|key| key.replace('-', "_"));
    let inside = keys.find(|key| SETTINGS.iter().any(|setting| setting.key() == *key));
    let example = inside.unwrap_or_else(|| "data_dir".to_owned());
    format!(
        "`{name}` is a section or the first part of a dotted key, and the file has neither: write `{example} = …` above all sections"
    )
}

/// Returns a hint with the known name nearest to a wrong one, when one is near, as its source writes
/// it.
fn suggestion(wrong: &str, written: fn(&Setting) -> String) -> String {
    let plain = wrong.trim_start_matches("TIDINGS_").to_ascii_lowercase().replace('-', "_");
    let near =
        SETTINGS.iter().map(|setting| (setting_value::distance(&plain, &setting.key()), setting));
    match near.min_by_key(|(distance, _)| *distance) {
        // The name is right, and only its form is not.
        Some((0, setting)) => format!("; it is written `{}` here", written(setting)),
        Some((distance, setting)) if distance <= 3 && distance * 2 < plain.len() => {
            format!("; did you mean `{}`?", written(setting))
        }
        _ => "; `tidings config` lists them".to_owned(),
    }
}

impl Settings {
    fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let receivers = self.collector.receivers.iter().copied();
        std::iter::once(("http", self.http.address)).chain(receivers).collect()
    }

    /// Refuses two listeners at one address.
    fn check_listeners(&self) -> Result<(), SettingsError> {
        let listeners = self.listeners();
        for (at, (second, address)) in listeners.iter().copied().enumerate() {
            let clashes = |other: &SocketAddr| {
                let everywhere = other.ip().is_unspecified() || address.ip().is_unspecified();
                let same_port = other.port() == address.port() && address.port() != 0;
                same_port && (everywhere || other.ip() == address.ip())
            };
            let mut earlier = listeners.iter().copied().take(at);
            if let Some((first, _)) = earlier.find(|(_, other)| clashes(other)) {
                return Err(SettingsError::SharedPort { first, second, port: address.port() });
            }
        }
        Ok(())
    }

    /// Notes that a limit is lower than it was set, and why.
    pub(crate) fn lower_limit(&mut self, name: &str, value: u64, why: &str) {
        if let Some(limit) = self.limits.iter_mut().find(|limit| limit.name == name) {
            (limit.value, limit.origin) = (value.to_string(), why.to_owned());
        }
    }

    /// Reports whether every request needs a key, or a token of an issuer.
    pub(crate) fn asks_who(&self) -> bool {
        self.require_keys || self.oidc.is_set()
    }

    /// Returns the names of this host that were configured.
    pub(crate) fn configured_hosts(&self) -> Vec<String> {
        let public = self.public_url.iter().filter_map(|url| url.split_once("://"));
        let public = public.filter_map(|(_, host)| host.split(':').next());
        self.allowed_hosts.iter().cloned().chain(public.map(str::to_owned)).collect()
    }

    /// Refuses to listen beyond this machine where no keys are required, unless the settings allow
    /// it.
    fn check_exposure(&self) -> Result<(), SettingsError> {
        match self.listeners().into_iter().find(|(_, address)| !address.ip().is_loopback()) {
            Some((name, address)) if !self.insecure && !self.asks_who() => {
                Err(SettingsError::Exposed { name, address })
            }
            _ => Ok(()),
        }
    }

    /// Returns the folder of the audit log.
    pub(crate) fn audit_folder(&self) -> PathBuf {
        self.audit_dir.clone().unwrap_or_else(|| self.store.data_dir.join("audit"))
    }

    /// Returns the path of the file of keys.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.keys_file.clone().unwrap_or_else(|| self.store.data_dir.join("keys.json"))
    }

    /// Returns the files of TLS, if it is set up.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_certificate.clone()?,
            key: self.tls_key.clone()?,
            client_ca: self.tls_client_ca.clone(),
        })
    }

    /// Refuses a certificate without its key, and the reverse.
    fn check_tls(&self) -> Result<(), SettingsError> {
        let missing = match (&self.tls_certificate, &self.tls_key, &self.tls_client_ca) {
            (None, None, None) | (Some(_), Some(_), _) => return Ok(()),
            (None, Some(_), _) => ("tls-key", "tls-certificate"),
            (None, None, Some(_)) => ("tls-client-ca", "tls-certificate"),
            (Some(_), None, _) => ("tls-certificate", "tls-key"),
        };
        let (given, missing) = missing;
        Err(SettingsError::TlsPart { given, missing })
    }

    /// Returns the warning about listeners that other machines reach without keys, if there is one.
    pub(crate) fn exposure(&self) -> Option<String> {
        let exposed =
            self.listeners().into_iter().filter(|(_, address)| !address.ip().is_loopback());
        let exposed: Vec<_> = exposed.map(|(name, _)| name).collect();
        if self.asks_who() {
            let is_in_clear = !exposed.is_empty() && self.tls_certificate.is_none();
            return is_in_clear.then(|| {
                format!(
                    "other machines can reach {} without TLS: keys and telemetry cross the network \
                     in clear text unless a proxy with TLS is before it; set tls-certificate",
                    exposed.join(", ")
                )
            });
        }
        if !self.insecure {
            return None;
        }
        let unchecked = match self.tls_client_ca {
            None => "nothing checks who sends and who reads",
            Some(_) => "every client with a certificate may send, read and change everything",
        };
        Some(match exposed.as_slice() {
            [] => {
                "insecure is set, and every listener is on the loopback: none needs it".to_owned()
            }
            names => format!(
                "insecure is set: other machines can reach {}, and {unchecked}",
                names.join(", ")
            ),
        })
    }

    /// Refuses sizes that cannot work together.
    fn check_order(&self) -> Result<(), SettingsError> {
        let (store, receivers) = (&self.store, &self.collector.limits);
        let flush = ("memory-flush-bytes", store.memory_flush_bytes);
        let in_flight = ("in-flight-bytes-max", receivers.in_flight_bytes_max as u64);
        let never_fits = "a request of that size could never be taken";
        let pairs = [
            (
                flush,
                ("disk-reserve-bytes", store.disk_reserve_bytes),
                "a flush would find no room on a disk that is full",
            ),
            (
                flush,
                ("memory-bytes-max", store.memory_bytes_max),
                "memory would be full before it is written to files",
            ),
            (
                ("wal-segment-bytes", store.wal_segment_bytes),
                ("wal-bytes-max", store.wal_bytes_max),
                "the log would be full before its first segment is closed",
            ),
            (("http-body-bytes-max", receivers.http_body_bytes_max as u64), in_flight, never_fits),
            (
                ("otlp-grpc-message-bytes-max", receivers.grpc_message_bytes_max as u64),
                in_flight,
                never_fits,
            ),
        ];
        match pairs.into_iter().find(|((_, less), (_, more), _)| less > more) {
            None => Ok(()),
            Some(((less, less_bytes), (more, more_bytes), why)) => {
                Err(SettingsError::Order { less, less_bytes, more, more_bytes, why })
            }
        }
    }
}

#[cfg(test)]
mod tests;
