//! A signed token in its compact form: `header.claims.signature`, each in base64url
//! ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)).
//!
//! Owns the form and the accepted algorithms, all of which are asymmetric. A token can choose
//! neither `none` nor a shared secret, because no variant exists for them. Does not own keys
//! ([`super::key_set`]) and the meaning of claims ([`super::claims`]).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::claims::Claims;
use crate::error::TokenError;

/// Maximum bytes of a token; half of what the headers of a request may have.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Maximum bytes of the name of a key.
const KEY_NAME_BYTES_MAX: usize = 500;
/// Accepted values of `typ`, for tokens that have it.
const KINDS: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// Accepted signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// Finds an algorithm by its registered name; case matters.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that a verifier must know. None is known, so such tokens are refused.
    crit: Option<IgnoredAny>,
}

/// A well-formed token. No part of it may be trusted before its signature is verified.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    pub(crate) algorithm: Algorithm,
    /// The name of the signing key, if the token has it.
    pub(crate) key_name: Option<String>,
    pub(crate) claims: Claims,
    /// The signed part.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// Returns whether a credential is to be read as a token: it is not a key, and has two dots.
pub(crate) fn is_token(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Jws<'a> {
    /// Parses a token.
    ///
    /// # Errors
    /// The first malformed part, or an algorithm that is not accepted.
    pub(crate) fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let malformed = TokenError::Malformed;
        let (message, signature) = text.rsplit_once('.').ok_or(malformed("it has no two dots"))?;
        let (header, claims) = message.split_once('.').ok_or(malformed("it has no two dots"))?;
        if claims.contains('.') {
            return Err(malformed("it has more than two dots"));
        }
        let decode = |part: &str, error| URL_SAFE_NO_PAD.decode(part).map_err(|_| error);
        let header = decode(header, malformed("its header is no base64url"))?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| malformed("its header cannot be read"))?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(TokenError::Algorithm)?;
        if header.crit.is_some() {
            return Err(malformed("it has extensions that are not known here (crit)"));
        }
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        if kind.is_some_and(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(malformed("it is of another kind (typ)"));
        }
        if header.kid.as_ref().is_some_and(|name| name.len() > KEY_NAME_BYTES_MAX) {
            return Err(malformed("the name of its key is too long (kid)"));
        }
        let claims = decode(claims, malformed("its claims are no base64url"))?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&claims).map_err(|_| malformed("its claims cannot be read"))?;
        Ok(Self {
            algorithm,
            key_name: header.kid,
            claims: Claims::new(claims),
            message: message.as_bytes(),
            signature: decode(signature, malformed("its signature is no base64url"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::{any, prop, proptest};

    use super::{Algorithm, Jws, TOKEN_BYTES_MAX, is_token};
    use crate::error::TokenError;

    fn token(header: &str, claims: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
    }

    #[test]
    fn a_token_is_read_in_its_parts() {
        let text = token(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#, r#"{"iss":"i"}"#);
        assert!(is_token(&text));
        let read = Jws::read(&text).unwrap();
        assert_eq!(read.algorithm, Algorithm::Es256);
        assert_eq!(read.key_name.as_deref(), Some("k"));
        assert_eq!(read.claims.text("iss"), Some("i"));
        assert_eq!(read.signature, b"signature");
        assert_eq!(read.message, text.rsplit_once('.').unwrap().0.as_bytes());
    }

    #[test]
    fn tokens_with_a_shared_secret_or_without_a_signature_are_refused() {
        for name in ["none", "None", "", "HS256", "HS384", "HS512", "es256", "ES256K", "RSA1_5"] {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}");
            assert_eq!(Jws::read(&text).unwrap_err(), TokenError::Algorithm, "{name}");
        }
        for (name, algorithm) in Algorithm::ALL {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}");
            assert_eq!(Jws::read(&text).unwrap().algorithm, algorithm);
        }
    }

    #[test]
    fn malformed_tokens_are_refused() {
        let es = r#"{"alg":"ES256"}"#;
        for text in [
            String::new(),
            "..".to_owned(),
            "a.b".to_owned(),
            "a.b.c.d".to_owned(),
            token("[]", "{}"),
            token("{}", "{}"),
            token(es, "[]"),
            token(es, "null"),
            token(r#"{"alg":"ES256","alg":"none"}"#, "{}"),
            token(r#"{"alg":"ES256","crit":["exp"]}"#, "{}"),
            token(r#"{"alg":"ES256","typ":"logout+jwt"}"#, "{}"),
            token(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(501)), "{}"),
            token(es, &format!("{}1{}", "[".repeat(5000), "]".repeat(5000))),
            format!("{}=", token(es, "{}")),
        ] {
            assert!(matches!(Jws::read(&text), Err(TokenError::Malformed(_))), "{text}");
        }
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(Jws::read(&long).unwrap_err(), TokenError::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in any::<String>()) {
            let _ = Jws::read(&text);
        }

        #[test]
        fn any_parts_are_read_without_a_panic(
            header in any::<String>(),
            claims in prop::collection::vec(any::<u8>(), 0..200),
            name in "[a-z]{1,3}",
            value in any::<i64>(),
        ) {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            let _ = Jws::read(&format!("{}.{claims}.", URL_SAFE_NO_PAD.encode(header)));
            let known = format!(r#"{{"alg":"RS256","{name}":{value}}}"#);
            let _ = Jws::read(&format!("{}.{claims}.AA", URL_SAFE_NO_PAD.encode(known)));
        }
    }
}
