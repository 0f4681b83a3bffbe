//! Connects to an S3-compatible store.

use std::{fmt::Display, net::IpAddr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut},
};
use url::{Host, Url};

use super::{credentials::FileCredentials, location::ObjectStoreSettings};
use crate::StorageError;

/// Timeout of a request, body included.
const REQUEST: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum retries of a request while the store is busy or unreachable, with pauses of about three
/// seconds in total. No retry begins after [`RETRY`]. The caller retries later: a flush with
/// growing pauses, a reader on the next request.
const RETRIES: usize = 5;
const RETRY: Duration = Duration::from_secs(30);
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(100),
    max_backoff: Duration::from_secs(5),
    base: 2.,
};

/// Creates the client of the configured store, without a request yet.
///
/// # Errors
/// `Refused` when the settings are inconsistent.
pub(super) fn connect(
    settings: &ObjectStoreSettings,
) -> Result<Arc<dyn ObjectStore>, StorageError> {
    let at = settings.address.to_string();
    let refused = |reason: String| StorageError::Refused { at: at.clone(), reason };
    let retry = RetryConfig { backoff: BACKOFF, max_retries: RETRIES, retry_timeout: RETRY };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(
            ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT),
        )
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    for (name, value) in &settings.options {
        // Names are those of environment variables. Unknown ones are ignored.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let said = |builder: &AmazonS3Builder, key| builder.get_config_value(&key);
    let endpoint = said(&builder, AmazonS3ConfigKey::Endpoint);
    let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
    let http_allowed = said(&builder, allow_http).is_some_and(|said| said == "true");
    if let Some(endpoint) = endpoint {
        let parsed = Url::parse(&endpoint)
            .map_err(|error| refused(format!("`{endpoint}` is no endpoint: {error}")))?;
        if parsed.scheme() == "http" {
            if !(http_allowed || settings.allow_http || is_loopback(&parsed)) {
                return Err(refused(not_encrypted(&endpoint)));
            }
            builder = builder.with_allow_http(true);
        }
    }
    if said(&builder, AmazonS3ConfigKey::AccessKeyId).is_none()
        && let Some(path) = settings.option("AWS_SHARED_CREDENTIALS_FILE")
    {
        let profile = settings.option("AWS_PROFILE").unwrap_or("default");
        builder = builder.with_credentials(Arc::new(FileCredentials::new(path, profile)));
    }
    let store = builder.with_bucket_name(&settings.address.bucket).build();
    Ok(Arc::new(store.map_err(|error| refused(error.to_string()))?))
}

fn not_encrypted(endpoint: impl Display) -> String {
    format!(
        "{endpoint} is not encrypted and not on this machine; use https, or set \
         tables-allow-http = true if that is meant"
    )
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
