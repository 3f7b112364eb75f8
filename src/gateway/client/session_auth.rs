//! Authentication that is bound to a connection, pure: NTLM and Negotiate.
//!
//! Their handshake authenticates the connection, and whatever comes on it afterwards is
//! taken for the same user (RFC 4559 §5 and §6, MS-NTHT). So a connection that carried
//! one is not pooled: the next call on it would be another caller's, with the first one's
//! rights. An upstream says that it authenticates connections by
//! `Proxy-Support: Session-Based-Authentication` (RFC 4559 §6).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const PROXY_SUPPORT: HeaderName = HeaderName::from_static("proxy-support");
const SCHEMES: [&[u8]; 2] = [b"ntlm", b"negotiate"];

/// Whether a call with these fields authenticates its connection.
pub fn is_shown(request: &HeaderMap) -> bool {
    let mut shown = request.get_all(header::AUTHORIZATION).iter();
    shown.any(|value| lists_bound(value.as_bytes()))
}

/// Whether one of these `fields`, which a credential sets, authenticates its connection.
pub fn is_in(fields: &[(HeaderName, HeaderValue)]) -> bool {
    let mut fields = fields.iter();
    fields.any(|(name, value)| name == header::AUTHORIZATION && lists_bound(value.as_bytes()))
}

/// Whether a response asks for such an authentication.
pub fn is_asked(status: StatusCode, response: &HeaderMap) -> bool {
    let is_challenge = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    );
    is_challenge
        && (response.contains_key(PROXY_SUPPORT)
            || [header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE]
                .iter()
                .flat_map(|name| response.get_all(name))
                .any(|value| lists_bound(value.as_bytes())))
}

/// Whether one of `list` begins with one of these schemes. A comma in quotes divides too:
/// a connection too many that is not pooled does no harm.
fn lists_bound(list: &[u8]) -> bool {
    is_bound(list) || memchr::memchr_iter(b',', list).any(|at| is_bound(&list[at + 1..]))
}

/// Whether `challenge` begins with one of these schemes, in any letter case (RFC 9110
/// §11.1).
fn is_bound(challenge: &[u8]) -> bool {
    let challenge = challenge.trim_ascii_start();
    SCHEMES.iter().any(|scheme| {
        let begins = challenge
            .get(..scheme.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
        begins
            && matches!(
                challenge.get(scheme.len()),
                None | Some(b' ' | b'\t' | b',')
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_authorization_of_the_connection_is_told_by_its_scheme() {
        for (value, bound) in [
            ("NTLM TlRMTVNTUAABAAAA", true),
            ("negotiate YII=", true),
            ("Negotiate", true),
            ("Basic bnRsbTpuZWdvdGlhdGU=", false),
            ("Bearer NTLM", false),
            ("NTLMv3 x", false),
            ("NT", false),
            ("Basic x, Negotiate abc", true),
            ("Basic x,NTLM", true),
            ("ntlm,Basic x", true),
            ("Digest a=\"b\", c=\"NTLM\"", false),
        ] {
            assert_eq!(
                is_shown(&fields(&[("authorization", value)])),
                bound,
                "{value}"
            );
        }
        assert!(!is_shown(&HeaderMap::new()));
        for (second, bound) in [("NTLM abc", true), ("Bearer abc", false)] {
            let two = [("authorization", "Basic x"), ("authorization", second)];
            assert_eq!(is_shown(&fields(&two)), bound, "{second}");
        }
    }

    #[test]
    fn a_challenge_for_the_connection_is_found_wherever_it_stands() {
        for (list, asked) in [
            (vec![("www-authenticate", "NTLM")], true),
            (
                vec![("www-authenticate", "Basic realm=\"a, b\", Negotiate")],
                true,
            ),
            (
                vec![
                    ("www-authenticate", "Basic"),
                    ("www-authenticate", "Negotiate YII="),
                ],
                true,
            ),
            (vec![("proxy-authenticate", "NTLM")], true),
            (
                vec![("proxy-support", "Session-Based-Authentication")],
                true,
            ),
            (vec![("www-authenticate", "Basic realm=\"NTLM\"")], false),
            (vec![("www-authenticate", "Bearer")], false),
        ] {
            let headers = fields(&list);
            assert_eq!(
                is_asked(StatusCode::UNAUTHORIZED, &headers),
                asked,
                "{list:?}"
            );
            assert!(!is_asked(StatusCode::OK, &headers));
        }
    }
}
