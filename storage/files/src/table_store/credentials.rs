//! Credentials from a file in the format of Amazon's tools.
//!
//! ```text
//! [default]
//! aws_access_key_id = …
//! aws_secret_access_key = …
//! aws_session_token = …          may be left out
//! ```
//!
//! An external program renews them by writing the file again. The file is read again after a
//! change, so that no restart is needed.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use object_store::{CredentialProvider, Error, Result, aws::AwsCredential};

/// Credentials in a file: see the module's description.
pub(super) struct FileCredentials {
    path: PathBuf,
    profile: String,
    /// Content of the file, with its modification time and size.
    read: Mutex<Option<(SystemTime, u64, Arc<AwsCredential>)>>,
}

impl fmt::Debug for FileCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileCredentials").field(&self.path).field(&self.profile).finish()
    }
}

impl FileCredentials {
    /// Creates credentials from a profile in a file, which is read later.
    pub(super) fn new(path: impl Into<PathBuf>, profile: &str) -> Self {
        Self { path: path.into(), profile: profile.to_owned(), read: Mutex::default() }
    }

    fn current(&self) -> Result<Arc<AwsCredential>> {
        let unreadable = |error: std::io::Error| self.unusable(error.to_string());
        let metadata = std::fs::metadata(&self.path).map_err(unreadable)?;
        let written = metadata.modified().map_err(unreadable)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, length, credential)) = read.as_ref()
            && (*when, *length) == (written, metadata.len())
        {
            return Ok(Arc::clone(credential));
        }
        let text = std::fs::read_to_string(&self.path).map_err(unreadable)?;
        let credential = parse(&text, &self.profile);
        let credential = Arc::new(credential.ok_or_else(|| {
            self.unusable(format!("it has no key of the profile {}", self.profile))
        })?);
        *read = Some((written, metadata.len(), Arc::clone(&credential)));
        Ok(credential)
    }

    /// Returns a retryable error, because a wrong or missing file may be repaired soon.
    fn unusable(&self, why: String) -> Error {
        let source = format!("credentials in {}: {why}", self.path.display());
        Error::Generic { store: "S3", source: source.into() }
    }
}

#[async_trait]
impl CredentialProvider for FileCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        self.current()
    }
}

fn parse(text: &str, profile: &str) -> Option<AwsCredential> {
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_ours = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_ours) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a fixture")]

    use super::{FileCredentials, parse};

    #[test]
    fn a_profile_is_found_among_others() {
        let text = "# mine\n[other]\naws_access_key_id = a\n[default]\n; x\n\
                    aws_access_key_id=b\n aws_secret_access_key = c=d \nregion = e\n\
                    [last]\naws_access_key_id = f\naws_secret_access_key = g\n\
                    aws_session_token = h\n";
        let found = |profile| {
            let found = parse(text, profile)?;
            Some((found.key_id, found.secret_key, found.token))
        };
        let of = |text: &str| text.to_owned();
        assert_eq!(found("default"), Some((of("b"), of("c=d"), None)));
        assert_eq!(found("last"), Some((of("f"), of("g"), Some(of("h")))));
        assert_eq!((found("other"), found("none")), (None, None));
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let credentials = FileCredentials::new(&path, "default");
        let missing = credentials.current().unwrap_err().to_string();
        assert!(missing.contains("credentials in"), "{missing}");
        for key in ["first", "the second", ""] {
            let text = format!("[default]\naws_access_key_id={key}\naws_secret_access_key=hush\n");
            std::fs::write(&path, text).unwrap();
            match credentials.current() {
                Ok(read) => assert_eq!(read.key_id, key),
                Err(error) => assert!(key.is_empty() && !error.to_string().contains("hush")),
            }
        }
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
