//! Texts of requests for the audit log and the list of slow queries, without secrets and keys.
//!
//! Secrets are replaced by the rules of telemetry and the operator's keys, even where the settings
//! switch that off for telemetry.

use std::borrow::Cow;

use axum::http::Method;
use tidings_access::without_keys;
use tidings_collector::{RedactionSettings, Redactor};
use tidings_query::StatementRedaction;
use url::form_urlencoded;

/// Origin that makes a path a URL.
const ORIGIN: &str = "http://localhost";

/// Keeps secrets and keys out of the words of requests.
#[derive(Debug)]
pub(crate) struct RequestWords(Redactor);

impl RequestWords {
    /// Treats these keys as secret, beside the built-in ones.
    pub(crate) fn new(keys: Vec<String>) -> Self {
        Self(Redactor::new(&RedactionSettings { enabled: true, keys }))
    }

    /// Returns the method and address of a request.
    pub(super) fn of_address(&self, method: &Method, path: &str, query: Option<&str>) -> String {
        without_keys(format!("{method} {}", self.without_secrets(path, query)))
    }

    /// Replaces the secrets of an address: those in the parts of its path, in the names and values
    /// of its parameters, and the values of parameters whose names are secret. An address without
    /// secrets stays as it was sent.
    fn without_secrets(&self, path: &str, query: Option<&str>) -> String {
        let path = path.split('/').map(|part| self.replaced_or_sent(part));
        let path = path.collect::<Vec<_>>().join("/");
        let Some(query) = query else { return path };
        let parameters = query.split('&').map(|sent| match sent.split_once('=') {
            Some((name, value)) => {
                format!("{}={}", self.replaced_or_sent(name), self.replaced_or_sent(value))
            }
            None => self.replaced_or_sent(sent).into_owned(),
        });
        let query = parameters.collect::<Vec<_>>().join("&");
        // Parameters whose names are secret are found in whole addresses.
        let address = self.0.redact_statement(&format!("{ORIGIN}{path}?{query}"));
        address.strip_prefix(ORIGIN).map(str::to_owned).unwrap_or(address)
    }

    /// Decodes a part of an address, and returns it without secrets.
    fn replaced_or_sent<'s>(&self, sent: &'s str) -> Cow<'s, str> {
        // Without an equals sign and `&` the part is read as one name.
        let whole = sent.replace('=', "%3D").replace('&', "%26");
        let decoded = form_urlencoded::parse(whole.as_bytes()).next();
        let said = decoded.map(|(name, _)| name.into_owned()).unwrap_or_default();
        let kept = without_keys(self.0.redact_text(&said));
        match kept == said {
            true => Cow::Borrowed(sent),
            false => Cow::Owned(form_urlencoded::byte_serialize(kept.as_bytes()).collect()),
        }
    }
}

impl StatementRedaction for RequestWords {
    fn redacted(&self, statement: &str) -> String {
        without_keys(self.0.redact_statement(statement))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use tidings_access::without_keys;
    use tidings_query::StatementRedaction;

    use super::RequestWords;

    #[test]
    fn keys_of_the_operator_are_secret_too() {
        let words = RequestWords::new(vec!["pin".to_owned()]);
        let found = words.of_address(&Method::GET, "/api/v1/logs", Some("attribute=pin%3D1234"));
        assert!(!found.contains("1234"), "{found}");
        assert!(!words.redacted("SELECT 1 WHERE pin = '1234'").contains("1234"));
        let others = RequestWords::new(Vec::new()).redacted("SELECT 1 WHERE pin = '1234'");
        assert!(others.contains("1234"), "{others}");
    }

    #[test]
    fn keys_in_addresses_are_cut() {
        let id = "tk_0123abcd";
        let whole = format!("DELETE /api/v1/keys/{id}_{}", "0".repeat(48));
        assert_eq!(without_keys(whole), format!("DELETE /api/v1/keys/{id}…"));
        let digits = "0".repeat(48);
        let many = format!("/tk%5F0123abcd%5f{digits}/x?a={id}_{digits}&b=c");
        assert_eq!(without_keys(many), format!("/tk%5F0123abcd…/x?a={id}…&b=c"));
        for kept in [
            format!("DELETE /api/v1/keys/{id}"),
            format!("GET /{id}/what-was-read"),
            format!("GET /tk_xxxxxxxx_{digits}/what-was-read"),
            format!("GET /{id}_{}/what-was-read", "0".repeat(47)),
            "GET /tk_é".to_owned(),
            "tk".to_owned(),
            String::new(),
        ] {
            assert_eq!(without_keys(kept.clone()), kept);
        }
    }

    #[test]
    fn secrets_in_addresses_are_replaced_and_nothing_else() {
        let words = RequestWords::new(Vec::new());
        for (sent, expected) in [
            ("query=SELECT+1&limit=7", "query=SELECT+1&limit=7"),
            ("query=SELECT%201%20%25", "query=SELECT%201%20%25"),
            ("", ""),
            ("&=&a", "&=&a"),
            ("query=%ff", "query=%ff"),
            (
                "limit=7&query=SELECT+1+WHERE+password+%3D+%27hunter2%27",
                "limit=7&query=SELECT+1+WHERE+password+%3D+%27%5BREDACTED%5D%27",
            ),
            (
                "query=SELECT%20%27Bearer%20abcdefgh0123ijklmnop4567%27",
                "query=SELECT+%27Bearer+%5BREDACTED%5D%27",
            ),
            (
                "query=SELECT+%27https%3A%2F%2Fme%3Ahunter2%40host%2F%27",
                "query=SELECT+%27https%3A%2F%2Fme%3A%5BREDACTED%5D%40host%2F%27",
            ),
            ("access_token=abcdef&limit=7", "access_token=[REDACTED]&limit=7"),
            ("attribute=password%3Dhunter2&a=b", "attribute=password%3D%5BREDACTED%5D&a=b"),
            ("q=password:hunter2", "q=password%3A%5BREDACTED%5D"),
            ("%70assword=hunter2&a=b", "%70assword=[REDACTED]&a=b"),
            ("q=service%3Acheckout%20slow", "q=service%3Acheckout%20slow"),
        ] {
            let found = words.of_address(&Method::GET, "/api/v1/sql", Some(sent));
            assert_eq!(found, format!("GET /api/v1/sql?{expected}"), "{sent}");
            let again = words.of_address(&Method::GET, "/api/v1/sql", Some(expected));
            assert_eq!(again, found, "again");
        }
        let path = "/api/v1/transactions/password=hunter2/x%20y";
        let path = words.of_address(&Method::PUT, path, None);
        assert_eq!(path, "PUT /api/v1/transactions/password%3D%5BREDACTED%5D/x%20y");
    }
}
