//! Where the calls of a route go: the target that is sent, and the way back. Pure.
//!
//! The target goes on byte for byte as it came, after the upstream's own path, less the
//! matched prefix where the route says so; a `Location` on the upstream's own origin comes
//! back by the same way.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use crate::config::url::{HttpOrigin, HttpUrl};
use crate::gateway::error::CallerFault;

/// Where calls of a route go.
#[derive(Debug)]
pub struct UpstreamTarget {
    origin: HttpOrigin,
    host: HeaderValue,
    /// Host and port by which the upstream may name itself: its own and, where it is sent
    /// another `Host`, that.
    names: Vec<(Box<str>, u16)>,
    /// The upstream's own path without a trailing slash; empty for the root.
    base: Box<str>,
    /// The matched prefix to remove, without a trailing slash; empty for none.
    strip: Box<str>,
    rewrite_location: bool,
    /// Whether calls go where they themselves say.
    is_anywhere: bool,
}

impl UpstreamTarget {
    /// Aims at `upstream`, removing `strip` (a path prefix) first where there is one, and
    /// sending `host` as `Host` where there is one. `None` where the host cannot stand in a
    /// header field.
    pub fn new(
        upstream: &HttpUrl,
        strip: Option<&str>,
        host: Option<&str>,
        rewrite_location: bool,
    ) -> Option<UpstreamTarget> {
        let origin = upstream.origin.clone();
        let mut names = vec![match origin.socket() {
            Some(_) => (origin.authority().into(), 80),
            None => (origin.host.clone(), origin.port),
        }];
        if let Some(host) = host {
            let authority: http::uri::Authority = host.parse().ok()?;
            let own = if origin.tls { 443 } else { 80 };
            names.push((authority.host().into(), authority.port_u16().unwrap_or(own)));
        }
        let authority = host.map_or_else(|| origin.authority(), str::to_owned);
        Some(UpstreamTarget {
            host: HeaderValue::from_str(&authority).ok()?,
            origin,
            names,
            base: upstream.path.trim_end_matches('/').into(),
            strip: strip.unwrap_or("").trim_end_matches('/').into(),
            rewrite_location,
            is_anywhere: false,
        })
    }

    /// The same for calls that name the upstream's own target, as those to a forward proxy
    /// do: nothing of the target or of a `Location` is turned.
    #[must_use]
    pub fn as_called(&self) -> UpstreamTarget {
        UpstreamTarget {
            origin: self.origin.clone(),
            host: self.host.clone(),
            names: Vec::new(),
            base: "".into(),
            strip: "".into(),
            rewrite_location: false,
            is_anywhere: false,
        }
    }

    /// For the built-in route of forward listeners: wherever the call itself says.
    pub fn anywhere() -> UpstreamTarget {
        UpstreamTarget {
            is_anywhere: true,
            ..UpstreamTarget::nowhere()
        }
    }

    /// Whether the `Host` to send is that of the call's own target.
    pub fn is_anywhere(&self) -> bool {
        self.is_anywhere
    }

    /// For the route `none`, whose calls go nowhere.
    pub fn nowhere() -> UpstreamTarget {
        UpstreamTarget {
            host: HeaderValue::from_static("none.invalid"),
            origin: HttpOrigin {
                tls: false,
                host: "none.invalid".into(),
                port: 80,
            },
            names: Vec::new(),
            base: "".into(),
            strip: "".into(),
            rewrite_location: false,
            is_anywhere: false,
        }
    }

    /// The `Host` that is sent.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Whether targets are sent as they come, but for their form.
    pub fn keeps_targets(&self) -> bool {
        self.base.is_empty() && self.strip.is_empty()
    }

    /// Whether a `Location` is turned at all.
    pub fn rewrites_location(&self) -> bool {
        self.rewrite_location
    }

    /// The origin aimed at.
    pub fn origin(&self) -> &HttpOrigin {
        &self.origin
    }

    /// The path that is sent for the incoming path (or path and query) `path`.
    pub fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        if self.keeps_targets() || path == "*" {
            return Cow::Borrowed(path);
        }
        let rest = match path.strip_prefix(&*self.strip) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => rest,
            _ => path,
        };
        let slash = if rest.starts_with('/') { "" } else { "/" };
        Cow::Owned(format!("{}{slash}{rest}", self.base))
    }

    /// The target that is sent for `uri`: origin-form (RFC 9112 §3.2.1).
    ///
    /// # Errors
    /// Where it has no path, or none that can be sent on.
    pub fn target(&self, uri: &Uri) -> Result<Uri, CallerFault> {
        let Some(incoming) = uri.path_and_query() else {
            return Err(CallerFault::Framing("the target has no path"));
        };
        let target = match self.path(incoming.as_str()) {
            Cow::Borrowed(_) => incoming.clone(),
            Cow::Owned(path) => PathAndQuery::from_maybe_shared(Bytes::from(path))
                .map_err(|_| CallerFault::Framing("the target cannot be sent on"))?,
        };
        Ok(Uri::from(target))
    }

    /// The `Location` to give a caller who knows the listener as `host`; `None` to
    /// leave it as it is.
    pub fn location(&self, location: &str, (scheme, host): (&str, &str)) -> Option<String> {
        let path = match location.strip_prefix('/') {
            // `//host/path` (RFC 3986 §4.2) names another host, `/path` none.
            Some(rest) if rest.starts_with('/') => {
                self.own(&format!("{}:{location}", self.origin.scheme()))?
            }
            Some(_) if self.keeps_targets() => return None,
            Some(_) => {
                let path = self.back(location)?;
                // Without its prefix `/base//host` would name another host as well.
                return Some(match path.starts_with("//") {
                    true => format!("{scheme}://{host}{path}"),
                    false => path.into_owned(),
                });
            }
            None => self.own(location)?,
        };
        Some(format!("{scheme}://{host}{}", self.back(&path)?))
    }

    /// Path, query and fragment of an absolute URL on the upstream's own host, with either
    /// scheme: an upstream behind something that ends TLS for it may know only `http`.
    fn own(&self, location: &str) -> Option<String> {
        let (before, fragment) = match location.split_once('#') {
            Some((before, fragment)) => (before, Some(fragment)),
            None => (location, None),
        };
        let uri: Uri = before.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let own = |tls: bool| if tls { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(own(tls));
        let host = uri.host()?;
        let same = self.names.iter().any(|(name, theirs)| {
            let same_port = port == *theirs
                || (tls != self.origin.tls && port == own(tls) && *theirs == own(self.origin.tls));
            same_port && host.eq_ignore_ascii_case(name)
        });
        let path = uri.path_and_query()?.as_str();
        same.then(|| match fragment {
            Some(fragment) => format!("{path}#{fragment}"),
            None => path.to_owned(),
        })
    }

    /// The path by which a caller reaches the upstream's `path`, where it can.
    fn back<'a>(&self, path: &'a str) -> Option<Cow<'a, str>> {
        let rest = path.strip_prefix(&*self.base)?;
        let under = rest.is_empty() || rest.starts_with(['/', '?', '#']);
        if !under {
            return None;
        }
        Some(if self.strip.is_empty() {
            Cow::Borrowed(rest)
        } else {
            Cow::Owned(format!("{}{rest}", self.strip))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream_target(upstream: &str, strip: Option<&str>) -> UpstreamTarget {
        UpstreamTarget::new(&HttpUrl::parse(upstream).unwrap(), strip, None, true).unwrap()
    }

    #[test]
    fn a_target_goes_on_as_it_came() {
        let upstream_target = upstream_target("https://cms.example.com", None);
        for target in [
            "/",
            "/a//b?",
            "/a?filters={%zz}&x='y'",
            "/a/../b",
            "*",
            "/%7Ea",
        ] {
            assert_eq!(upstream_target.path(target), target);
        }
    }

    #[test]
    fn the_upstreams_path_goes_before_and_the_prefix_goes_away() {
        let upstream_target = upstream_target("https://h/base/", Some("/v1"));
        assert_eq!(upstream_target.path("/v1/x?y"), "/base/x?y");
        assert_eq!(upstream_target.path("/v1"), "/base/");
        assert_eq!(upstream_target.path("/v1?y"), "/base/?y");
        assert_eq!(upstream_target.path("/v10"), "/base/v10");
        assert_eq!(upstream_target.path("*"), "*");
    }

    #[test]
    fn only_a_location_of_the_upstream_itself_is_turned() {
        let upstream_target = upstream_target("https://cms.example.com:8443", None);
        let turned = |location| upstream_target.location(location, ("http", "localhost:8080"));
        assert_eq!(
            turned("https://CMS.example.com:8443/a?b#c").as_deref(),
            Some("http://localhost:8080/a?b#c")
        );
        assert_eq!(
            turned("//cms.example.com:8443/a").as_deref(),
            Some("http://localhost:8080/a")
        );
        // Whatever ends TLS before it, it is the same upstream.
        assert_eq!(
            turned("http://cms.example.com:8443/a").as_deref(),
            Some("http://localhost:8080/a")
        );
        for other in [
            "/a",
            "a",
            "https://cms.example.com/a",
            "http://cms.example.com/a",
            "https://s3.example.com:8443/a",
            "//evil/a",
            "mailto:x@y",
        ] {
            assert_eq!(turned(other), None, "{other}");
        }
    }

    #[test]
    fn the_other_scheme_and_a_host_of_its_own_are_the_upstream_too() {
        let url = |text| HttpUrl::parse(text).unwrap();
        let turned = |upstream_target: &UpstreamTarget, location| {
            upstream_target.location(location, ("https", "edge"))
        };
        let plain = UpstreamTarget::new(&url("https://h"), None, None, true).unwrap();
        for location in ["http://h/a", "https://h/a", "http://h:443/a", "//h/a"] {
            let back = turned(&plain, location);
            assert_eq!(back.as_deref(), Some("https://edge/a"), "{location}");
        }
        assert_eq!(turned(&plain, "http://h:8080/a"), None);
        let named =
            UpstreamTarget::new(&url("http://10.0.0.1:81"), None, Some("cms.example"), true)
                .unwrap();
        assert_eq!(named.host, "cms.example");
        for location in [
            "http://10.0.0.1:81/a",
            "http://cms.example/a",
            "https://cms.example/a",
        ] {
            let back = turned(&named, location);
            assert_eq!(back.as_deref(), Some("https://edge/a"), "{location}");
        }
        assert_eq!(turned(&named, "http://cms.example:81/a"), None);
        assert_eq!(turned(&named, "http://other.example/a"), None);
    }

    #[test]
    fn what_a_unix_socket_calls_itself_is_turned_and_its_host_is_localhost() {
        let upstream_target = upstream_target("unix:/run/app.sock:/base", None);
        assert_eq!(upstream_target.host, "localhost");
        assert_eq!(upstream_target.path("/v1?x"), "/base/v1?x");
        let turned = |location| upstream_target.location(location, ("http", "l"));
        for location in ["http://localhost/base/x", "/base/x"] {
            assert!(turned(location).unwrap().ends_with("/x"), "{location}");
        }
        assert_eq!(turned("http://localhost:8080/base/x"), None);
    }

    #[test]
    fn a_location_below_the_upstreams_path_comes_back_below_the_prefix() {
        let upstream_target = upstream_target("http://h/base", Some("/v1"));
        assert_eq!(
            upstream_target
                .location("/base/x", ("http", "l"))
                .as_deref(),
            Some("/v1/x")
        );
        assert_eq!(
            upstream_target
                .location("http://h/base/x", ("http", "l"))
                .as_deref(),
            Some("http://l/v1/x")
        );
        assert_eq!(
            upstream_target.location("http://h/other", ("http", "l")),
            None
        );
        let bare = self::upstream_target("http://h/base", None);
        for (location, turned) in [
            ("/base//evil.example/x", "http://l//evil.example/x"),
            ("http://h/base//evil.example/x", "http://l//evil.example/x"),
        ] {
            assert_eq!(
                bare.location(location, ("http", "l")).as_deref(),
                Some(turned)
            );
        }
        assert_eq!(
            upstream_target.location("http://h/basement", ("http", "l")),
            None
        );
    }
}
