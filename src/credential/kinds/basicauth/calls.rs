//! The calls of the `basicauth` kind, and what their answers mean.
//!
//! Each is one request. Nothing here remembers anything or decides what comes next.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::list::{self, Entry, Wanted};
use super::quote::quote;
use crate::base::time::Moment;
use crate::credential::MintError;
use crate::credential::login::{Answer, Login};
use crate::secret::Secret;

/// The server's own default is 2 a page.
const PAGE: usize = 100;

/// A list that goes on for longer than this is not one.
const PAGES_MOST: usize = 50;

/// How far back the issuer's `Date` may set what is left of a listed life.
const CORRECTION_MOST_MS: i64 = 5 * 60 * 1000;

/// RFC 3986 §2.3: all but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whom to register, and where.
pub(super) struct Calls {
    pub(super) login: Login,
    pub(super) path: Box<str>,
    pub(super) username: String,
    pub(super) context: String,
    pub(super) context_id: String,
    pub(super) user_role: String,
}

/// What proves us, as read for one attempt.
pub(super) struct Proof {
    /// The Basic pair that is registered.
    pub(super) pair: HeaderValue,
    pub(super) bearer_value: HeaderValue,
    pub(super) password: Secret<String>,
    pub(super) bearer: Secret<String>,
}

/// A registration as the issuer's answer leaves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    /// Just before the request was sent.
    pub(super) sent: Moment,
    /// `dateExpiry`, in milliseconds of the issuer's clock.
    expires_ms: i64,
    /// How far the issuer's clock is ahead, where it said so.
    pub(super) skew_ms: Option<i64>,
}

impl Registered {
    pub(super) fn new(answer: &Answer, expires_ms: i64) -> Registered {
        Registered {
            sent: answer.sent,
            expires_ms,
            skew_ms: answer.skew_ms(),
        }
    }

    /// What is left of it, counted from `sent`. A `Date` that is ahead shortens a
    /// life in full, since then the issuer ends it earlier; one that is behind
    /// lengthens it by five minutes at most, since it may be wrong.
    pub(super) fn left(&self) -> Duration {
        let skew = self.skew_ms.unwrap_or(0).max(-CORRECTION_MOST_MS);
        let issuer_ms = self.sent.wall_ms.saturating_add(skew);
        let left = self.expires_ms.saturating_sub(issuer_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

/// A registration that did not come about.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: MintError,
    /// `dateExpiry` was in the issuer's past: it is worth sending once more.
    pub(super) was_past: bool,
}

impl From<MintError> for Failed {
    fn from(error: MintError) -> Failed {
        Failed {
            error,
            was_past: false,
        }
    }
}

/// The outcome of a look-up.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) entry: Option<Entry>,
    /// The page that it stood on, or the last one; its body is gone.
    pub(super) last: Answer,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration<'a> {
    username: &'a str,
    password: &'a str,
    context: &'a str,
    context_id: &'a str,
    date_expiry: &'a str,
    user_role: &'a str,
}

impl Calls {
    /// POST, or PUT where there is an id, until `expires_ms` of the issuer's clock.
    pub(super) async fn write(
        &self,
        method: Method,
        id: Option<&str>,
        expires_ms: i64,
        proof: &Proof,
    ) -> Result<Answer, MintError> {
        let registration = Registration {
            username: &self.username,
            password: proof.password.expose(),
            context: &self.context,
            context_id: &self.context_id,
            date_expiry: &date_expiry(expires_ms),
            user_role: &self.user_role,
        };
        let target = match id {
            None => self.path.to_string(),
            Some(id) => format!(
                "{}/{}",
                self.path.trim_end_matches('/'),
                utf8_percent_encode(id, ENCODED)
            ),
        };
        self.send(method, &target, &proof.bearer_value, json(&registration))
            .await
    }

    /// Looks for the exact name through the prefix filter, page by page.
    pub(super) async fn look_up(&self, proof: &Proof) -> Result<Found, Failed> {
        let wanted = Wanted {
            username: &self.username,
            context: &self.context,
            context_id: &self.context_id,
            user_role: &self.user_role,
            password: proof.password.expose(),
        };
        let mut offset = 0;
        for _ in 0..PAGES_MOST {
            let target = self.list_target(PAGE, offset);
            let mut answer = self
                .send(Method::GET, &target, &proof.bearer_value, Bytes::new())
                .await?;
            if !answer.status.is_success() {
                let error = self.refusal_or_wait("look-up of the name", &answer, proof);
                return Err(error.into());
            }
            let page = list::read(&answer.body, &wanted);
            answer.body = Zeroizing::default();
            let Some(page) = page else {
                return Err(unavailable("body", "the list of registrations is not one").into());
            };
            offset += page.count;
            let ends = page.count == 0 || page.total.is_some_and(|total| offset >= total);
            if page.entry.is_some() || ends {
                return Ok(Found {
                    entry: page.entry,
                    last: answer,
                });
            }
        }
        Err(unavailable("body", "the list of registrations has no end").into())
    }

    /// Whether the issuer takes our own pair: then the registration is ours.
    pub(super) async fn accepts_our_pair(&self, proof: &Proof) -> Result<bool, MintError> {
        let target = self.list_target(1, 0);
        let answer = self
            .send(Method::GET, &target, &proof.pair, Bytes::new())
            .await?;
        match answer.status.as_u16() {
            200..300 => Ok(true),
            // A 403 knows somebody by that pair, or refuses our address: no proof.
            400..500 if answer.status != StatusCode::TOO_MANY_REQUESTS => Ok(false),
            _ => Err(self.refusal_or_wait("look-up with our own pair", &answer, proof)),
        }
    }

    /// What a call other than a 2xx means. `attempted` is what it would have been.
    pub(super) fn failed(
        &self,
        doing: &str,
        answer: &Answer,
        attempted: &Registered,
        proof: &Proof,
    ) -> Failed {
        let was_past = answer.status == StatusCode::BAD_REQUEST
            && attempted.skew_ms.is_some()
            && attempted.left().is_zero();
        Failed {
            error: self.refusal_or_wait(doing, answer, proof),
            was_past,
        }
    }

    /// The name is somebody else's, as far as can be told.
    pub(super) fn foreign(&self, why: &str) -> MintError {
        MintError::Refused {
            reason: "foreign",
            detail: format!(
                "the contact center has a registration of the name {} already {why}; \
                 overwriting it would lock its owner out. Choose another username, delete \
                 that registration, or set adopt = true if it may be overwritten",
                self.username
            ),
        }
    }

    fn refusal_or_wait(&self, doing: &str, answer: &Answer, proof: &Proof) -> MintError {
        let status = answer.status.as_u16();
        let pair = proof.pair.to_str().unwrap_or("");
        let secrets = [
            proof.password.expose().as_str(),
            super::without_scheme(proof.bearer.expose()),
            pair.strip_prefix("Basic ").unwrap_or(pair),
        ];
        let said = quote(&answer.body, &secrets);
        let bearer = proof.bearer.source();
        let fix = match status {
            400 => {
                "check context, context_id, user_role and lifetime against what it says, \
                 and that the admin may register names"
            }
            401 => "the admin bearer is not accepted",
            403 => {
                "the admin may not register names, or this machine's address is not on the \
                 allow-list there"
            }
            _ => {
                return MintError::Unavailable {
                    reason: "status",
                    detail: format!("the contact center answered the {doing} with {status}{said}"),
                    retry_after: answer.retry_after(),
                };
            }
        };
        MintError::Refused {
            reason: "refused",
            detail: format!(
                "the contact center refused the {doing} with {status}{said}: {fix}; log in to \
                 it in the browser as its admin and put a fresh bearer into {bearer}"
            ),
        }
    }

    fn list_target(&self, limit: usize, offset: usize) -> String {
        let encode = |text| utf8_percent_encode(text, ENCODED);
        format!(
            "{}?username={}&context={}&contextId={}&limit={limit}&offset={offset}",
            self.path,
            encode(&self.username),
            encode(&self.context),
            encode(&self.context_id),
        )
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        authorization: &HeaderValue,
        body: Bytes,
    ) -> Result<Answer, MintError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, authorization);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(body)
            .map_err(|_| unavailable("connect", "the issuer's URL makes no request target"))?;
        self.login
            .send(request)
            .await
            .map_err(|error| MintError::Unavailable {
                reason: error.reason(),
                detail: error.chain(),
                retry_after: None,
            })
    }
}

/// Whether an answer says that the name is registered already: 409, or a 400 that
/// says so in words (no code is documented).
pub(super) fn says_taken(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::CONFLICT => true,
        StatusCode::BAD_REQUEST => {
            let text = Zeroizing::new(answer.body.to_ascii_lowercase());
            ["exist", "duplicate", "already", "conflict", "taken"]
                .iter()
                .any(|word| text.windows(word.len()).any(|part| part == word.as_bytes()))
        }
        _ => false,
    }
}

fn unavailable(reason: &'static str, detail: &str) -> MintError {
    MintError::Unavailable {
        reason,
        detail: detail.into(),
        retry_after: None,
    }
}

/// `YYYY-MM-DDThh:mm:ss.SSSZ`: the one form of which the vendor shows an example.
fn date_expiry(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A body that zeroes its password when hyper lets go of it.
fn json(registration: &Registration<'_>) -> Bytes {
    struct Octets(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Octets {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    // Room for every octet as `\u00xx`: growing would leave copies behind.
    let fields = [
        registration.username,
        registration.password,
        registration.context,
        registration.context_id,
        registration.date_expiry,
        registration.user_role,
    ];
    let room = 6 * fields.iter().map(|field| field.len()).sum::<usize>() + 256;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    // Writing texts into memory cannot fail.
    let _ = serde_json::to_writer(&mut *text, registration);
    Bytes::from_owner(Octets(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_expiry_has_milliseconds_and_a_z_always() {
        assert_eq!(date_expiry(1_905_423_657_310), "2030-05-19T12:20:57.310Z");
        assert_eq!(date_expiry(1_905_423_657_000), "2030-05-19T12:20:57.000Z");
        assert_eq!(date_expiry(i64::MAX).len(), 24);
    }

    #[test]
    fn what_is_left_is_counted_by_the_issuers_clock() {
        let left = |skew_ms| {
            let registered = Registered {
                sent: Moment {
                    wall_ms: 1_000_000,
                    boot: Duration::ZERO,
                },
                expires_ms: 4_600_000,
                skew_ms,
            };
            registered.left().as_secs()
        };
        assert_eq!(left(None), 3600);
        assert_eq!(left(Some(0)), 3600);
        assert_eq!(left(Some(600_000)), 3000);
        assert_eq!(left(Some(-60_000)), 3660);
        assert_eq!(left(Some(-6_000_000)), 3900);
        assert_eq!(left(Some(5_000_000)), 0);
    }
}
