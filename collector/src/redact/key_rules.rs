//! Rules of redaction by attribute key: the built-in list and the keys that an operator adds.
//!
//! Every attribute of every record is looked up here, so a lookup reads the last four bytes of the
//! key and compares more only where these fit.

use aho_corasick::AhoCorasick;

/// Rule for the value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRule {
    /// Secrets by what is before them in the text, as everywhere.
    Text,
    /// The value is a secret as a whole.
    Secret,
    /// The text is a URL, a query string or a connection string: parameters with secret names.
    Parameters,
    /// The text is a database statement: passwords in it.
    Statement,
}

/// Kind of a secret key, which says what its values in a text look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyClass {
    /// A scheme and its credentials.
    Authorization,
    /// Pairs of names and values.
    Cookie,
    /// Any text that somebody thought of.
    Password,
    /// A text that a machine made. Messages have the name before other things, too.
    Token,
}

/// Words after which `token` names a credential, and not a page, a cursor or a piece of text.
const TOKEN_WORDS: [&[u8]; 62] = [
    b"access",
    b"api",
    b"app",
    b"auth",
    b"bearer",
    b"bot",
    b"ci",
    b"circle",
    b"cloudflare",
    b"codecov",
    b"consul",
    b"csrf",
    b"deploy",
    b"device",
    b"digitalocean",
    b"discord",
    b"docker",
    b"fcm",
    b"figma",
    b"gh",
    b"github",
    b"gitlab",
    b"grafana",
    b"hcloud",
    b"heroku",
    b"hf",
    b"id",
    b"influx",
    b"influxdb",
    b"jira",
    b"jwt",
    b"k8s",
    b"kube",
    b"linear",
    b"netlify",
    b"nomad",
    b"notion",
    b"npm",
    b"oauth",
    b"pat",
    b"personal",
    b"private",
    b"pypi",
    b"refresh",
    b"reset",
    b"secret",
    b"security",
    b"sentry",
    b"service",
    b"session",
    b"slack",
    b"snyk",
    b"sonar",
    b"telegram",
    b"terraform",
    b"tfe",
    b"twilio",
    b"user",
    b"vault",
    b"vercel",
    b"webhook",
    b"xsrf",
];

/// Words after which `key` names a credential, and not a key of a map, a partition or a cache.
const KEY_WORDS: [&[u8]; 7] =
    [b"access", b"account", b"api", b"encryption", b"private", b"secret", b"signing"];

/// The last three letters of the secret keys that texts have.
const TEXT_KEY_ENDS: [&[u8; 3]; 11] =
    [b"ase", b"ies", b"ion", b"jwt", b"ken", b"key", b"kie", b"ord", b"ret", b"swd", b"pwd"];

/// Parameters of URLs and connection strings that are secret beside the keys of attributes.
const PARAMETERS: [&[u8]; 5] = [b"awsaccesskeyid", b"pass", b"pwd", b"sig", b"signature"];

/// One of these is in every built-in key.
const STEMS: [&str; 10] = [
    "authorization",
    "cookie",
    "jwt",
    "key",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "token",
];

/// Built-in and added rules.
#[derive(Debug)]
pub(crate) struct KeyRules {
    /// Finds a part of every secret key.
    stems: AhoCorasick,
    /// In lower case.
    added: Vec<Box<[u8]>>,
    /// Set for bytes that an added key ends with: most keys need no comparison with the list.
    added_ends: [bool; 256],
}

impl KeyRules {
    /// The built-in rules, and these keys as secrets.
    pub(super) fn new(added: &[String]) -> Self {
        let lower = added.iter().map(|key| key.trim().to_ascii_lowercase().into_bytes());
        let added: Vec<Box<[u8]>> =
            lower.filter(|key| !key.is_empty()).map(Vec::into_boxed_slice).collect();
        let mut added_ends = [false; 256];
        for end in added.iter().filter_map(|key| key.last()) {
            if let Some(place) = added_ends.get_mut(usize::from(*end)) {
                *place = true;
            }
        }
        let stems = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(STEMS.iter().map(|stem| stem.as_bytes()).chain(added.iter().map(AsRef::as_ref)))
            .expect("invariant: a few names make an automaton");
        Self { stems, added, added_ends }
    }

    /// Returns whether a text may name a secret column: cheap, and never a wrong no.
    pub(super) fn may_name_secret(&self, text: &[u8]) -> bool {
        self.stems.is_match(text)
    }

    /// Returns the rule for the values of an attribute with this key.
    #[inline]
    pub(crate) fn rule(&self, key: &[u8]) -> KeyRule {
        if self.is_added(key) { KeyRule::Secret } else { built_in(key) }
    }

    /// Returns whether a parameter of a URL or of a connection string with this name is secret.
    pub(super) fn is_secret_parameter(&self, name: &[u8]) -> bool {
        PARAMETERS.iter().any(|parameter| name.eq_ignore_ascii_case(parameter))
            || ends_with(name, b"-signature")
            || self.rule(name) == KeyRule::Secret
    }

    /// Returns whether a column of a database with this name is secret.
    pub(super) fn is_secret_column(&self, name: &[u8]) -> bool {
        let name = name.rsplit(|&byte| byte == b'.').next().unwrap_or(name);
        name.eq_ignore_ascii_case(b"pwd") || self.rule(name) == KeyRule::Secret
    }

    /// Returns whether these bytes may end with a secret key: cheap, and never a wrong no.
    pub(super) fn may_end_secret(&self, text: &[u8]) -> bool {
        let is_added = |last: &u8| self.added_ends.get(usize::from(last.to_ascii_lowercase()));
        if text.last().and_then(is_added) == Some(&true) {
            return true;
        }
        text.last_chunk::<3>().is_some_and(|end| {
            let end = end.map(|byte| byte.to_ascii_lowercase());
            TEXT_KEY_ENDS.contains(&&end)
        })
    }

    /// Returns the class of a key in a text, if it is secret.
    pub(super) fn class(&self, key: &[u8]) -> Option<KeyClass> {
        if self.is_added(key) {
            return Some(KeyClass::Password);
        }
        if built_in(key) != KeyRule::Secret {
            return None;
        }
        // The one secret key of three letters is `jwt`.
        let Some(end) = key.last_chunk::<4>() else { return Some(KeyClass::Token) };
        Some(match &end.map(|byte| byte.to_ascii_lowercase()) {
            b"tion" => KeyClass::Authorization,
            b"okie" | b"kies" => KeyClass::Cookie,
            b"oken" | [.., b'k', b'e', b'y'] | [.., b'j', b'w', b't'] => KeyClass::Token,
            b"cret" if key.len() == b"secret".len() => KeyClass::Token,
            _ => KeyClass::Password,
        })
    }

    /// An added key counts as the whole key and as its last part behind a dot, as headers have it.
    fn is_added(&self, key: &[u8]) -> bool {
        let Some(last) = key.last() else { return false };
        let end = usize::from(last.to_ascii_lowercase());
        if self.added_ends.get(end) != Some(&true) {
            return false;
        }
        let is_last_part = |added: &[u8]| {
            let before = key.len().checked_sub(added.len() + 1).and_then(|at| key.get(at));
            key.len() == added.len() || before == Some(&b'.')
        };
        self.added.iter().any(|added| ends_with(key, added) && is_last_part(added))
    }
}

fn built_in(key: &[u8]) -> KeyRule {
    let Some(end) = key.last_chunk::<4>() else {
        return secret_if(key.eq_ignore_ascii_case(b"jwt"));
    };
    match &end.map(|byte| byte.to_ascii_lowercase()) {
        b"tion" => secret_if(ends_with(key, b"authorization")),
        b"okie" => secret_if(ends_with(key, b"cookie")),
        b"kies" => secret_if(ends_with(key, b"cookies")),
        b"word" => secret_if(ends_with(key, b"password")),
        b"sswd" => secret_if(ends_with(key, b"passwd")),
        b"rase" => secret_if(ends_with(key, b"passphrase")),
        b"cret" => secret_if(ends_with(key, b"secret")),
        b".jwt" | b"_jwt" | b"-jwt" => KeyRule::Secret,
        b"oken" => secret_if(is_token(key)),
        [.., b'k', b'e', b'y'] => secret_if(is_key(key)),
        b".url" | b".uri" | b"full" | b"inal" | b"uery" | b"ment" | b"rget" | b"path" | b"text"
        | b"ring" | b"erer" => text_rule(key),
        _ => KeyRule::Text,
    }
}

/// Rules of keys whose values are texts of a known form, as semantic conventions and Zipkin's
/// clients write them.
fn text_rule(key: &[u8]) -> KeyRule {
    match key {
        b"url.full"
        | b"url.original"
        | b"url.query"
        | b"url.fragment"
        | b"http.url"
        | b"http.target"
        | b"http.path"
        | b"http.uri"
        | b"http.request.header.referer"
        | b"db.connection_string" => KeyRule::Parameters,
        b"db.statement" | b"db.query.text" | b"sql.query" => KeyRule::Statement,
        _ => KeyRule::Text,
    }
}

fn secret_if(is_secret: bool) -> KeyRule {
    if is_secret { KeyRule::Secret } else { KeyRule::Text }
}

/// `token`, `user.token`, `access_token`, `x-auth-token`, `idToken`; not `next_token`.
fn is_token(key: &[u8]) -> bool {
    let Some(base) = without_end(key, b"token") else { return false };
    match base.last() {
        None | Some(b'.') => true,
        Some(_) => ends_with_word(base, &TOKEN_WORDS),
    }
}

/// `api_key`, `x-api-key`, `apikey`, `secretKey`; not `partition_key`.
fn is_key(key: &[u8]) -> bool {
    without_end(key, b"key").is_some_and(|base| ends_with_word(base, &KEY_WORDS))
}

/// Returns whether a name without its last word ends with one of these words, which begin where the
/// name does, behind anything but a letter, or with a capital.
fn ends_with_word(base: &[u8], words: &[&[u8]]) -> bool {
    let base = match base {
        [base @ .., b'.' | b'_' | b'-' | b' '] => base,
        _ => base,
    };
    words.iter().any(|word| {
        let Some(before) = without_end(base, word) else { return false };
        let is_capital = base.get(before.len()).is_some_and(u8::is_ascii_uppercase);
        is_capital || before.last().is_none_or(|last| !last.is_ascii_alphabetic())
    })
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    without_end(text, end).is_some()
}

/// The text before its end, which is compared without regard to case.
fn without_end<'a>(text: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let (before, tail) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    tail.eq_ignore_ascii_case(end).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::{KeyRule, KeyRules};

    fn rule(key: &str) -> KeyRule {
        KeyRules::new(&[]).rule(key.as_bytes())
    }

    #[test]
    fn keys_of_credentials_are_secret() {
        for key in [
            "authorization",
            "Authorization",
            "http.request.header.authorization",
            "http.request.header.Proxy-Authorization",
            "rpc.grpc.request.metadata.authorization",
            "http.request.header.cookie",
            "http.response.header.set-cookie",
            "http.response.header.set_cookie",
            "cookies",
            "password",
            "db.password",
            "PGPASSWORD",
            "userPassword",
            "mysql_passwd",
            "ssh.passphrase",
            "client_secret",
            "clientSecret",
            "secret",
            "secret_key",
            "aws.secret_access_key",
            "SecretAccessKey",
            "x-api-key",
            "http.request.header.x-api-key",
            "api.key",
            "apiKey",
            "apikey",
            "API_KEY",
            "private_key",
            "AccountKey",
            "token",
            "user.token",
            "access_token",
            "accessToken",
            "refresh-token",
            "oauth.id_token",
            "idToken",
            "http.request.header.x-auth-token",
            "http.request.header.x-amz-security-token",
            "X-CSRF-Token",
            "x-vault-token",
            "jwt",
            "session.jwt",
            "github_token",
            "NPM_TOKEN",
            "CI_DEPLOY_TOKEN",
            "userToken",
            "AWS_SECRET_ACCESS_KEY",
            "DB_PASSWORD",
        ] {
            assert_eq!(rule(key), KeyRule::Secret, "{key}");
        }
    }

    #[test]
    fn keys_that_look_alike_are_not() {
        for key in [
            "",
            "a",
            "key",
            "oken",
            "token.count",
            "gen_ai.usage.input_tokens",
            "gen_ai.token.type",
            "llm.tokens",
            "next_token",
            "nextToken",
            "page-token",
            "continuation_token",
            "cancellation_token",
            "grid_token",
            "robot_token",
            "EOS_TOKEN",
            "session.id",
            "enduser.id",
            "aws.access_key_id",
            "messaging.kafka.message.key",
            "messaging.rabbitmq.destination.routing_key",
            "messaging.destination.name",
            "partition_key",
            "cache.key",
            "monkey",
            "okapikey",
            "k8s.secret.name",
            "password.policy",
            "password_reset",
            "secrets.count",
            "cookie.consent",
            "authorization.decision",
            "authentication",
            "http.request.header.www-authenticate",
            "user_agent.original",
            "process.pwd",
            "code.function",
            "service.version",
        ] {
            assert_eq!(rule(key), KeyRule::Text, "{key}");
        }
    }

    #[test]
    fn texts_of_a_known_form_have_rules_of_their_own() {
        for key in ["url.full", "http.url", "url.query", "http.target", "db.connection_string"] {
            assert_eq!(rule(key), KeyRule::Parameters, "{key}");
        }
        for key in ["db.statement", "db.query.text"] {
            assert_eq!(rule(key), KeyRule::Statement, "{key}");
        }
        for key in ["url.path", "http.route", "db.query.summary", "my.db.statement"] {
            assert_eq!(rule(key), KeyRule::Text, "{key}");
        }
    }

    #[test]
    fn added_keys_count_whole_and_as_the_last_part() {
        let keys =
            KeyRules::new(&["X-Internal-Pin".to_owned(), " iban ".to_owned(), String::new()]);
        for key in ["x-internal-pin", "http.request.header.x-internal-pin", "IBAN", "payer.iban"] {
            assert_eq!(keys.rule(key.as_bytes()), KeyRule::Secret, "{key}");
        }
        for key in ["my-x-internal-pin", "pin", "aiban", "iban.count", ""] {
            assert_eq!(keys.rule(key.as_bytes()), KeyRule::Text, "{key}");
        }
    }

    #[test]
    fn parameters_have_more_names() {
        let keys = KeyRules::new(&[]);
        for name in [
            "sig",
            "pwd",
            "Signature",
            "X-Amz-Signature",
            "X-Goog-Signature",
            "X-Amz-Security-Token",
            "access_token",
            "AWSAccessKeyId",
            "SharedAccessKey",
        ] {
            assert!(keys.is_secret_parameter(name.as_bytes()), "{name}");
        }
        for name in ["", "page", "key", "X-Amz-Credential", "X-Amz-Date", "sign", "design", "code"]
        {
            assert!(!keys.is_secret_parameter(name.as_bytes()), "{name}");
        }
    }
}
