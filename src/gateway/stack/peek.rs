//! Looks into a 403 for the words by which an issuer says that a session is dead, and
//! reads what is left of a response that the caller will not get.
//!
//! Only where the credential's kind names such words, only into JSON that is not
//! coded, at most 16 KiB of it and at most for 2 s. What was looked at reaches the
//! caller in any case, byte for byte, with what follows it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;

use crate::gateway::CallResponse;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::response_body::peeked::Peeked;

/// No envelope of an error is longer.
const MOST: usize = 16 * 1024;

/// It comes with the head, or soon after.
const SOON: Duration = Duration::from_secs(2);

/// How long the rest of a response that nobody gets is waited for.
const REST_WITHIN: Duration = Duration::from_millis(250);

/// Whether the body of `answer` holds `words`; the body is as it was, afterwards.
pub async fn says(answer: &mut CallResponse, words: &str) -> bool {
    if !is_short_json(answer.response.headers()) {
        return false;
    }
    let mut body = std::mem::take(answer.response.body_mut());
    let mut peeked = Peeked::default();
    // Frames are kept outside of it, so that running out of time loses none.
    let _ = tokio::time::timeout(SOON, read(&mut body, &mut peeked)).await;
    let found = contains(&peeked.octets(), words.as_bytes());
    *answer.response.body_mut() = ResponseBody::peeked(peeked, body);
    found
}

/// Reads and drops the body of a response that is not passed on, within the same bounds:
/// read to its end, it gives its connection back to the pool.
pub async fn drop_rest(answer: CallResponse) {
    let mut body = answer.response.into_body();
    let reading = async {
        let mut left = MOST;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let octets = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(octets) else {
                return;
            };
            left = rest;
        }
    };
    // What takes longer costs more than a new connection.
    let _ = tokio::time::timeout(REST_WITHIN, reading).await;
}

async fn read(body: &mut ResponseBody, peeked: &mut Peeked) {
    while peeked.len() <= MOST {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(frame) => peeked.push(frame),
            None => return,
        }
    }
}

fn is_short_json(headers: &HeaderMap) -> bool {
    let text = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("").trim().to_ascii_lowercase()
    };
    let plain = matches!(text(CONTENT_ENCODING).as_str(), "" | "identity");
    let short = text(CONTENT_LENGTH)
        .parse::<usize>()
        .map_or(true, |length| length <= MOST);
    plain && short && text(CONTENT_TYPE).contains("json")
}

fn contains(octets: &[Bytes], words: &[u8]) -> bool {
    let whole = octets.concat();
    whole.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;
    use http_body_util::BodyExt;

    fn answer(headers: &[(&'static str, &'static str)], body: &str) -> CallResponse {
        let mut response = Response::new(ResponseBody::whole(body.to_owned()));
        for (name, value) in headers {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().insert(*name, value);
        }
        CallResponse {
            response: Box::new(response),
            seen: Default::default(),
            used: None,
            waited: Duration::ZERO,
            failure: None,
        }
    }

    const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");
    const DEAD: &str = r#"{"code":99999,"info":"invalid.session.id","message":null}"#;

    #[tokio::test]
    async fn the_words_are_found_and_the_body_is_as_it_was() {
        for (headers, body, found) in [
            (vec![JSON], DEAD.to_owned(), true),
            (vec![JSON], r#"{"info":"no.right"}"#.into(), false),
            (vec![JSON], String::new(), false),
            (vec![("content-type", "text/html")], DEAD.into(), false),
            (vec![JSON, ("content-encoding", "gzip")], DEAD.into(), false),
            (
                vec![JSON, ("content-encoding", "identity")],
                DEAD.into(),
                true,
            ),
            (vec![JSON, ("content-length", "20000")], DEAD.into(), false),
        ] {
            let mut answer = answer(&headers, &body);
            assert_eq!(
                says(&mut answer, "invalid.session.id").await,
                found,
                "{body}"
            );
            let hint = answer.response.body().size_hint().exact();
            assert_eq!(hint, Some(body.len() as u64));
            let whole = answer.response.into_body().collect().await.unwrap();
            assert_eq!(whole.to_bytes(), body);
        }
    }
}
