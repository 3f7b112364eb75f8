//! The calls of the `basicauth` kind.
//!
//! Each is one request. Nothing here remembers anything or decides what comes next; what
//! an answer other than a 2xx means is in `response.rs`.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::list::{self, Listing, NameQuery, WantedName};
use crate::base::causes::with_causes;
use crate::credential::issuer_client::IssuerClient;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::{MintError, UnavailableReason};
use crate::secret::Secret;

/// The server's own default is 2 a page.
const PAGE: usize = 100;

/// A list that goes on for longer than this is not one.
const PAGES_MOST: usize = 50;

/// RFC 3986 §2.3: all but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where to register, and as what.
pub(super) struct Calls {
    pub(super) login: IssuerClient,
    pub(super) path: Box<str>,
    pub(super) context: String,
    pub(super) context_id: String,
    pub(super) user_role: String,
}

/// What is registered.
pub(super) struct Pair {
    pub(super) username: String,
    pub(super) password: Secret<String>,
    /// The two as they go on calls.
    pub(super) value: HeaderValue,
}

/// Who registers, as read for one attempt.
pub(super) struct Administrator {
    pub(super) bearer: Secret<String>,
    pub(super) value: HeaderValue,
}

/// A look-up that found no list.
#[derive(Debug)]
pub(super) struct NoList {
    pub(super) error: MintError,
    /// This admin may not list, or there is no list here: one can do without.
    pub(super) is_forbidden: bool,
}

impl From<MintError> for NoList {
    fn from(error: MintError) -> NoList {
        NoList {
            error,
            is_forbidden: false,
        }
    }
}

/// The outcome of a look-up.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) listings: Vec<Listing>,
    /// The last page; its body is gone.
    pub(super) last: IssuerResponse,
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
        id: Option<&str>,
        expires_ms: i64,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<IssuerResponse, MintError> {
        let registration = Registration {
            username: &pair.username,
            password: pair.password.expose(),
            context: &self.context,
            context_id: &self.context_id,
            date_expiry: &date_expiry(expires_ms),
            user_role: &self.user_role,
        };
        let (method, target) = match id {
            None => (Method::POST, self.path.to_string()),
            Some(id) => (Method::PUT, self.target_of(id)),
        };
        self.send(method, &target, &admin.value, json(&registration))
            .await
    }

    /// DELETE.
    pub(super) async fn delete(
        &self,
        id: &str,
        admin: &Administrator,
    ) -> Result<IssuerResponse, MintError> {
        let target = self.target_of(id);
        self.send(Method::DELETE, &target, &admin.value, Bytes::new())
            .await
    }

    /// Looks for `name` through the prefix filter, page by page. Where it is one exact
    /// name, its page is the last that is asked for.
    pub(super) async fn look_up(
        &self,
        name: NameQuery<'_>,
        password: Option<&str>,
        admin: &Administrator,
    ) -> Result<Found, NoList> {
        let wanted = WantedName {
            name,
            context: &self.context,
            context_id: &self.context_id,
            user_role: &self.user_role,
            password,
        };
        let prefix = match name {
            NameQuery::Exactly(name) => name.to_owned(),
            NameQuery::Numbered(base) => format!("{base}-"),
        };
        let mut listings = Vec::new();
        let mut offset = 0;
        for _ in 0..PAGES_MOST {
            let target = self.list_target(&prefix, PAGE, offset);
            let mut answer = self
                .send(Method::GET, &target, &admin.value, Bytes::new())
                .await?;
            if !answer.status.is_success() {
                let status = answer.status.as_u16();
                return Err(NoList {
                    is_forbidden: matches!(status, 403..=405),
                    error: self.refusal_or_wait("look-up of the name", &answer, admin, None),
                });
            }
            let page = list::read(&answer.body, &wanted);
            answer.body = Zeroizing::default();
            let Some(page) = page else {
                return Err(unavailable(
                    UnavailableReason::Body,
                    "the list of registrations is not one",
                )
                .into());
            };
            offset += page.count;
            let is_exact = matches!(name, NameQuery::Exactly(_));
            let ends = page.count == 0
                || page.total.is_some_and(|total| offset >= total)
                || (is_exact && !page.found.is_empty());
            listings.extend(page.found);
            if ends {
                return Ok(Found {
                    listings,
                    last: answer,
                });
            }
        }
        Err(unavailable(
            UnavailableReason::Body,
            "the list of registrations has no end",
        )
        .into())
    }

    /// Whether the issuer takes `pair` itself: then its registration is ours.
    pub(super) async fn accepts(
        &self,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<bool, MintError> {
        Ok(self.knows(pair, admin).await? == Some(true))
    }

    /// Whether the issuer has `pair`; `None` where its answer shows neither.
    pub(super) async fn knows(
        &self,
        pair: &Pair,
        admin: &Administrator,
    ) -> Result<Option<bool>, MintError> {
        let target = self.list_target(&pair.username, 1, 0);
        let answer = self
            .send(Method::GET, &target, &pair.value, Bytes::new())
            .await?;
        match answer.status.as_u16() {
            200..300 => Ok(Some(true)),
            401 => Ok(Some(false)),
            // A 403 knows somebody by that pair, or refuses our address: no proof.
            400..500 if answer.status != StatusCode::TOO_MANY_REQUESTS => Ok(None),
            _ => {
                let doing = "look-up with our own pair";
                Err(self.refusal_or_wait(doing, &answer, admin, Some(pair)))
            }
        }
    }

    fn target_of(&self, id: &str) -> String {
        format!(
            "{}/{}",
            self.path.trim_end_matches('/'),
            utf8_percent_encode(id, ENCODED)
        )
    }

    fn list_target(&self, username: &str, limit: usize, offset: usize) -> String {
        let encode = |text| utf8_percent_encode(text, ENCODED);
        format!(
            "{}?username={}&context={}&contextId={}&limit={limit}&offset={offset}",
            self.path,
            encode(username),
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
    ) -> Result<IssuerResponse, MintError> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, authorization);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|_| {
            unavailable(
                UnavailableReason::Connect,
                "the issuer's URL makes no request target",
            )
        })?;
        self.login
            .send(request)
            .await
            .map_err(|error| MintError::Unavailable {
                reason: error.reason(),
                detail: with_causes(&error),
                retry_after: None,
            })
    }
}

/// Something that may work later.
pub(super) fn unavailable(reason: UnavailableReason, detail: &str) -> MintError {
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
    struct ZeroedBytes(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for ZeroedBytes {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    // Room for every byte as `\u00xx`: growing would leave copies behind.
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
    Bytes::from_owner(ZeroedBytes(text))
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
}
