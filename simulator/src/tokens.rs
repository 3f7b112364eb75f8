//! The tokens handed out by the logins, known by being remembered, and the shapes
//! they have: a JWT whose signature is noise, or nothing that can be read.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::kind::Kind;

/// A token that was handed out.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Who logged in.
    pub(super) who: String,
    /// When it dies by the server's clock, in ms since the epoch.
    pub(super) expires_ms: i64,
    /// The session that it dies with.
    pub(super) session: Option<String>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token is unknown")]
    Unknown,
    #[error("the token has expired")]
    Expired,
}

/// All tokens handed out and not revoked, dead ones included.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, Token>);

impl Tokens {
    pub(super) fn add(&mut self, text: String, token: Token) {
        self.0.insert(text, token);
    }

    /// The live token `text` of one of `kinds`.
    pub(super) fn check(
        &self,
        kinds: &[Kind],
        text: &str,
        now_ms: i64,
    ) -> Result<&Token, TokenError> {
        match self.0.get(text) {
            Some(token) if !kinds.contains(&token.kind) => Err(TokenError::Unknown),
            Some(token) if now_ms >= token.expires_ms => Err(TokenError::Expired),
            Some(token) => Ok(token),
            None => Err(TokenError::Unknown),
        }
    }

    /// Revokes every token that `which` says; tells how many.
    pub(super) fn revoke(&mut self, which: impl Fn(&Token) -> bool) -> u64 {
        let before = self.0.len();
        self.0.retain(|_, token| !which(token));
        (before - self.0.len()) as u64
    }

    /// Revokes one token; tells whether there was one.
    pub(super) fn remove(&mut self, text: &str) -> bool {
        self.0.remove(text).is_some()
    }

    /// How many tokens of `kind` live.
    pub(super) fn live(&self, kind: Kind, now_ms: i64) -> u64 {
        let live = |token: &&Token| token.kind == kind && now_ms < token.expires_ms;
        self.0.values().filter(live).count() as u64
    }
}

/// A JWT with this header algorithm and these claims, signed with as much noise as a
/// signature of that algorithm is long.
pub(super) fn jwt(algorithm: &str, claims: &Value) -> String {
    let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    // RS512 by a 2048-bit key; HS256.
    let (header, length) = match algorithm {
        "RS512" => (json!({"alg": "RS512"}), 256),
        other => (json!({"alg": other, "typ": "JWT"}), 32),
    };
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
        .take(length)
        .collect();
    format!(
        "{}.{}.{}",
        segment(&header),
        segment(claims),
        URL_SAFE_NO_PAD.encode(noise)
    )
}

/// Base64 of a UUID, as the vendor's sample of an integrations token is.
pub(super) fn opaque() -> String {
    let [a, b]: [u64; 2] = std::array::from_fn(|_| fastrand::u64(..));
    STANDARD.encode(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    ))
}

/// So many random letters and digits.
pub(super) fn letters(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_kind_until_its_end() {
        let mut tokens = Tokens::default();
        tokens.add(
            "t".into(),
            Token {
                kind: Kind::Acme,
                who: "a".into(),
                expires_ms: 2_000,
                session: None,
            },
        );
        assert!(tokens.check(&[Kind::Acme], "t", 1_999).is_ok());
        for (kind, text, now, why) in [
            (Kind::Acme, "t", 2_000, TokenError::Expired),
            (Kind::V4Login, "t", 0, TokenError::Unknown),
            (Kind::Acme, "u", 0, TokenError::Unknown),
        ] {
            assert_eq!(tokens.check(&[kind], text, now).err(), Some(why));
        }
        assert_eq!(tokens.live(Kind::Acme, 1_999), 1);
        assert_eq!(tokens.revoke(|token| token.who == "a"), 1);
        assert!(tokens.check(&[Kind::Acme], "t", 0).is_err());
    }

    #[test]
    fn an_opaque_token_is_the_base64_of_a_uuid() {
        let token = opaque();
        let text = STANDARD.decode(&token).expect("base64");
        let lengths: Vec<usize> = text.split(|b| *b == b'-').map(<[u8]>::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{token}");
        assert_ne!(token, opaque());
    }
}
