//! From secrets to the values of header fields.
//!
//! Every value is marked sensitive, which keeps it out of `Debug` and of HPACK tables, and
//! its bytes are zeroed with its last clone. Nothing is read or sent here.

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

/// `Basic` and the pair (RFC 7617 §2): UTF-8, standard alphabet, padded.
pub(super) fn basic_value(username: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut text);
    sensitive(text)
}

/// `Bearer` and the token (RFC 6750 §2.1); one that is there already is not doubled.
pub(super) fn bearer_value(token: &str) -> Option<HeaderValue> {
    let token = without_scheme(token);
    let mut text = Zeroizing::new(String::with_capacity(7 + token.len()));
    text.push_str("Bearer ");
    text.push_str(token);
    sensitive(text)
}

/// A token without the `Bearer ` that some people paste with it.
pub(super) fn without_scheme(token: &str) -> &str {
    let token = token.trim();
    match token.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => token[7..].trim_start(),
        _ => token,
    }
}

/// A field value that is kept out of HPACK tables and `Debug`, and whose bytes are
/// zeroed with its last clone. `None` where a character cannot stand in a field.
pub(super) fn sensitive(text: Zeroizing<String>) -> Option<HeaderValue> {
    struct ZeroedText(Zeroizing<String>);
    impl AsRef<[u8]> for ZeroedText {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(ZeroedText(text))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_pairs_are_rendered_as_the_vendor_does() {
        let plain = basic_value("customer_manager", "customer_manager@123").unwrap();
        assert_eq!(
            plain,
            "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMw=="
        );
        let dollar = basic_value("customer_manager", "customer_manager@123$").unwrap();
        assert_eq!(
            dollar,
            "Basic Y3VzdG9tZXJfbWFuYWdlcjpjdXN0b21lcl9tYW5hZ2VyQDEyMyQ="
        );
        assert!(plain.is_sensitive() && dollar.is_sensitive());
        assert!(basic_value("jürgen", "p:ä").is_some());
    }

    #[test]
    fn a_bearer_is_never_doubled() {
        for pasted in ["abc", "Bearer abc", "bearer   abc", " BEARER abc\n"] {
            assert_eq!(bearer_value(pasted).unwrap(), "Bearer abc", "{pasted:?}");
        }
        assert_eq!(bearer_value("bearerabc").unwrap(), "Bearer bearerabc");
        assert!(bearer_value("a\u{7f}b").is_none());
        assert!(bearer_value("a\nb").is_none());
    }
}
