//! Settings of the location of the tables.

use std::{fmt, str::FromStr};

use object_store::path::Path as ObjectPath;
use url::Url;

use crate::StorageError;

/// Location of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TablesAt {
    /// In `<data-dir>/tables`.
    #[default]
    DataDirectory,
    /// In an S3-compatible store.
    ObjectStore(ObjectStoreSettings),
}

/// Tables in an S3-compatible store.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectStoreSettings {
    /// Address of the tables in the store.
    pub address: ObjectAddress,
    /// Connection options, with the names of AWS's environment variables, such as
    /// `AWS_ACCESS_KEY_ID`. A later entry overrides an earlier one. The values may be secret, and
    /// are never shown.
    pub options: Vec<(String, String)>,
    /// True to allow unencrypted requests to another machine.
    pub allow_http: bool,
    /// Maximum bytes of local copies of the tables' files.
    pub cache_bytes_max: u64,
}

impl ObjectStoreSettings {
    /// Returns the value of a connection option. `None` when no option has this name.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        options.find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for ObjectStoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreSettings")
            .field("address", &self.address)
            .field("allow_http", &self.allow_http)
            .field("cache_bytes_max", &self.cache_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A bucket and the common prefix of its objects' names: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAddress {
    /// Name of the bucket.
    pub bucket: String,
    prefix: String,
}

impl FromStr for ObjectAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of tables, as s3://bucket/prefix");
        let (bucket, prefix) = text
            .strip_prefix("s3://")
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .ok_or_else(wrong)?;
        let is_plain =
            |letter: char, more: &str| letter.is_ascii_alphanumeric() || more.contains(letter);
        let prefix = prefix.trim_end_matches('/');
        let plain = !bucket.is_empty() && bucket.chars().all(|letter| is_plain(letter, ".-_"));
        let mut parts = prefix.split('/');
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|letter| is_plain(letter, "!-_.=@"))
        };
        if plain && (prefix.is_empty() || parts.all(is_part)) {
            return Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        Err(wrong())
    }
}

impl fmt::Display for ObjectAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl ObjectAddress {
    /// Returns the address below this one with `inside` appended to the prefix. `inside` must
    /// consist of characters that an address may have.
    ///
    /// # Errors
    /// When it has other characters.
    pub fn below(&self, inside: &str) -> Result<Self, String> {
        format!("{self}/{inside}").parse()
    }

    /// Returns the name of an object in the bucket.
    pub fn location(&self, inside: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{inside}", self.prefix))
    }

    /// Returns the URL of a table.
    pub(crate) fn url_of(&self, table: &str) -> Result<Url, StorageError> {
        let at = format!("{self}/{table}/");
        Url::parse(&at).map_err(|error| StorageError::Refused { at, reason: error.to_string() })
    }
}
