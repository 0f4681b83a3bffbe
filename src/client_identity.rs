//! Identity and TLS of client commands: the servers that they trust, their own certificate, and
//! their key.
//!
//! `--ca FILE` has roots, or the server's own certificate. A command that has the server's settings
//! needs neither: it trusts the certificate in `tls-certificate`, whatever name the server is
//! reached by.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, value_parser};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::settings::{ClientKey, Sources};

/// The files of a client's TLS, in PEM.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientTls {
    /// Roots, or servers' own certificates; without them the client speaks no TLS.
    ca: Option<PathBuf>,
    /// The client's certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Returns the arguments of every client command.
    pub(crate) fn args() -> [Arg; 3] {
        let file = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(help)
        };
        [
            file(
                "ca",
                "The server speaks TLS: roots of its certificate, or the certificate itself, in PEM \
                 [default: tls-certificate of the settings]",
            ),
            file("client-certificate", "A certificate for a server that asks for one, in PEM")
                .requires("client-key"),
            file("client-key", "The key of --client-certificate, in PEM")
                .requires("client-certificate"),
        ]
    }

    /// Reads the files from the command line and the server's settings.
    pub(crate) fn from_matches(matches: &ArgMatches, sources: &Sources) -> Self {
        let file = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let of_server = sources.text("tls-certificate");
        let of_server = (!of_server.is_empty()).then(|| PathBuf::from(of_server));
        Self {
            ca: file("ca").or(of_server),
            identity: file("client-certificate").zip(file("client-key")),
        }
    }

    /// Trusts a server with this certificate.
    pub(crate) fn of_server(certificate: Option<PathBuf>) -> Self {
        Self { ca: certificate, identity: None }
    }

    /// Reports whether servers are reached over TLS when their address names no scheme.
    pub(crate) fn is_used(&self) -> bool {
        self.ca.is_some()
    }

    /// Reads the files.
    pub(crate) fn config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let trusted = self.ca.as_ref().map(certificates).transpose()?.unwrap_or_default();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
        let by_root = if added == 0 {
            None
        } else {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            Some(builder.build().context("the roots of --ca")?)
        };
        let verifier = ServerVerifier { trusted, by_root, provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let path = key.display();
        let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{path}: no key"))?;
        let chain = certificates(certificate)?;
        builder.with_client_auth_cert(chain, key).with_context(|| path.to_string())
    }
}

/// Reads every certificate of a file, which must have at least one.
fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>> {
    let name = || path.display().to_string();
    let read = CertificateDer::pem_file_iter(path).with_context(name)?;
    let read = read.collect::<Result<Vec<_>, _>>().with_context(name)?;
    anyhow::ensure!(!read.is_empty(), "{} has no certificate in it", path.display());
    Ok(read)
}

/// Accepts a server whose certificate is one of these, or is signed by one of them and has its
/// name.
#[derive(Debug)]
struct ServerVerifier {
    trusted: Vec<CertificateDer<'static>>,
    by_root: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The handshake shows that the server has the key of its certificate, which no other has.
        if self.trusted.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.by_root {
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
            Some(by_root) => by_root.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The identity of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientIdentity {
    pub(crate) tls: ClientTls,
    pub(crate) key: ClientKey,
}

impl ClientIdentity {
    /// Returns the arguments of every command that is a client.
    pub(crate) fn args() -> Vec<Arg> {
        let key = Arg::new("key-file")
            .long("key-file")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The server requires keys: a file with one [env: TIDINGS_KEY, the key itself]");
        ClientTls::args().into_iter().chain([key]).collect()
    }

    /// Reads the identity from the command line and the variables.
    ///
    /// # Errors
    /// Fails if the file with the key cannot be read.
    pub(crate) fn from_matches(matches: &ArgMatches, sources: &Sources) -> Result<Self> {
        let key = match matches.get_one::<PathBuf>("key-file") {
            None => sources.client_key().clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("--key-file {}", path.display()))?;
                ClientKey(Some(text.trim().to_owned()))
            }
        };
        Ok(Self { tls: ClientTls::from_matches(matches, sources), key })
    }
}
