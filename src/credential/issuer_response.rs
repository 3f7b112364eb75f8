//! What an issuer answered, or why there is no answer.
//!
//! An answer tells when it was given by the issuer's own clock, and when to ask again.
//! Its body may hold passwords, so it is zeroed when dropped and never printed.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use super::UnavailableReason;
use crate::base::time::Moment;
use crate::net::connect::ConnectError;

/// The most that an answer may hold.
pub const ANSWER_LIMIT: usize = 256 * 1024;

/// What the issuer said.
pub struct IssuerResponse {
    /// Any status, redirects included.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body; may hold passwords, so it is zeroed on drop and never printed.
    pub body: Zeroizing<Vec<u8>>,
    /// Just before the request was sent.
    pub sent: Moment,
    /// When all of the answer was there.
    pub received: Moment,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// There was no connection; nothing was sent.
    #[error("the issuer cannot be reached")]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came back is not HTTP.
    #[error("the issuer broke off the exchange{}", doubt(.reached))]
    Broken {
        /// Whether any of the request was sent.
        reached: bool,
        /// What hyper said.
        source: hyper::Error,
    },
    /// The time limit ended first.
    #[error("the issuer did not answer within {limit:?}{}", doubt(.reached))]
    TimedOut {
        /// Whether any of the request was sent.
        reached: bool,
        /// The limit.
        limit: Duration,
    },
    /// The answer is longer than [`ANSWER_LIMIT`].
    #[error("the issuer's answer is longer than {ANSWER_LIMIT} bytes")]
    TooLong,
}

fn doubt(reached: &bool) -> &'static str {
    if *reached {
        " (it may have acted on the request)"
    } else {
        " (nothing was sent)"
    }
}

impl IssuerError {
    /// Whether any of the request was sent, so that it may have been acted upon.
    pub fn reached(&self) -> bool {
        match self {
            IssuerError::Connect(_) => false,
            IssuerError::Broken { reached, .. } | IssuerError::TimedOut { reached, .. } => *reached,
            IssuerError::TooLong => true,
        }
    }

    /// What it is as the reason of a [`MintError`](super::MintError).
    pub fn reason(&self) -> UnavailableReason {
        match self {
            IssuerError::Connect(ConnectError::TimedOut { .. }) => UnavailableReason::Timeout,
            IssuerError::Connect(_) | IssuerError::Broken { .. } => UnavailableReason::Connect,
            IssuerError::TimedOut { .. } => UnavailableReason::Timeout,
            IssuerError::TooLong => UnavailableReason::Body,
        }
    }
}

impl IssuerResponse {
    /// What the issuer's clock said, in milliseconds since the epoch, cut to a
    /// second (`Date`, RFC 9110 §6.6.1).
    pub fn date_ms(&self) -> Option<i64> {
        http_date_ms(self.headers.get(DATE)?)
    }

    /// How far the issuer's clock is ahead of ours, in milliseconds.
    ///
    /// `Date` is cut to a second and was written somewhen between our sending and
    /// our receiving, so it only gives bounds. Where they include 0, the clocks are
    /// taken to agree; else it is the upper bound, so that an issuer who is ahead is
    /// never thought to leave more life than it does.
    pub fn skew_ms(&self) -> Option<i64> {
        let date = self.date_ms()?;
        let least = date.saturating_sub(self.received.wall_ms);
        let most = date.saturating_add(1000).saturating_sub(self.sent.wall_ms);
        Some(if least <= 0 && most >= 0 { 0 } else { most })
    }

    /// `Retry-After` (RFC 9110 §10.2.3), in seconds or as a date of the issuer's own
    /// clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?;
        let text = value.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More than can be counted is still a long time, not none.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let now = self.date_ms().unwrap_or(self.received.wall_ms);
        let ahead = http_date_ms(value)?.saturating_sub(now);
        u64::try_from(ahead).ok().map(Duration::from_millis)
    }
}

impl fmt::Debug for IssuerResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

fn http_date_ms(value: &HeaderValue) -> Option<i64> {
    let at = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::testing::{START_MS, answer, dated};

    fn heard(headers: &[(&'static str, &str)], sent_ms: i64, received_ms: i64) -> IssuerResponse {
        let at = |wall_ms| Moment {
            wall_ms,
            boot: Duration::ZERO,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        IssuerResponse {
            status: StatusCode::OK,
            headers: map,
            body: Zeroizing::default(),
            sent: at(sent_ms),
            received: at(received_ms),
        }
    }

    #[test]
    fn clocks_that_may_agree_are_taken_to_agree() {
        let skew = |server_ms: i64| {
            let date = dated(answer(200, ""), server_ms);
            let date = date.headers()["date"].to_str().unwrap().to_owned();
            heard(&[("date", &date)], START_MS + 700, START_MS + 720).skew_ms()
        };
        assert_eq!(skew(START_MS + 710), Some(0));
        assert_eq!(skew(START_MS + 1_200), Some(1_300));
        assert_eq!(skew(START_MS + 600_000), Some(600_300));
        assert_eq!(skew(START_MS - 600_000), Some(-599_700));
        assert_eq!(heard(&[], 0, 0).skew_ms(), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let after = |headers: &[(&'static str, &str)]| heard(headers, 0, 0).retry_after();
        assert_eq!(
            after(&[("retry-after", "30")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            after(&[
                ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
                ("retry-after", "Fri, 15 Jan 2027 08:00:07 GMT"),
            ]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[("retry-after", "-1")]), None);
        assert_eq!(
            after(&[("retry-after", &"9".repeat(60))]),
            Some(Duration::from_secs(u64::MAX)),
            "more than can be counted is not none"
        );
    }
}
