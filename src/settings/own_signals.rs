//! The settings of the server's telemetry about itself: the collector that gets its metrics
//! (`metrics-endpoint`), and the traces and log lines that it stores (`own-telemetry`).

use std::{path::PathBuf, time::Duration};

use axum::http::{Uri, uri::Scheme};

use super::SettingsError;

/// Address and interval of the metrics that are sent.
#[derive(Debug, Clone)]
pub(crate) struct MetricsPushSettings {
    pub(crate) endpoint: Uri,
    pub(crate) interval: Duration,
    /// Roots of the collector's certificate.
    pub(crate) ca: Option<PathBuf>,
}

/// The settings as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetricsPushValues {
    pub(super) endpoint: Option<Uri>,
    pub(super) interval: Duration,
    pub(super) ca: Option<PathBuf>,
}

impl MetricsPushValues {
    /// Returns the settings; `None` where metrics are not sent.
    pub(crate) fn read(&self) -> Option<MetricsPushSettings> {
        let endpoint = self.endpoint.clone()?;
        Some(MetricsPushSettings { endpoint, interval: self.interval, ca: self.ca.clone() })
    }

    /// Refuses a TLS address of a collector without roots that check its certificate.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let scheme = self.endpoint.as_ref().and_then(Uri::scheme);
        if scheme == Some(&Scheme::HTTPS) && self.ca.is_none() {
            return Err(SettingsError::MetricsRoots);
        }
        Ok(())
    }
}

/// Reads the address of a collector, if any.
pub(super) fn endpoint(text: &str) -> Result<Option<Uri>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || "a URL is needed, as http://127.0.0.1:4318".to_owned();
    let endpoint: Uri = text.parse().map_err(|_| wrong())?;
    let is_http = matches!(endpoint.scheme_str(), Some("http" | "https"));
    let host = endpoint.host().unwrap_or_default();
    if !is_http || host.is_empty() || endpoint.query().is_some() {
        return Err(wrong());
    }
    if endpoint.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a name and a password have no place in it".to_owned());
    }
    Ok(Some(endpoint))
}

/// The own records that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OwnRecords {
    /// No records.
    #[default]
    Off,
    /// Traces that failed or were slow, and log lines from warnings on.
    Errors,
    /// Every request to the HTTP address as well, and log lines from information on.
    All,
}

/// Settings of the server's own telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OwnTelemetrySettings {
    pub(crate) records: OwnRecords,
    /// Milliseconds from which a trace is slow.
    pub(crate) slow_millis: u64,
}

impl OwnTelemetrySettings {
    /// Reports whether any records are kept.
    pub(crate) fn is_on(self) -> bool {
        self.records != OwnRecords::Off
    }
}

/// Reads which own records are kept.
pub(super) fn records(text: &str) -> Result<OwnRecords, String> {
    match text {
        "off" => Ok(OwnRecords::Off),
        "errors" => Ok(OwnRecords::Errors),
        "all" => Ok(OwnRecords::All),
        _ => Err("off, errors or all is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{MetricsPushValues, OwnRecords, OwnTelemetrySettings, endpoint, records};

    #[test]
    fn a_collector_has_an_address_and_no_password() {
        assert_eq!(endpoint(""), Ok(None));
        for text in ["http://127.0.0.1:4318", "https://otel.example/v1/metrics"] {
            assert!(endpoint(text).unwrap().is_some(), "{text}");
        }
        for text in ["127.0.0.1:4318", "ftp://a", "http://", "http://a/?key=1", "http://u:p@a"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tls_needs_roots() {
        let mut values = MetricsPushValues {
            endpoint: endpoint("https://otel.example").unwrap(),
            ..MetricsPushValues::default()
        };
        assert!(values.check().is_err());
        values.ca = Some("roots.pem".into());
        assert!(values.check().is_ok() && values.read().is_some());
        assert!(MetricsPushValues::default().read().is_none());
    }

    #[test]
    fn nothing_is_kept_unless_it_is_asked_for() {
        assert!(!OwnTelemetrySettings::default().is_on());
        for (text, expected) in
            [("off", OwnRecords::Off), ("errors", OwnRecords::Errors), ("all", OwnRecords::All)]
        {
            assert_eq!(records(text), Ok(expected));
        }
        assert!(records("some").is_err());
    }
}
