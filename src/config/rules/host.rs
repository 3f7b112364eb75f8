//! Hosts, alone, in a list and as a `Host` field value.

use crate::config::fault::{Verdict, fault};
use crate::config::url::shown;
use crate::config::values::Value;

/// A host without scheme, port and path. Names as in RFC 1123 §2.1 (underscores
/// are met in practice), or an IP address, IPv6 in brackets.
pub fn host(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    one_host(text)
}

fn one_host(text: &str) -> Verdict {
    if text.contains("://") || text.contains('/') {
        return fault(
            format!("{} is more than a host", shown(text)),
            "write the host alone, without scheme and path",
        );
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return fault(
            format!("{text:?} is an IPv6 address without brackets"),
            format!("write \"[{text}]\""),
        );
    }
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').unwrap_or("");
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => fault(
                format!("{} is not an IPv6 address in brackets", shown(text)),
                "write it as \"[::1]\", without a port",
            ),
        };
    }
    if let Some((name, port)) = text.split_once(':')
        && !text.contains('@')
    {
        return fault(
            format!("{text:?} has a port ({port}), and ports are not compared"),
            format!("write \"{name}\""),
        );
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return fault(
            format!("{} is not a host name", shown(text)),
            "write a name such as \"cms.example.com\" (in ASCII, xn-- where needed)",
        );
    }
    Ok(())
}

/// Hosts, or `*` alone.
pub fn hosts(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    if items.is_empty() {
        return fault(
            "an empty list serves nobody",
            "remove the key for the default, or write [\"*\"] for any name",
        );
    }
    for item in items {
        if item == "*" {
            if items.len() > 1 {
                return fault(
                    "\"*\" is any name and makes the others pointless",
                    "write [\"*\"] alone, or leave it out",
                );
            }
        } else {
            one_host(item)?;
        }
    }
    Ok(())
}

/// A `Host` field value: a host, and a port where there is one (RFC 9110 §7.2).
pub fn host_header(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    let port = text.rsplit_once(':').filter(|(host, port)| {
        // The last colon of a bare IPv6 address comes before no port.
        !host.contains(':') || host.ends_with(']') && !port.contains(']')
    });
    let Some((host, port)) = port else {
        return one_host(text);
    };
    if !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return fault(
            format!(
                "{} has a port that is not a number from 1 to 65535",
                shown(text)
            ),
            "write a host, or a host and a port, such as \"cms.example.com:8443\"",
        );
    }
    one_host(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_without_port() {
        for good in ["localhost", "127.0.0.1", "[::1]", "CMS.example.com.", "a_b"] {
            assert!(one_host(good).is_ok(), "{good}");
        }
        for bad in [
            "localhost:8080",
            "::1",
            "[::1]:80",
            "https://h",
            "h/p",
            "a..b",
            "",
            "*",
            "é.example",
        ] {
            assert!(one_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_star_stands_alone_and_an_empty_list_is_refused() {
        let list = |items: &[&str]| Value::List(items.iter().map(|i| (*i).to_owned()).collect());
        assert!(hosts(&list(&["*"])).is_ok());
        assert!(hosts(&list(&["*", "a"])).is_err());
        assert!(hosts(&list(&[])).is_err());
    }

    #[test]
    fn a_host_field_is_a_host_with_or_without_a_port() {
        let host = |text: &str| host_header(&Value::Text(text.into()));
        for good in [
            "cms.example.com",
            "cms:8443",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8443",
        ] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a:",
            "a:0",
            "a:b",
            "::1",
            "https://a",
            "a/b",
            "a b",
            "a:1:2",
            "[::1",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_be_a_password_before_a_host_is_not_shown() {
        for secret in [
            "https://crm:hunter2@a.example",
            "app://crm:hunter2@a",
            "crm:hunter2@a.example",
            "https://crm:hunt@er2@a.example:x",
        ] {
            let why = one_host(secret).unwrap_err();
            assert!(!format!("{why:?}").contains("er2"), "{why:?}");
        }
    }
}
