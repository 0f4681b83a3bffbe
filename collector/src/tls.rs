//! TLS of the listeners: the certificate and its key, certificates of clients, and renewal.
//!
//! Files are read at the start, where an error ends the command. They are polled every two seconds
//! from then on, because other programs renew certificates every few weeks or hours. An error of
//! such a poll is logged, and handshakes continue with the previous certificate. A connection keeps
//! the certificate of its handshake. Owns the files and the settings of rustls. Does not own
//! connections and their handshakes ([`crate::transport`]).

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use thiserror::Error;
use tidings_storage::{Clock, read_regular};
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;

use crate::phase::{Phase, Phases};

/// Interval between two polls of the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Number of polls, about an hour, after which a lasting failure is logged again. It is first
/// logged at its second poll, because files are written one after another.
const REPEATED_POLLS: u32 = 1800;
/// Maximum bytes of a file: a hundred times a long chain of certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The protocols of ALPN, from which a client chooses.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The files of TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// Its key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// The root certificates for certificates of clients; `None` if clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The reason that TLS cannot be used. The operator has to change the files.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is too large.
    #[error("{path} has more than {limit} bytes", path = path.display())]
    TooLarge {
        /// Its path.
        path: PathBuf,
        /// The maximum, in bytes.
        limit: u64,
    },
    /// A file is not PEM.
    #[error("{path} is not PEM: {source}", path = path.display())]
    NotPem {
        /// Its path.
        path: PathBuf,
        /// The first fault in it.
        source: pem::Error,
    },
    /// A PEM file does not have the required section.
    #[error("{path} has no {wanted} in it", path = path.display())]
    Empty {
        /// Its path.
        path: PathBuf,
        /// The section.
        wanted: &'static str,
    },
    /// The key belongs to another certificate.
    #[error("{key} is not the key of {certificate}", key = key.display(), certificate = certificate.display())]
    OtherKey {
        /// The path of the key.
        key: PathBuf,
        /// The path of the certificate.
        certificate: PathBuf,
    },
    /// Rustls refuses the certificate or key.
    #[error("{path} cannot be used: {source}", path = path.display())]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// The fault.
        source: rustls::Error,
    },
    /// The root certificates cannot verify clients.
    #[error("{path} cannot be used: {source}", path = path.display())]
    UnusableRoots {
        /// Their path.
        path: PathBuf,
        /// The fault.
        source: VerifierBuilderError,
    },
}

/// The TLS of all listeners.
pub struct Tls {
    files: TlsFiles,
    current: Mutex<CurrentConfig>,
    /// The fault of the current files, while an older certificate is used.
    fault: Mutex<Option<String>>,
}

struct CurrentConfig {
    config: Arc<ServerConfig>,
    /// Hash of the files' content.
    fingerprint: u64,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The file that cannot be used, and the reason.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let texts = PemTexts::read(&files)?;
        let (config, fingerprint) = (Arc::new(texts.config(&files)?), texts.fingerprint());
        let current = Mutex::new(CurrentConfig { config, fingerprint });
        Ok(Self { files, current, fault: Mutex::default() })
    }

    /// Returns whether clients need a certificate.
    #[must_use]
    pub fn checks_clients(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Returns the fault of the current files, while an older certificate is used.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Polls the files and loads renewed ones, until the listeners stop.
    pub async fn follow(self: Arc<Self>, clock: Arc<dyn Clock>, mut phases: Phases) {
        let mut failures = RenewalFailures::default();
        loop {
            tokio::select! {
                () = phases.reached(Phase::Draining) => return,
                () = clock.sleep(POLL_INTERVAL) => {}
            }
            let tls = Arc::clone(&self);
            let renewed = match spawn_blocking(move || tls.renew()).await {
                Ok(renewed) => renewed,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    Err(_) => return,
                },
            };
            let certificate = self.files.certificate.display();
            let set_fault = |fault| {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
            };
            match renewed {
                Ok(is_new) => {
                    failures = RenewalFailures::default();
                    set_fault(None);
                    if is_new {
                        tracing::info!(%certificate, "certificate renewed");
                    }
                }
                Err(error) if failures.is_due(error.to_string()) => {
                    set_fault(Some(error.to_string()));
                    tracing::error!(%error, %certificate, "the certificate is not renewed, the previous one stays in use");
                }
                Err(_) => {}
            }
        }
    }

    /// Returns the acceptor of the next handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current().config).into()
    }

    /// Reads the files, and uses them if they have changed. Returns whether they have. Blocks.
    fn renew(&self) -> Result<bool, TlsError> {
        let texts = PemTexts::read(&self.files)?;
        let fingerprint = texts.fingerprint();
        if fingerprint == self.current().fingerprint {
            return Ok(false);
        }
        let config = Arc::new(texts.config(&self.files)?);
        *self.current() = CurrentConfig { config, fingerprint };
        Ok(true)
    }

    fn current(&self) -> MutexGuard<'_, CurrentConfig> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Consecutive failures to renew for the same reason.
#[derive(Debug, Default)]
struct RenewalFailures {
    reason: String,
    polls: u32,
}

impl RenewalFailures {
    /// Counts a failure. Returns whether to log it.
    fn is_due(&mut self, reason: String) -> bool {
        if reason != self.reason {
            *self = Self { reason, polls: 0 };
        }
        self.polls = self.polls.wrapping_add(1);
        self.polls % REPEATED_POLLS == 2
    }
}

/// The content of the files.
#[derive(Hash)]
struct PemTexts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl PemTexts {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// Returns a hash by which changes of the files are found, so that the key itself is not kept.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |path: &Path| {
            let path = path.to_owned();
            |source| TlsError::Unusable { path, source }
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable(&files.certificate))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(text), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for root in certificates(text, path)? {
                    roots.add(root).map_err(unusable(path))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let unusable = |source| TlsError::UnusableRoots { path: path.clone(), source };
                builder.with_client_cert_verifier(verifier.map_err(unusable)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        let key = key.map_err(|error| {
            unread_section(error, &files.key, "key (PKCS#8, PKCS#1 or SEC1, not encrypted)")
        })?;
        let mut config = builder.with_single_cert(chain, key).map_err(|source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey {
                key: files.key.clone(),
                certificate: files.certificate.clone(),
            },
            source => unusable(&files.certificate)(source),
        })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let text = read_regular(path, FILE_BYTES_MAX)
        .map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX });
    }
    Ok(text)
}

/// Returns the certificates of a file, at least one.
fn certificates(text: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let sections = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let sections = sections.and_then(|found| match found.as_slice() {
        [] => Err(pem::Error::NoItemsFound),
        _ => Ok(found),
    });
    sections.map_err(|error| unread_section(error, path, "certificate"))
}

fn unread_section(error: pem::Error, path: &Path, wanted: &'static str) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::NoItemsFound => TlsError::Empty { path, wanted },
        source => TlsError::NotPem { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::{REPEATED_POLLS, RenewalFailures};

    #[test]
    fn a_failure_to_renew_is_logged_when_it_lasts_and_again_after_an_hour() {
        let mut failures = RenewalFailures::default();
        let mut due = |reason: &str| failures.is_due(reason.to_owned());
        assert!(!due("half written") && !due("no key"));
        let lines = (0..REPEATED_POLLS * 2).filter(|_| due("no key")).count();
        assert_eq!(lines, 2);
        assert!(!due("half written"));
    }
}
