//! Absolute `http` and `https` URLs as a configuration writes them, and `unix:` with the path
//! of a socket in the place of one.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use crate::config::text;

/// A scheme, host and port (RFC 6454): what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpOrigin {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Lower-case host, without a trailing dot; an IPv6 address keeps its brackets. Of a
    /// Unix socket `unix:` and its path, which no host is.
    pub host: Box<str>,
    /// The port, also where the URL left it to the scheme; 0 of a Unix socket.
    pub port: u16,
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// The longest path of a Unix socket in bytes (unix(7), `sun_path` without its zero).
const LONGEST_SOCKET: usize = 107;

impl HttpOrigin {
    /// The path of the Unix socket that it is, where it is one.
    pub fn socket(&self) -> Option<&Path> {
        self.host.strip_prefix(UNIX).map(Path::new)
    }

    /// The URL of `path` on it.
    pub fn url(&self, path: &str) -> String {
        match self.socket() {
            Some(_) => format!("{}:{path}", self.host),
            None => format!("{self}{path}"),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The host and, unless it is the scheme's own, the port: a `Host` field value
    /// (RFC 9110 §7.2). A Unix socket has none; other programs send `localhost` there.
    pub fn authority(&self) -> String {
        if self.socket().is_some() {
            return "localhost".into();
        }
        if self.port == self.own_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The port of its scheme, which a URL need not name.
    pub fn own_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// Whether its host is this machine by every resolver: a loopback address, or
    /// `localhost` itself (RFC 6761 §6.3); so is a Unix socket.
    pub fn is_loopback(&self) -> bool {
        if self.socket().is_some() {
            return true;
        }
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        host == "localhost"
            || (host.trim_matches(['[', ']']).parse::<IpAddr>())
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl HttpOrigin {
    /// Whether what listens at both is one server, as far as names tell. The scheme does
    /// not count, and the names of this machine are one host.
    pub fn is_same_server(&self, other: &HttpOrigin) -> bool {
        if self.socket().is_some() || other.socket().is_some() {
            return self == other;
        }
        self.port == other.port
            && (self.bare() == other.bare() || (self.is_here() && other.is_here()))
    }

    /// The host without the dot that only says that the name is whole.
    fn bare(&self) -> &str {
        self.host.strip_suffix('.').unwrap_or(&self.host)
    }

    /// Whether a connection to it stays on this machine; one to the unspecified address
    /// does.
    fn is_here(&self) -> bool {
        let ip = self.bare().trim_matches(['[', ']']).parse::<IpAddr>();
        self.is_loopback() || ip.is_ok_and(|ip| ip.to_canonical().is_unspecified())
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket() {
            Some(_) => f.write_str(&self.host),
            None => write!(f, "{}://{}", self.scheme(), self.authority()),
        }
    }
}

/// An absolute URL without userinfo, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Scheme, host and port.
    pub origin: HttpOrigin,
    /// The path as written, always with a leading slash.
    pub path: Box<str>,
}

impl HttpUrl {
    /// Reads `text`; the error says what is wrong with it, without its userinfo.
    pub fn parse(text: &str) -> Result<HttpUrl, String> {
        if text.contains('#') {
            return Err("a URL here has no #fragment".into());
        }
        if let Some(rest) = text.strip_prefix(UNIX) {
            return of_socket(rest);
        }
        let uri: http::Uri = text
            .parse()
            .map_err(|error| format!("it is not a URL ({error})"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(format!("its scheme is {other}, not http or https")),
            None => return Err("it has no scheme; write https:// before it".into()),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it carries a user or password before the host".into());
        }
        if uri.query().is_some() {
            return Err("a URL here has no ?query".into());
        }
        let host = uri.host().unwrap_or("").trim_end_matches('.');
        if host.is_empty() {
            return Err("it has no host".into());
        }
        let own = if tls { 443 } else { 80 };
        if authority.port().is_none() && authority.as_str().len() > uri.host().unwrap_or("").len() {
            return Err("its port is not a number from 1 to 65535".into());
        }
        let port = uri.port_u16().unwrap_or(own);
        if port == 0 {
            return Err("its port is 0".into());
        }
        Ok(HttpUrl {
            origin: HttpOrigin {
                tls,
                host: host.to_ascii_lowercase().into(),
                port,
            },
            path: uri.path().into(),
        })
    }
}

impl HttpUrl {
    /// What the calls of a route to this upstream have in common: below the path that it
    /// `matched`, unless that is `stripped` from them.
    pub fn leading_to(&self, matched: &str, stripped: bool) -> HttpUrl {
        let base = self.path.trim_end_matches('/');
        let below = if stripped {
            ""
        } else {
            matched.trim_end_matches('/')
        };
        let path = match (base, below) {
            ("", "") => "/".to_owned(),
            _ => format!("{base}{below}"),
        };
        HttpUrl {
            origin: self.origin.clone(),
            path: path.into(),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin.socket() {
            Some(_) if &*self.path == "/" => write!(f, "{}", self.origin),
            _ => f.write_str(&self.origin.url(&self.path)),
        }
    }
}

/// A Unix socket: its path, and behind `:` a path on it.
fn of_socket(rest: &str) -> Result<HttpUrl, String> {
    let (socket, path) = match rest.find(":/") {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, "/"),
    };
    if socket.starts_with("//") || !socket.starts_with('/') {
        return Err("a socket is written with its whole path, as unix:/run/app.sock".into());
    }
    if socket.len() > LONGEST_SOCKET {
        return Err("a Unix socket's path has at most 107 bytes".into());
    }
    text::path(socket).map_err(|(why, _)| why)?;
    let target: http::uri::PathAndQuery = path
        .parse()
        .map_err(|_| "what follows the socket's path is not the path of a URL")?;
    if target.query().is_some() {
        return Err("a URL here has no ?query".into());
    }
    Ok(HttpUrl {
        origin: HttpOrigin {
            tls: false,
            host: format!("{UNIX}{socket}").into(),
            port: 0,
        },
        path: target.path().into(),
    })
}

/// A host as hosts are compared: lower case, without a trailing dot.
pub fn plain_host(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}

/// `text`, which is no URL that can be used, as it may be shown: in quotes, and without
/// what may be a user name and a password (RFC 3986 §3.2.1).
pub fn shown(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else {
        return format!("{text:?}");
    };
    let scheme = before.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) => format!(
            "\"{}://***@{}\"",
            scheme.escape_debug(),
            host.escape_debug()
        ),
        None => format!("\"***@{}\"", host.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{HttpUrl, shown};

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        assert_eq!(shown("a b"), "\"a b\"");
        assert_eq!(shown("https://u:p@ss@h:1/x"), "\"https://***@h:1/x\"");
        assert_eq!(shown("u:p@h"), "\"***@h\"");
        assert_eq!(shown("//u:p@h"), "\"***@h\"");
    }

    #[test]
    fn a_url_is_lower_cased_and_its_port_made_plain() {
        let url = HttpUrl::parse("https://CMS.Example.com./configuration/basicauth").unwrap();
        assert_eq!(url.origin.host.as_ref(), "cms.example.com");
        assert_eq!(url.origin.port, 443);
        assert_eq!(
            url.to_string(),
            "https://cms.example.com/configuration/basicauth"
        );
        let url = HttpUrl::parse("http://[::1]:8090").unwrap();
        assert_eq!(url.to_string(), "http://[::1]:8090/");
    }

    #[test]
    fn a_unix_socket_stands_where_a_url_does() {
        let url = HttpUrl::parse("unix:/run/App.sock").unwrap();
        assert_eq!((&*url.path, url.origin.port), ("/", 0));
        assert_eq!(url.origin.socket(), Some(Path::new("/run/App.sock")));
        assert_eq!(url.origin.authority(), "localhost");
        assert!(url.origin.is_loopback());
        let below = HttpUrl::parse("unix:/run/App.sock:/v1/x").unwrap();
        assert_eq!((&below.origin, &*below.path), (&url.origin, "/v1/x"));
        assert_eq!(below.origin.url("/y?z"), "unix:/run/App.sock:/y?z");
        for text in [
            "unix:/run/App.sock",
            "unix:/run/App.sock:/v1/x",
            "unix:/run/a:b",
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().to_string(), text);
        }
        let other = HttpUrl::parse("unix:/run/app.sock").unwrap();
        assert_ne!(url.origin, other.origin);
        assert!(HttpUrl::parse(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn what_the_calls_of_a_route_have_in_common_is_the_base_and_what_it_matches() {
        let told = |upstream: &str, matched: &str, stripped| {
            let url = HttpUrl::parse(upstream).unwrap();
            url.leading_to(matched, stripped).to_string()
        };
        assert_eq!(told("http://a", "/", false), "http://a/");
        assert_eq!(told("http://a/", "/v1", false), "http://a/v1");
        assert_eq!(told("http://a/base/", "/v1/", false), "http://a/base/v1");
        assert_eq!(told("http://a/base", "/v1", true), "http://a/base");
        assert_eq!(told("http://a", "/v1", true), "http://a/");
    }

    #[test]
    fn a_url_that_could_mislead_is_refused() {
        for bad in [
            "cms.example.com",
            "/path",
            "ftp://h/",
            "https://u:p@h/",
            "https://h/?q",
            "https://h/#f",
            "https://h:0/",
            "https://h:99999/",
            "https:///path",
            "",
            "unix:run/app.sock",
            "unix://run/app.sock",
            "unix:",
            "unix:/run/$NAME.sock",
            "unix:/run/app.sock:/?q",
            "unix:/run/app.sock:/#f",
        ] {
            let error = HttpUrl::parse(bad).expect_err(bad);
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
