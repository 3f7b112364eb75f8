//! What is reached without the proxy: the forms of `no_proxy` that other tools take.
//!
//! A host or domain stands for itself and all below it (`example.com`, `.example.com`
//! and `*.example.com` are the same, as curl reads them), an address for itself, a
//! network in CIDR notation (RFC 4632 §3.1) for its addresses, `*` for everything; a
//! port after a host or an address narrows it to that port. Whatever else is written is
//! refused: an exception that never matches would send calls the wrong way in silence.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::fault::{ValueFault, Verdict, fault};
use crate::config::values::Value;

/// One exception from the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// `*`.
    All,
    /// A network, or one address.
    Network(IpNet, Option<u16>),
    /// A lower-case name and all below it.
    Domain(Box<str>, Option<u16>),
}

impl Exception {
    /// Reads one exception.
    ///
    /// # Errors
    /// With why it is none and what to write; what was written is repeated unless it may
    /// carry a password.
    pub fn parse(text: &str) -> Result<Exception, ValueFault> {
        let forms = "write a host, .domain, address, network such as \"10.0.0.0/8\", or \"*\"";
        if text == "*" {
            return Ok(Exception::All);
        }
        if text.contains("://") || text.contains('@') {
            let why = "one of the exceptions is a URL, which matches nothing".to_owned();
            return fault(
                why,
                "write its host alone, with a port if only that is meant",
            );
        }
        if text.contains(char::is_whitespace) {
            let why = format!("{text:?} has a blank in it, and commas separate exceptions");
            return fault(why, "write a comma instead of the blank");
        }
        if text.contains('/') {
            return match text.parse::<IpNet>() {
                Ok(network) => Ok(Exception::Network(network, None)),
                Err(_) => fault(format!("{text:?} is not a network"), forms),
            };
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Exception::Network(address.into(), None));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 => (host, Some(port)),
                _ => {
                    let why = format!("{text:?} has no port from 1 to 65535 after its colon");
                    return fault(why, "write host:port, or the host alone");
                }
            },
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return Ok(Exception::Network(address.into(), port));
        }
        let name = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
        let name = name.unwrap_or(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !label.is_empty() && label.bytes().all(fits)
        };
        // All digits is an address that is none (RFC 1123 §2.1).
        let is_number = name
            .split('.')
            .all(|l| l.bytes().all(|b| b.is_ascii_digit()));
        if is_number || !name.split('.').all(label) {
            return fault(format!("{text:?} is neither a host nor an address"), forms);
        }
        Ok(Exception::Domain(name.to_ascii_lowercase().into(), port))
    }

    /// Reads a comma-separated list, as `NO_PROXY` holds it. Nothing between two commas
    /// is no exception.
    ///
    /// # Errors
    /// As [`Exception::parse`], for the first that is none.
    pub fn list(text: &str) -> Result<Vec<Exception>, ValueFault> {
        let items = text.split(',').map(str::trim);
        items
            .filter(|item| !item.is_empty())
            .map(Exception::parse)
            .collect()
    }

    /// Whether `host` (an IPv6 address in brackets or not) is reached without the proxy
    /// at `port`.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']);
        let at = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Exception::All => true,
            Exception::Network(network, wanted) => {
                let address = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
                at(wanted) && address.is_ok_and(|address| network.contains(&address))
            }
            Exception::Domain(name, wanted) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                let below = host.strip_suffix(&**name);
                at(wanted) && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

/// A rule of the table of keys: exceptions.
pub fn exceptions(value: &Value) -> Verdict {
    match value {
        Value::List(items) => items
            .iter()
            .try_for_each(|item| Exception::parse(item).map(drop)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_other_tools_take_are_understood() {
        for (written, direct, through) in [
            (
                "example.com",
                "example.com a.example.com EXAMPLE.com.",
                "notexample.com com",
            ),
            (
                ".example.com",
                "example.com a.b.example.com",
                "notexample.com",
            ),
            ("*.example.com", "a.example.com", "notexample.com"),
            (
                "cms.example.com:8443",
                "cms.example.com:8443",
                "cms.example.com cms.example.com:80",
            ),
            ("*.example.com:8443", "a.example.com:8443", "a.example.com"),
            (
                "10.0.0.0/8",
                "10.1.2.3 10.1.2.3:8443",
                "11.0.0.1 ten.example",
            ),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7:8443", "192.0.2.7:8443", "192.0.2.7:443"),
            ("fd00::/8", "[fd00::1]", "[fe80::1]"),
            ("::1", "[::1]", "[::2]"),
            ("[::1]", "[::1]", "[::2]"),
            ("[::1]:8443", "[::1]:8443", "[::1]:443"),
            ("intranet", "intranet a.intranet", "intranet.example"),
            ("*", "anything 192.0.2.1", ""),
        ] {
            let exception = Exception::parse(written).unwrap();
            for (hosts, expected) in [(direct, true), (through, false)] {
                for host in hosts.split_whitespace() {
                    let (name, port) = match host.rsplit_once(':') {
                        Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap()),
                        _ => (host, 443),
                    };
                    assert_eq!(exception.covers(name, port), expected, "{written}: {host}");
                }
            }
        }
        assert_eq!(Exception::list("a.example, ,*").unwrap().len(), 2);
        assert_eq!(Exception::list("").unwrap(), []);
    }

    #[test]
    fn what_would_never_match_is_refused_and_said() {
        for (written, part) in [
            ("https://cms.example.com", "is a URL"),
            ("robot:hunter2@cms.example.com", "is a URL"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is not a network"),
            ("example.com/path", "is not a network"),
            ("a.example b.example", "has a blank in it"),
            ("a.*.example", "is neither a host nor an address"),
            ("10.0.0", "is neither a host nor an address"),
            ("10.0.0.256", "is neither a host nor an address"),
            ("a..b", "is neither a host nor an address"),
            (".", "is neither a host nor an address"),
            ("host:0", "has no port from 1 to 65535"),
            ("host:https", "has no port from 1 to 65535"),
        ] {
            let (why, fix) = Exception::parse(written).expect_err(written);
            assert!(why.contains(part), "{written}: {why}");
            assert!(!format!("{why}{fix}").contains("hunter2"), "{why}");
            assert!(exceptions(&Value::List(vec!["a".into(), written.into()])).is_err());
        }
    }
}
