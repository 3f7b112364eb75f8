//! That a response has exactly one reading (RFC 9112 §6). Pure.
//!
//! What `h1` and h2 let pass although two careful readers could differ on it is made to have
//! one reading, or refused; requests are only ever refused (`framing.rs`).

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};

use crate::gateway::fields::Seen;
use crate::h1::body;

/// Makes the head of a response, in which these names were `seen`, agree with how its body was
/// read, and its version with the one that headset speaks (RFC 9110 §6.2). Yields whether its
/// connection may carry another call.
///
/// # Errors
/// Where the response cannot be passed on: a coding that nobody decodes, a length that is
/// none, or a switch to a protocol that nobody asked for.
pub fn settle<B>(response: &mut Response<B>, seen: Seen) -> Result<bool, &'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols, which the call did not ask for");
    }
    // Its connection is not used again: it may not know how the next message is framed.
    let mut reusable = response.version() == Version::HTTP_11;
    // An HTTP/1.0 response without a length ends with its connection; passed on as 1.0,
    // one that broke off would look whole.
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers_mut();
    if seen.has(Seen::CODING) {
        if !body::is_one_chunked(headers) {
            return Err("its Transfer-Encoding is not exactly one `chunked`");
        }
        // RFC 9112 §6.3: the coding decides, and the length must not be passed on. Two
        // framings may mean two responses.
        reusable &= headers.remove(header::CONTENT_LENGTH).is_none();
    } else if seen.has(Seen::LENGTH) {
        reusable &= settle_length(headers)?;
    }
    Ok(reusable)
}

/// Leaves one `Content-Length` of digits alone (RFC 9112 §6.3); of the repeated and
/// listed equal lengths that `h1` tolerates in a response, one stays. Yields whether it was plain.
///
/// # Errors
/// Where it is not one number; `h1` does not look at it where there is no body to read.
fn settle_length(headers: &mut HeaderMap) -> Result<bool, &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Ok(true);
    };
    if is_digits(length.as_bytes()) && lengths.next().is_none() {
        return Ok(true);
    }
    let all = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut items = all
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii);
    let first = items.next().unwrap_or_default();
    if !is_digits(first) || items.any(|item| item != first) {
        return Err("its Content-Length is not one number");
    }
    let one = HeaderValue::from_bytes(first).map_err(|_| "its Content-Length is not one number")?;
    headers.insert(header::CONTENT_LENGTH, one);
    Ok(false)
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle_all(response: &mut Response<()>) -> Result<bool, &'static str> {
        let seen = Seen::of(response.headers());
        settle(response, seen)
    }

    fn settled(fields: &[(&str, &str)]) -> Result<Vec<String>, &'static str> {
        let mut response = Response::builder().version(Version::HTTP_10);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let mut response = response.body(()).unwrap();
        settle_all(&mut response)?;
        assert_eq!(response.version(), Version::HTTP_11);
        let lengths = response.headers().get_all("content-length").iter();
        Ok(lengths.map(|v| v.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn an_answer_keeps_at_most_one_length_and_none_beside_chunked() {
        assert_eq!(settled(&[]).unwrap(), [""; 0]);
        assert_eq!(settled(&[("content-length", "5")]).unwrap(), ["5"]);
        assert_eq!(settled(&[("content-length", "5, 5")]).unwrap(), ["5"]);
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(settled(&twice).unwrap(), ["5"]);
        for bad in ["", "+5", "5)", "5, 6", "5,", "0x5"] {
            assert!(settled(&[("content-length", bad)]).is_err(), "{bad}");
        }
        let both = [("content-length", "3"), ("transfer-encoding", "chunked")];
        assert_eq!(settled(&both).unwrap(), [""; 0]);
    }

    #[test]
    fn a_connection_with_an_old_or_doubly_framed_answer_is_not_used_again() {
        let reusable = |version, fields: &[(&str, &str)]| {
            let mut response = Response::builder().version(version);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            settle_all(&mut response.body(()).unwrap()).unwrap()
        };
        let (length, chunked) = (("content-length", "5"), ("transfer-encoding", "chunked"));
        assert!(reusable(Version::HTTP_11, &[length]));
        assert!(reusable(Version::HTTP_11, &[chunked]));
        assert!(reusable(Version::HTTP_11, &[]));
        assert!(!reusable(Version::HTTP_10, &[length]));
        assert!(!reusable(Version::HTTP_11, &[length, chunked]));
        assert!(!reusable(Version::HTTP_11, &[length, length]));
    }

    #[test]
    fn an_answer_in_a_coding_that_nobody_decodes_is_refused() {
        for bad in ["gzip", "gzip, chunked", "chunked, gzip", "xchunked", ""] {
            assert!(settled(&[("transfer-encoding", bad)]).is_err(), "{bad}");
        }
        assert!(settled(&[("transfer-encoding", "Chunked")]).is_ok());
        let mut switch = Response::new(());
        *switch.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert!(settle_all(&mut switch).is_err());
    }
}
