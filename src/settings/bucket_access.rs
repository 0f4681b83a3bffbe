//! Access to the bucket of the tables. Its address is a setting of the store.

use std::fmt;

use tidings_storage::{ObjectAddress, ObjectStoreSettings};

/// The settings as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketAccess {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(super) allow_http: bool,
    pub(super) cache_bytes_max: u64,
    pub(super) aws: AwsVariables,
}

/// The environment's variables whose names begin with `AWS_`. Some are secret: they are never
/// shown.
#[derive(Clone, Default)]
pub(super) struct AwsVariables(pub(super) Vec<(String, String)>);

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

impl BucketAccess {
    /// Returns the settings of tables, or backups, at an address.
    pub(crate) fn at(&self, address: ObjectAddress) -> ObjectStoreSettings {
        let mut options = self.aws.0.clone();
        let ours = [("AWS_ENDPOINT_URL", &self.endpoint), ("AWS_REGION", &self.region)];
        for (name, value) in ours.into_iter().filter(|(_, value)| !value.is_empty()) {
            options.push((name.to_owned(), value.clone()));
        }
        ObjectStoreSettings {
            address,
            options,
            allow_http: self.allow_http,
            cache_bytes_max: self.cache_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AwsVariables, BucketAccess};

    #[test]
    fn settings_win_over_variables_of_aws() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let of_aws = vec![variable("AWS_REGION", "one"), variable("AWS_PROFILE", "me")];
        let access = BucketAccess {
            region: "two".to_owned(),
            cache_bytes_max: 7,
            aws: AwsVariables(of_aws.clone()),
            ..BucketAccess::default()
        };
        let settings = access.at("s3://bucket/prefix".parse().unwrap());
        // Of two variables of one name the last one counts; empty values are left out.
        assert_eq!(settings.options, [of_aws, vec![variable("AWS_REGION", "two")]].concat());
        assert_eq!((settings.cache_bytes_max, settings.allow_http), (7, false));
        assert!(!format!("{access:?}").contains("one"), "{access:?}");
    }
}
