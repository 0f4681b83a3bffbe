//! The role of a key, and the names of its limits.
//!
//! Does not own the rules of a key's description ([`crate::key`]) and the counts against limits
//! ([`crate::rate`]).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The actions that a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends telemetry.
    Ingest,
    /// Reads what is stored.
    Read,
    /// Sends, reads, changes what is kept, and manages keys.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    /// Returns whether a key of this role allows the actions of the needed role.
    #[must_use]
    pub fn includes(self, needed: Self) -> bool {
        self == needed || self == Self::Admin
    }

    /// Returns its name in commands, files and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// Writes the actions of the role, as continuation of "may".
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "send",
            Self::Read => "read",
            Self::Admin => "administer",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text:?} is no role: ingest, read or admin"))
    }
}

/// A limit that a key has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyLimit {
    /// Requests a second.
    RequestsPerSecond,
    /// Bytes a second.
    BytesPerSecond,
    /// Bytes a day.
    BytesPerDay,
}

/// Writes the limit, as continuation of "has used up its".
impl fmt::Display for KeyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestsPerSecond => "requests per second",
            Self::BytesPerSecond => "bytes per second",
            Self::BytesPerDay => "bytes per day",
        })
    }
}
