//! Identity of the commands that are clients: a certificate, where TLS asks for one, and a key.
//!
//! A key comes from the variable `TIDINGS_KEY` or a file, never from the command line, which every
//! user of the machine can read.

use std::{fmt, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, value_parser};

use crate::{client_tls::ClientTls, settings::Sources};

/// The identity of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientIdentity {
    pub(crate) tls: ClientTls,
    pub(crate) key: ClientKey,
}

/// A key for a server that requires one. It is a secret: `Debug` does not show it.
#[derive(Clone, Default)]
pub(crate) struct ClientKey(pub(crate) Option<String>);

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a key" } else { "no key" })
    }
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

    /// Takes what the command line and the variables say.
    ///
    /// # Errors
    /// When the file with the key cannot be read.
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
