//! The ticket of a sign-in in progress: its random values, sealed in a cookie of the browser.
//!
//! The server keeps no state of a sign-in, so that nobody can fill a table by beginning sign-ins.
//! The key of the seal is generated at the start of the process. A ticket of another process or an
//! expired one cannot be used, nor can one of another browser, whose answer has another state.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::SystemRandom,
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tidings_proto::UnixNanos;

use super::claims::nanos;
use crate::key::{random_bytes, sha256};

/// Maximum duration of a sign-in.
pub const TICKET_AGE: Duration = Duration::from_secs(10 * 60);
/// Maximum bytes of a ticket; browsers keep no longer cookies.
const TICKET_BYTES_MAX: usize = 4096;
/// Maximum bytes of the path to return to, which has to fit into the ticket.
const PATH_BYTES_MAX: usize = 1500;
/// Associated data of the seal, which binds it to this purpose.
const PURPOSE: &[u8] = b"tidings-sign-in";

/// The random values of a sign-in.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// The code verifier of PKCE ([RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)).
    pub(crate) verifier: String,
    pub(crate) redirect_uri: String,
    pub(crate) return_to: String,
    ends: u64,
}

/// The key of the seal.
pub(crate) struct Seal(LessSafeKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Ticket {
    /// Generates the values of a sign-in; `None` when the system returns no random numbers.
    pub(crate) fn new(redirect_uri: &str, return_to: &str, now: UnixNanos) -> Option<Self> {
        Some(Self {
            state: random_text()?,
            nonce: random_text()?,
            verifier: random_text()?,
            redirect_uri: redirect_uri.to_owned(),
            return_to: own_path(return_to).unwrap_or("/").to_owned(),
            ends: now.0.saturating_add(nanos(TICKET_AGE)),
        })
    }

    /// Returns the challenge of PKCE's method S256.
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.verifier.as_bytes()))
    }

    /// Returns whether an issuer's answer with this state belongs to this sign-in.
    pub(crate) fn is_answered_by(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

impl Seal {
    /// Generates a key; `None` when the system returns no random numbers.
    pub(crate) fn new() -> Option<Self> {
        let key: [u8; 32] = random_bytes(&SystemRandom::new()).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?)))
    }

    /// Seals a ticket. Returns the value of the cookie.
    pub(crate) fn close(&self, ticket: &Ticket) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = random_bytes(&SystemRandom::new()).ok()?;
        let mut sealed = serde_json::to_vec(ticket).ok()?;
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(unique, Aad::from(PURPOSE), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens a ticket; `None` when it is forged or has expired.
    pub(crate) fn open(&self, sealed: &str, now: UnixNanos) -> Option<Ticket> {
        if sealed.len() > TICKET_BYTES_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::from(PURPOSE), sealed).ok()?;
        let ticket: Ticket = serde_json::from_slice(opened).ok()?;
        (now.0 < ticket.ends).then_some(ticket)
    }
}

fn random_text() -> Option<String> {
    let bytes: [u8; 32] = random_bytes(&SystemRandom::new()).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Returns the text if it is a path of this server to which a browser may be redirected; `None`
/// when it may lead elsewhere.
fn own_path(text: &str) -> Option<&str> {
    let is_harmless = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    // A path of the sign-in itself would begin the next sign-in, without end.
    let is_own = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/sign-in");
    (is_harmless && is_own && text.len() <= PATH_BYTES_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use tidings_proto::UnixNanos;

    use super::{Seal, TICKET_AGE, Ticket, nanos, own_path};

    const NOW: UnixNanos = UnixNanos(1_000);

    fn ticket() -> Ticket {
        Ticket::new("https://t.example/sign-in/callback", "/logs?q=a", NOW).unwrap()
    }

    #[test]
    fn a_ticket_is_opened_by_its_own_seal_until_its_end() {
        let (seal, other) = (Seal::new().unwrap(), Seal::new().unwrap());
        let ticket = ticket();
        let sealed = seal.close(&ticket).unwrap();
        assert!(!sealed.contains(&ticket.state) && !sealed.contains(&ticket.nonce));
        let opened = seal.open(&sealed, NOW).unwrap();
        assert!(opened.is_answered_by(&ticket.state) && !opened.is_answered_by(&ticket.nonce));
        assert_eq!(opened.return_to, "/logs?q=a");
        assert!(other.open(&sealed, NOW).is_none());
        assert!(seal.open(&sealed, UnixNanos(NOW.0 + nanos(TICKET_AGE))).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(seal.open(&String::from_utf8(changed).unwrap(), NOW).is_none(), "{at}");
        }
    }

    #[test]
    fn two_sign_ins_have_different_random_values() {
        let (one, two) = (ticket(), ticket());
        assert_ne!(one.state, two.state);
        assert_ne!(one.nonce, two.nonce);
        assert_ne!(one.verifier, two.verifier);
        assert_ne!(one.challenge(), two.challenge());
        let seal = Seal::new().unwrap();
        assert_ne!(seal.close(&one), seal.close(&one));
    }

    /// RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_the_digest_of_the_verifier() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let challenge = Ticket { verifier, ..ticket() }.challenge();
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_browser_is_sent_to_paths_of_this_server_only() {
        for path in ["/", "/logs", "/trace/7?a=b#c", "/a//b", "/a:b@c"] {
            assert_eq!(own_path(path), Some(path));
        }
        let long = format!("/{}", "a".repeat(1500));
        for path in [
            "",
            "logs",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            " /logs",
            "/lo gs",
            "/ä",
            "/sign-in?return=/",
            "/\r\nset-cookie: a=b",
            &long,
        ] {
            assert_eq!(own_path(path), None, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cookie_is_opened_without_a_panic(text in any::<String>()) {
            assert!(Seal::new().unwrap().open(&text, NOW).is_none());
        }
    }
}
