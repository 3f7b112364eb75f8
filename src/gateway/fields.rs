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

/// The place of `name` in [`HOP_BY_HOP`].
fn hop(name: &HeaderName) -> Option<usize> {
    let place = match name.as_str() {
        "connection" => 0,
        "keep-alive" => 1,
        "proxy-connection" => 2,
        "proxy-authenticate" => 3,
        "proxy-authorization" => 4,
        "te" => 5,
        "transfer-encoding" => 6,
        "upgrade" => 7,
        _ => return None,
    };
    Some(place)
}

/// The hop-by-hop fields found in a head: one look at each name costs less than eight
/// look-ups that mostly find nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct HopByHop(u8);

/// The places of `TE` and `Upgrade` in [`HOP_BY_HOP`].
const TE: u8 = 1 << 5;
const UPGRADE: u8 = 1 << 7;

impl HopByHop {
    /// Notes `name`, if it is one.
    #[inline]
    pub fn note(&mut self, name: &HeaderName) {
        if let Some(place) = hop(name) {
            self.0 |= 1 << place;
        }
    }

    /// Whether `Upgrade` was among them.
    #[inline]
    pub fn has_upgrade(self) -> bool {
        self.0 & UPGRADE != 0
    }

    /// Whether the caller who sent `headers` can take trailers (RFC 9110 §10.1.4).
    pub fn takes_trailers(self, headers: &HeaderMap) -> bool {
        if self.0 & TE == 0 {
            return false;
        }
        headers
            .get_all(header::TE)
            .iter()
            .filter_map(|te| te.to_str().ok())
            .flat_map(|te| te.split(','))
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    }

    /// Removes from `headers` what was found, and what their `Connection` names.
    pub fn remove(self, headers: &mut HeaderMap) {
        let found = self.0;
        if found == 0 {
            return;
        }
        if found & 1 != 0 {
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
            if found & 1 << place != 0 {
                headers.remove(name);
            }
        }
    }
}

#[cold]
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Removes hop-by-hop fields, those that `Connection` names included.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let mut found = HopByHop::default();
    headers.keys().for_each(|name| found.note(name));
    found.remove(headers);
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
