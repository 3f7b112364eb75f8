//! Absolute `http` and `https` URLs as a configuration writes them.

use std::fmt;

/// A scheme, host and port (RFC 6454): what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpOrigin {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Lower-case host, without a trailing dot; an IPv6 address keeps its brackets.
    pub host: Box<str>,
    /// The port, also where the URL left it to the scheme.
    pub port: u16,
}

impl HttpOrigin {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The host and, unless it is the scheme's own, the port: a `Host` field value
    /// (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        let own = if self.tls { 443 } else { 80 };
        if self.port == own {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether its host is this machine by every resolver: a loopback address, or
    /// `localhost` itself (RFC 6761 §6.3).
    pub fn is_loopback(&self) -> bool {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        host == "localhost"
            || (host.trim_matches(['[', ']']).parse::<std::net::IpAddr>())
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for HttpOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
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

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
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
        ] {
            let error = HttpUrl::parse(bad).expect_err(bad);
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
