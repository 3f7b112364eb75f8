//! Which fields of a message are removed, and how: pure, for heads and trailers alike.
//!
//! Hop-by-hop fields belong to one connection (RFC 9110 §7.6.1); aliases are read by some
//! upstreams as another name than was judged; `headset-*` is ours to say. Who removes
//! what, and when, is for `stack/scrub.rs` and the bodies to decide.

use http::{HeaderMap, HeaderName, header};

/// Fields that belong to one connection, besides those that `Connection` names.
/// `Trailer` is end-to-end and stays: trailers are forwarded.
pub const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Which of the names that headset looks for stand in a head: one look at each name of it
/// costs less than a look-up for each of ours, most of which find nothing. What is removed
/// later may still be told as seen; nothing is added that is asked for here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen(u32);

impl Seen {
    const CONNECTION: Seen = Seen(1);
    const TE: Seen = Seen(1 << 5);
    /// `Transfer-Encoding`.
    pub const CODING: Seen = Seen(1 << 6);
    /// `Upgrade`.
    pub const UPGRADE: Seen = Seen(1 << 7);
    /// All of [`HOP_BY_HOP`], by their places.
    const ALL_HOP_BY_HOP: Seen = Seen(0xff);
    /// `Keep-Alive`.
    pub const KEEP_ALIVE: Seen = Seen(1 << 1);
    /// `Proxy-Authorization`, `Authorization` or `sessionId`: what callers could pass for
    /// somebody by on every route with a credential.
    pub const LOGIN: Seen = Seen(1 << 4 | 1 << 8);
    /// `Content-Length`.
    pub const LENGTH: Seen = Seen(1 << 9);
    /// `Host`.
    pub const HOST: Seen = Seen(1 << 10);
    /// `Expect`.
    pub const EXPECT: Seen = Seen(1 << 11);
    /// What a browser says of the page that calls: `Origin` and `Sec-Fetch-Site`.
    pub const PAGE: Seen = Seen(1 << 12);
    /// `Set-Cookie`.
    pub const SET_COOKIE: Seen = Seen(1 << 13);
    /// `X-RateLimit-Remaining`.
    pub const QUOTA: Seen = Seen(1 << 14);
    /// `X-Request-Id`.
    pub const REQUEST_ID: Seen = Seen(1 << 17);
    /// A name of ours.
    pub const OURS: Seen = Seen(1 << 15);
    /// A name with a `_`, which some upstreams take for another.
    pub const UNDERSCORE: Seen = Seen(1 << 16);

    /// What stands in `headers`.
    pub fn of(headers: &HeaderMap) -> Seen {
        let bits = headers.keys().fold(0, |bits, name| bits | bits_of(name));
        Seen(bits)
    }

    /// Whether `name` is one of [`Seen::LOGIN`].
    pub fn is_login(name: &HeaderName) -> bool {
        Seen(bits_of(name)).has(Seen::LOGIN)
    }

    /// Whether one of `these` was seen.
    #[inline]
    pub fn has(self, these: Seen) -> bool {
        self.0 & these.0 != 0
    }

    /// Whether the caller who sent `headers` can take trailers (RFC 9110 §10.1.4).
    pub fn takes_trailers(self, headers: &HeaderMap) -> bool {
        if !self.has(Seen::TE) {
            return false;
        }
        headers
            .get_all(header::TE)
            .iter()
            .filter_map(|te| te.to_str().ok())
            .flat_map(|te| te.split(','))
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    }

    /// Removes from `headers` the hop-by-hop fields that were seen, and what their
    /// `Connection` names.
    pub fn remove_hop_by_hop(self, headers: &mut HeaderMap) {
        if !self.has(Seen::ALL_HOP_BY_HOP) {
            return;
        }
        if self.has(Seen::CONNECTION) {
            let mut connection = headers.get_all(header::CONNECTION).iter();
            // The usual `keep-alive` and `close` name no field of their own to remove.
            let usual = connection.next().is_some_and(|first| {
                matches!(first.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive")
            });
            if !usual || connection.next().is_some() {
                remove_named(headers);
            }
        }
        for (place, name) in HOP_BY_HOP.iter().enumerate() {
            if self.has(Seen(1 << place)) {
                headers.remove(name);
            }
        }
    }
}

/// The place of `name` in [`HOP_BY_HOP`].
fn hop(name: &HeaderName) -> Option<usize> {
    let place = (bits_of(name) & Seen::ALL_HOP_BY_HOP.0).trailing_zeros() as usize;
    (place < HOP_BY_HOP.len()).then_some(place)
}

/// What [`Seen`] holds of one name.
fn bits_of(name: &HeaderName) -> u32 {
    match name.as_str() {
        "connection" => 1,
        "keep-alive" => 1 << 1,
        "proxy-connection" => 1 << 2,
        "proxy-authenticate" => 1 << 3,
        "proxy-authorization" => 1 << 4,
        "te" => 1 << 5,
        "transfer-encoding" => 1 << 6,
        "upgrade" => 1 << 7,
        "authorization" | "sessionid" => 1 << 8,
        "content-length" => Seen::LENGTH.0,
        "host" => Seen::HOST.0,
        "expect" => Seen::EXPECT.0,
        "origin" | "sec-fetch-site" => Seen::PAGE.0,
        "set-cookie" => Seen::SET_COOKIE.0,
        "x-ratelimit-remaining" => Seen::QUOTA.0,
        "x-request-id" => Seen::REQUEST_ID.0,
        _ => {
            let ours = if is_ours(name) { Seen::OURS.0 } else { 0 };
            let underscore = has_underscore(name);
            ours | if underscore { Seen::UNDERSCORE.0 } else { 0 }
        }
    }
}

#[cold]
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes hop-by-hop fields, those that `Connection` names included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    Seen::of(headers).remove_hop_by_hop(headers);
}

/// Removes from trailers what frames a message, says where it goes or belongs to one
/// connection (RFC 9110 §6.5.1): whatever it was read by would let it pass.
pub fn remove_from_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    trailers.remove(header::CONTENT_LENGTH);
    trailers.remove(header::HOST);
}

/// Removes names that an upstream which reads `_` as `-` (CGI, RFC 3875 §4.1.18, and
/// what descends from it) would take for one of `secret`, for the tenant's, for a field of
/// ours, or for one of the connection or its framing.
#[cold]
pub fn remove_aliases(headers: &mut HeaderMap, secret: &[HeaderName], tenant: Option<&HeaderName>) {
    let means_another = |name: &&HeaderName| {
        if tenant.is_some_and(|tenant| *name != tenant && reads_as(name, tenant)) {
            return true;
        }
        if !has_underscore(name) {
            return false;
        }
        let Ok(read) = HeaderName::try_from(name.as_str().replace('_', "-")) else {
            return false;
        };
        secret.contains(&read)
            || is_ours(&read)
            || hop(&read).is_some()
            || read == header::CONTENT_LENGTH
    };
    let aliases: Vec<HeaderName> = headers.keys().filter(means_another).cloned().collect();
    for name in aliases {
        headers.remove(name);
    }
}

/// Whether both names are one where `_` is read as `-`.
fn reads_as(one: &HeaderName, other: &HeaderName) -> bool {
    let read = |name: &HeaderName| name.as_str().replace('_', "-");
    read(one) == read(other)
}

/// Whether `name` has a `_`, so that some upstreams take it for another.
#[inline]
pub fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'_')
}

/// Removes names that hold more than letters, digits and `-`.
pub fn remove_odd(headers: &mut HeaderMap) {
    let is_odd = |name: &&HeaderName| {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
        !name.as_str().as_bytes().iter().all(plain)
    };
    let odd: Vec<HeaderName> = headers.keys().filter(is_odd).cloned().collect();
    for name in odd {
        headers.remove(name);
    }
}

/// `headset-*` is ours to say.
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("headset-")
}

/// Removes what callers say in our name.
#[cold]
pub fn remove_spoofed(headers: &mut HeaderMap) {
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ours(name))
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_hop_by_hop_field_knows_its_place() {
        for (place, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(hop(name), Some(place), "{name}");
        }
        assert_eq!(hop(&header::TRAILER), None);
    }

    #[test]
    fn every_name_that_is_looked_for_is_seen_and_no_other() {
        for (name, bit) in [
            ("transfer-encoding", Seen::CODING),
            ("upgrade", Seen::UPGRADE),
            ("keep-alive", Seen::KEEP_ALIVE),
            ("authorization", Seen::LOGIN),
            ("proxy-authorization", Seen::LOGIN),
            ("sessionid", Seen::LOGIN),
            ("content-length", Seen::LENGTH),
            ("host", Seen::HOST),
            ("expect", Seen::EXPECT),
            ("origin", Seen::PAGE),
            ("sec-fetch-site", Seen::PAGE),
            ("set-cookie", Seen::SET_COOKIE),
            ("x-ratelimit-remaining", Seen::QUOTA),
            ("x-request-id", Seen::REQUEST_ID),
            ("headset-x", Seen::OURS),
            ("a_b", Seen::UNDERSCORE),
        ] {
            let seen = Seen::of(&fields(&[("x", "1"), (name, "1"), ("accept", "1")]));
            assert!(seen.has(bit), "{name}");
            assert_eq!(seen.0.count_ones(), 1, "{name}");
        }
        let both = Seen::of(&fields(&[
            ("headset_generation", "1"),
            ("headset-a_b", "1"),
        ]));
        assert!(both.has(Seen::OURS) && both.has(Seen::UNDERSCORE));
        assert_eq!(Seen::of(&fields(&[("accept", "1"), ("x-a", "2")])).0, 0);
    }

    #[test]
    fn what_connection_names_is_removed_with_it() {
        let mut headers = fields(&[
            ("connection", "keep-alive, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
        ]);
        remove_hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-three", "trailer"]);
    }

    #[test]
    fn a_second_connection_field_is_read_too() {
        let mut headers = fields(&[
            ("connection", "close"),
            ("connection", "x-two"),
            ("x-two", "2"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_name_that_means_another_goes_and_other_underscores_stay() {
        let mut headers = fields(&[
            ("x_token", "1"),
            ("content_length", "2"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("headset_generation", "9"),
            ("tenant_id", "7"),
        ]);
        remove_aliases(&mut headers, &[HeaderName::from_static("x-token")], None);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["tenant_id", "transfer-encoding"]);
    }

    #[test]
    fn a_tenant_is_named_once_and_in_one_spelling() {
        for (tenant, alias) in [
            ("x-context-id", "x_context_id"),
            ("x-context-id", "x-context_id"),
            ("x_context_id", "x-context-id"),
        ] {
            let mut headers = fields(&[(tenant, "1"), (alias, "9"), ("x_other", "2")]);
            let tenant = HeaderName::try_from(tenant).unwrap();
            remove_aliases(&mut headers, &[], Some(&tenant));
            assert!(headers.len() == 2 && headers[&tenant] == "1", "{headers:?}");
        }
    }

    #[test]
    fn the_names_of_ours_cannot_be_spoofed() {
        let mut headers = fields(&[("headset-generation", "9"), ("x", "1")]);
        remove_spoofed(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
