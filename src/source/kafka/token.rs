//! Tokens with which a process logs in by OAUTHBEARER. Comes in: the text of a JWT. Goes out: whose it is, and until when; a
//! broker checks the rest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// The claims of a token that are looked at.
#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970.
    exp: f64,
    sub: Option<String>,
}

/// Reads a token.
///
/// # Errors
/// A sentence: it is no JWT, or says not until when it holds.
pub(super) fn read(token: &str) -> Result<OAuthToken, String> {
    let payload = token.split('.').nth(1).ok_or("it has no JWT: three parts with dots between")?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|error| format!("the middle part of its JWT is not base64: {error}"))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|error| format!("the middle part of its JWT has no `exp`, in seconds: {error}"))?;
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub.unwrap_or_default(),
        // Times that no clock has become the last that can be said.
        lifetime_ms: (claims.exp * 1_000.0) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payload: &str) -> Result<OAuthToken, String> {
        read(&format!("e30.{}.", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let token = of(r#"{"sub":"ada","exp":1700000000.5}"#).expect("is a token");
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("ada", 1_700_000_000_500));
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_reason() {
        let reason = |token: &str| read(token).err().expect("is refused");
        assert_eq!(reason(""), "it has no JWT: three parts with dots between");
        assert!(reason("a.!.b").starts_with("the middle part of its JWT is not base64: "));
        let without = of(r#"{"sub":"ada"}"#).err().expect("is refused");
        assert!(without.starts_with("the middle part of its JWT has no `exp`, in seconds: "), "{without}");
    }
}
