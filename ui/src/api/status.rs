//! The state of the server as a document: the fields that this page knows, and those of newer
//! servers that it draws by their names.

use serde::Deserialize;
use serde_json::{Map, Value};
use tidings_proto::api::ServerStatus;

use super::Request;
use crate::url::Query;

/// The answer of `/status`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct StatusDocument {
    /// The fields that are known.
    pub status: ServerStatus,
    /// All fields, as they were sent.
    pub fields: Map<String, Value>,
}

impl TryFrom<Value> for StatusDocument {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let status = ServerStatus::deserialize(&value)?;
        let fields = match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Ok(Self { status, fields })
    }
}

impl StatusDocument {
    /// Returns true for a switch that is there and on.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The field at a path of names, as `["storage", "fileCount"]`.
    #[must_use]
    pub fn field(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.fields.get(*first)?, |value, name| value.get(name))
    }
}

/// Returns the request for the state of the server with all its fields.
#[must_use]
pub fn status_document() -> Request<StatusDocument> {
    Request::get("/status", &Query::default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::StatusDocument;

    #[test]
    fn fields_of_newer_servers_are_kept() {
        let counts = json!({ "received": 1, "rejected": 0, "stored": 1 });
        let document = json!({
            "version": "0.1.0", "startedUnixNano": "1", "receivers": [], "spans": counts,
            "logs": counts, "hasData": true, "demoRunning": false, "insecure": true,
            "storage": { "fileCount": 7 },
        });
        let document: StatusDocument = serde_json::from_value(document).unwrap();
        assert!(document.status.has_data && document.is_set("insecure"));
        assert_eq!(document.field(&["storage", "fileCount"]), Some(&json!(7)));
        assert_eq!(document.field(&["storage", "none"]), None);
        assert!(serde_json::from_value::<StatusDocument>(json!([])).is_err());
    }
}
