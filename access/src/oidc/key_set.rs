//! The signing keys that an issuer publishes ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)),
//! and the verification of signatures.
//!
//! Owns the choice of the key for a token. Keys of unknown kinds, and keys for encryption, are left
//! out without refusing the set.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::Value;

use super::jws::{Algorithm, Jws};
use crate::error::TokenError;

/// Maximum number of keys of an issuer; most issuers have two or three.
const KEYS_MAX: usize = 100;

/// The keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeySet(Vec<VerifyingKey>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct VerifyingKey {
    name: Option<String>,
    /// The only algorithm of the key, if the issuer names one.
    algorithm: Option<Algorithm>,
    material: KeyMaterial,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyMaterial {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The uncompressed point of an elliptic curve.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct JsonWebKeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Parses a published set.
    ///
    /// # Errors
    /// When the set is malformed, has too many keys, or has no key that verifies signatures.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let set: JsonWebKeySet = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is not a set of keys: {error}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("it has {} keys, the most are {KEYS_MAX}", set.keys.len()));
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(VerifyingKey::read).collect();
        if keys.is_empty() {
            return Err(
                "it has no key that verifies signatures (RSA, P-256, P-384, Ed25519)".to_owned()
            );
        }
        Ok(Self(keys))
    }

    /// Returns whether every key of the other set is in this one.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|key| self.0.contains(key))
    }

    /// Verifies the signature of a token.
    ///
    /// # Errors
    /// `UnknownKey` when the set has no key for the token, `Malformed` when the token names no key
    /// and several are possible, `Signature` when the signature is wrong.
    pub(crate) fn verify(&self, token: &Jws<'_>) -> Result<(), TokenError> {
        let key = self.key_of(token)?;
        let is_verified = key.fits(token.algorithm) && key.material.verify(token);
        if is_verified { Ok(()) } else { Err(TokenError::Signature) }
    }
}

impl KeySet {
    /// Returns whether the set has the key of a token.
    pub(crate) fn knows_key_of(&self, token: &Jws<'_>) -> bool {
        !matches!(self.key_of(token), Err(TokenError::UnknownKey))
    }

    fn key_of(&self, token: &Jws<'_>) -> Result<&VerifyingKey, TokenError> {
        let mut named = self.0.iter().filter(|key| match &token.key_name {
            Some(name) => key.name.as_ref() == Some(name),
            // OpenID Connect Core, 10.1: a token without a key name is allowed if only one key is
            // possible.
            None => key.fits(token.algorithm),
        });
        let key = named.next().ok_or(TokenError::UnknownKey)?;
        if token.key_name.is_none() && named.next().is_some() {
            return Err(TokenError::Malformed("it names no key, and the issuer has several (kid)"));
        }
        Ok(key)
    }
}

impl VerifyingKey {
    /// Parses a key; `None` when it cannot verify signatures.
    fn read(value: Value) -> Option<Self> {
        let key: JsonWebKey = serde_json::from_value(value).ok()?;
        if key.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match &key.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let material = KeyMaterial::read(&key)?;
        Some(Self { name: key.kid, algorithm, material })
    }

    /// Returns whether the key is for this algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384};

        let of_kind = match &self.material {
            KeyMaterial::Rsa { .. } => !matches!(algorithm, Es256 | Es384 | EdDsa),
            KeyMaterial::P256(_) => algorithm == Es256,
            KeyMaterial::P384(_) => algorithm == Es384,
            KeyMaterial::Ed25519(_) => algorithm == EdDsa,
        };
        of_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

impl KeyMaterial {
    fn read(key: &JsonWebKey) -> Option<Self> {
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let coordinate = |part, length| bytes(part).filter(|bytes| bytes.len() == length);
        let point = |length| {
            let (x, y) = (coordinate(&key.x, length)?, coordinate(&key.y, length)?);
            Some([&[4], x.as_slice(), y.as_slice()].concat())
        };
        match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => {
                let mut modulus = bytes(&key.n)?;
                // Some issuers keep the leading zero byte of an ASN.1 integer.
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                modulus.drain(..zeros);
                Some(Self::Rsa { modulus, exponent: bytes(&key.e)? })
            }
            ("EC", Some("P-256")) => point(32).map(Self::P256),
            ("EC", Some("P-384")) => point(48).map(Self::P384),
            ("OKP", Some("Ed25519")) => coordinate(&key.x, 32).map(Self::Ed25519),
            _ => None,
        }
    }

    fn verify(&self, token: &Jws<'_>) -> bool {
        let (message, signature) = (token.message, token.signature.as_slice());
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match self {
            Self::Rsa { modulus, exponent } => rsa(token.algorithm).is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }),
            Self::P256(point) => by(&ECDSA_P256_SHA256_FIXED, point),
            Self::P384(point) => by(&ECDSA_P384_SHA384_FIXED, point),
            Self::Ed25519(key) => by(&ED25519, key),
        }
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::{any, prop, proptest};
    use ring::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
            EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
        },
    };
    use serde_json::{Value, json};

    use super::{KEYS_MAX, KeySet};
    use crate::{error::TokenError, oidc::jws::Jws};

    /// A generated signing key of an issuer.
    pub(crate) struct SigningKey {
        name: &'static str,
        algorithm: &'static str,
        jwk: Value,
        sign: Box<Sign>,
    }

    type Sign = dyn Fn(&[u8]) -> Vec<u8>;

    impl SigningKey {
        pub(crate) fn p256(name: &'static str) -> Self {
            Self::curve(name, "ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
        }

        fn p384(name: &'static str) -> Self {
            Self::curve(name, "ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
        }

        fn curve(
            name: &'static str,
            algorithm: &'static str,
            curve: &str,
            signing: &'static EcdsaSigningAlgorithm,
        ) -> Self {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(signing, document.as_ref(), &random).unwrap();
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let jwk = json!({
                "kty": "EC", "crv": curve, "kid": name, "use": "sig", "alg": algorithm,
                "x": encode(x), "y": encode(y),
            });
            let sign = move |message: &[u8]| {
                pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            };
            Self { name, algorithm, jwk, sign: Box::new(sign) }
        }

        fn ed25519(name: &'static str) -> Self {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x});
            let sign = move |message: &[u8]| pair.sign(message).as_ref().to_vec();
            Self { name, algorithm: "EdDSA", jwk, sign: Box::new(sign) }
        }

        pub(crate) fn jwk(&self) -> Value {
            self.jwk.clone()
        }

        pub(crate) fn token(&self, claims: &Value) -> String {
            self.token_with(&json!({"alg": self.algorithm, "kid": self.name}), claims)
        }

        pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", encode(header), encode(claims));
            let signature = URL_SAFE_NO_PAD.encode((self.sign)(message.as_bytes()));
            format!("{message}.{signature}")
        }
    }

    pub(crate) fn set(keys: &[Value]) -> KeySet {
        KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    fn verify(set: &KeySet, token: &str) -> Result<(), TokenError> {
        set.verify(&Jws::read(token).unwrap())
    }

    #[test]
    fn signatures_of_every_curve_are_verified() {
        let keys = [SigningKey::p256("a"), SigningKey::p384("b"), SigningKey::ed25519("c")];
        let all = set(&keys.each_ref().map(SigningKey::jwk));
        let other = set(&[
            SigningKey::p256("a").jwk(),
            SigningKey::p384("b").jwk(),
            SigningKey::ed25519("c").jwk(),
        ]);
        for key in &keys {
            let token = key.token(&json!({"sub": "x"}));
            assert_eq!(verify(&all, &token), Ok(()), "{}", key.algorithm);
            assert_eq!(verify(&other, &token), Err(TokenError::Signature));
            let (message, signature) = token.rsplit_once('.').unwrap();
            let (header, _) = message.split_once('.').unwrap();
            let changed = URL_SAFE_NO_PAD.encode(r#"{"sub":"y"}"#);
            let forged = format!("{header}.{changed}.{signature}");
            assert_eq!(verify(&all, &forged), Err(TokenError::Signature));
            assert_eq!(verify(&all, &format!("{message}.")), Err(TokenError::Signature));
        }
    }

    /// RFC 7515, appendix A.2.
    #[test]
    fn a_signature_of_rsa_is_verified() {
        let key = json!({
            "kty": "RSA", "kid": "k", "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        });
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        // The token names no key, so the only possible one is used.
        assert_eq!(verify(&set(&[key.clone(), SigningKey::p256("a").jwk()]), token), Ok(()));
        let two = set(&[key.clone(), key.clone()]);
        assert!(matches!(verify(&two, token), Err(TokenError::Malformed(_))));
        assert_eq!(
            verify(&set(&[SigningKey::p256("a").jwk()]), token),
            Err(TokenError::UnknownKey)
        );
        let mut of_another = key;
        of_another["alg"] = json!("PS256");
        assert_eq!(verify(&set(&[of_another]), token), Err(TokenError::UnknownKey));
    }

    #[test]
    fn a_key_verifies_its_own_algorithm_only() {
        let (one, two) = (SigningKey::p256("a"), SigningKey::ed25519("a"));
        let claims = json!({});
        let unnamed = set(&[one.jwk()]);
        for header in [json!({"alg": "ES384", "kid": "a"}), json!({"alg": "RS256", "kid": "a"})] {
            let token = one.token_with(&header, &claims);
            assert_eq!(verify(&unnamed, &token), Err(TokenError::Signature), "{header}");
        }
        assert_eq!(verify(&set(&[two.jwk()]), &one.token(&claims)), Err(TokenError::Signature));
        let unknown = one.token_with(&json!({"alg": "ES256", "kid": "b"}), &claims);
        assert_eq!(verify(&unnamed, &unknown), Err(TokenError::UnknownKey));
    }

    #[test]
    fn sets_of_keys_are_bounded_and_unknown_keys_are_left_out() {
        let good = SigningKey::p256("a").jwk();
        let mut encrypting = good.clone();
        encrypting["use"] = json!("enc");
        let short = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
        let shared = json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"});
        let odd =
            [encrypting, short, shared, json!(null), json!({"kty": 1}), json!({"kty": "new"})];
        assert!(KeySet::read(json!({"keys": odd}).to_string().as_bytes()).is_err());
        let one = set(std::slice::from_ref(&good));
        assert_eq!(set(&[odd.to_vec(), vec![good.clone()]].concat()), one);
        let two = set(&[SigningKey::p256("b").jwk(), good.clone()]);
        assert!(two.includes(&one) && !one.includes(&two));
        for wrong in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#] {
            assert!(KeySet::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many = json!({"keys": vec![good; KEYS_MAX + 1]});
        assert!(KeySet::read(many.to_string().as_bytes()).unwrap_err().contains("101 keys"));
    }

    proptest! {
        #[test]
        fn any_set_is_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            part in any::<String>(),
        ) {
            let _ = KeySet::read(&bytes);
            for kind in ["RSA", "EC", "OKP"] {
                let key = json!({"kty": kind, "crv": "P-256", "n": part, "e": part, "x": part, "y": part});
                if let Ok(set) = KeySet::read(json!({"keys": [key]}).to_string().as_bytes()) {
                    let _ = verify(&set, "eyJhbGciOiJSUzI1NiJ9.e30.AAAA");
                }
            }
        }
    }
}
