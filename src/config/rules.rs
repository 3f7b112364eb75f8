//! Rules on single values beyond their type, as rows of the table of keys name them.
//!
//! Each takes a value that its type already accepted and answers why it will not do
//! and how to mend it. Rules between keys stand in `cross.rs`.

use crate::config::Bind;
use crate::config::keys::Value;
use crate::config::url::{HttpUrl, shown};

type RuleVerdict = Result<(), (String, String)>;

fn refuse(why: impl Into<String>, fix: impl Into<String>) -> RuleVerdict {
    Err((why.into(), fix.into()))
}

/// A time that cannot be switched off.
pub fn positive(value: &Value) -> RuleVerdict {
    match value {
        Value::Duration(time) if time.is_zero() => refuse(
            "this time cannot be switched off",
            "write a time above zero, such as \"5s\"",
        ),
        _ => Ok(()),
    }
}

/// Permissions of a file, as chmod(1) takes them.
pub fn mode(value: &Value) -> RuleVerdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    match octal(text) {
        Some(mode) if mode & 0o200 == 0 => refuse(
            "its owner could not connect",
            "let the owner write: \"0600\", \"0660\" or \"0666\"",
        ),
        Some(_) => Ok(()),
        None => refuse(
            "these are no permissions in octal",
            "write \"0600\", \"0660\" or \"0666\"",
        ),
    }
}

/// `text` as permissions; `None` where it is none.
pub(super) fn octal(text: &str) -> Option<u32> {
    let is_octal = text.len() <= 4 && text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
    (mode <= 0o777).then_some(mode)
}

/// An address that is a TCP socket.
pub fn tcp(value: &Value) -> RuleVerdict {
    match value {
        Value::Bind(Bind::Unix(_)) => refuse(
            "it must be a TCP socket, since probes and Prometheus call it",
            "write an IP address and a port, such as \"127.0.0.1:9464\"",
        ),
        _ => Ok(()),
    }
}

/// hyper's read buffer cannot be smaller than 8 KiB.
pub fn header_bytes(value: &Value) -> RuleVerdict {
    size(value, 8 << 10, 1 << 20, "8KiB to 1MiB")
}

/// What is kept for a replay is memory per call in flight.
pub fn replay_body(value: &Value) -> RuleVerdict {
    size(value, 0, 16 << 20, "0 to 16MiB")
}

fn size(value: &Value, min: u64, max: u64, range: &str) -> RuleVerdict {
    match value {
        Value::Integer(octets) if !(min..=max).contains(octets) => refuse(
            format!("{octets} bytes is out of bounds"),
            format!("write a size from {range}"),
        ),
        _ => Ok(()),
    }
}

/// A host without scheme, port and path. Names as in RFC 1123 §2.1 (underscores
/// are met in practice), or an IP address, IPv6 in brackets.
pub fn host(value: &Value) -> RuleVerdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    one_host(text)
}

fn one_host(text: &str) -> RuleVerdict {
    if text.contains("://") || text.contains('/') {
        return refuse(
            format!("{} is more than a host", shown(text)),
            "write the host alone, without scheme and path",
        );
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return refuse(
            format!("{text:?} is an IPv6 address without brackets"),
            format!("write \"[{text}]\""),
        );
    }
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').unwrap_or("");
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => refuse(
                format!("{} is not an IPv6 address in brackets", shown(text)),
                "write it as \"[::1]\", without a port",
            ),
        };
    }
    if let Some((name, port)) = text.split_once(':')
        && !text.contains('@')
    {
        return refuse(
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
        return refuse(
            format!("{} is not a host name", shown(text)),
            "write a name such as \"cms.example.com\" (in ASCII, xn-- where needed)",
        );
    }
    Ok(())
}

/// Hosts, or `*` alone.
pub fn hosts(value: &Value) -> RuleVerdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    if items.is_empty() {
        return refuse(
            "an empty list serves nobody",
            "remove the key for the default, or write [\"*\"] for any name",
        );
    }
    for item in items {
        if item == "*" {
            if items.len() > 1 {
                return refuse(
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
pub fn host_header(value: &Value) -> RuleVerdict {
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
        return refuse(
            format!(
                "{} has a port that is not a number from 1 to 65535",
                shown(text)
            ),
            "write a host, or a host and a port, such as \"cms.example.com:8443\"",
        );
    }
    one_host(host)
}

/// What a route may tell its upstream of the way.
pub fn announced(value: &Value) -> RuleVerdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    let known = ["via", "forwarded", "x_forwarded"];
    match items.iter().find(|item| !known.contains(&item.as_str())) {
        Some(item) => refuse(
            format!("{item:?} cannot be announced"),
            "write any of \"via\", \"forwarded\" and \"x_forwarded\"",
        ),
        None => Ok(()),
    }
}

/// Origins as browsers send them (RFC 6454 §6.1, §7): of web pages, of applications that
/// have a scheme of their own, and `null`, which pages without an origin send.
pub fn origins(value: &Value) -> RuleVerdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    for item in items {
        let Some((scheme, host)) = item.split_once("://") else {
            if item == "null" {
                continue;
            }
            return no_origin(item, "it has no scheme");
        };
        if !matches!(scheme, "http" | "https") {
            if let Some(why) = fault_of_another_scheme(scheme, host) {
                return no_origin(item, why);
            }
            continue;
        }
        match HttpUrl::parse(item) {
            Err(why) => return no_origin(item, &why),
            Ok(url) if url.path.as_ref() != "/" || item.ends_with('/') => {
                return refuse(
                    format!("{} has a path, and an origin has none", shown(item)),
                    format!("write \"{}\"", url.origin),
                );
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn no_origin(item: &str, why: &str) -> RuleVerdict {
    refuse(
        format!("{} is not an origin: {why}", shown(item)),
        "write scheme, host and port, such as \"https://crm.example.com\" or \"capacitor://localhost\"",
    )
}

/// What is wrong with `scheme://host` as the origin of an application (RFC 3986 §3.1,
/// §3.2.2): `capacitor://localhost`, `chrome-extension://abcdef`.
fn fault_of_another_scheme(scheme: &str, host: &str) -> Option<&'static str> {
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && (scheme.bytes()).all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let is_host =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'[' | b']');
    if !is_scheme {
        Some("its scheme holds more than letters, digits, `+`, `-` and `.`")
    } else if host.contains('@') {
        Some("it carries a user or password before the host")
    } else if host.contains(['/', '?', '#']) {
        Some("it has a path, a query or a fragment, and an origin has none")
    } else if host.is_empty() || !host.bytes().all(is_host) {
        Some("it has no host, or one that no browser sends")
    } else {
        None
    }
}

/// Absolute URLs.
pub fn urls(value: &Value) -> RuleVerdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    for item in items {
        if let Err(why) = HttpUrl::parse(item) {
            // The item itself stays unsaid: it may carry a password before its host.
            return refuse(
                format!("one of the URLs will not do: {why}"),
                "write each as \"https://host:port/path\"",
            );
        }
    }
    Ok(())
}

/// What other tools take for a pattern, shown as it stands: a wildcard, a parameter, a
/// regular expression.
fn pattern_in(text: &str) -> Option<&str> {
    let is_pattern = |part: &&str| {
        part.contains(['*', '{', '}', '<', '>', '[', ']', '|'])
            || part.starts_with([':', '^'])
            || part.len() > 1 && part.ends_with('$')
    };
    text.split('/').find(is_pattern)
}

/// A path prefix as routes compare it: normalised and decoded (design §6).
pub fn path_prefix(value: &Value) -> RuleVerdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    if !text.starts_with('/') && pattern_in(text).is_none() {
        return refuse(
            "a path to match begins with a slash",
            format!("write \"/{}\"", text.trim_start_matches("./")),
        );
    }
    if text.contains(['?', '#']) {
        return refuse(
            "only the path is matched, never a query or fragment",
            "remove everything from the ? or # on",
        );
    }
    if let Some(pattern) = pattern_in(text) {
        let plain = text.split('/').skip(1);
        let plain: Vec<&str> = plain
            .take_while(|part| pattern_in(part).is_none())
            .collect();
        return refuse(
            format!("{pattern} is a pattern, and a route matches a plain path and all below it"),
            format!("write \"/{}\"", plain.join("/")),
        );
    }
    if text.contains('%') {
        return refuse(
            "paths are compared decoded, so an escape here would never match",
            "write the character itself",
        );
    }
    if text.contains([';', '\\']) {
        return refuse(
            "a call with ; or \\ in its path is never matched by it",
            "remove it",
        );
    }
    if text.contains("//") {
        return refuse(
            "doubled slashes are collapsed before a path is compared",
            "write single slashes",
        );
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return refuse(
            "it has a dot segment, which a normalised path never has",
            "write the path without . and ..",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_never_match_is_refused() {
        let verdict = |text: &str| path_prefix(&Value::Text(text.into()));
        for good in ["/", "/v1/cc-list", "/v1/", "/é", "/a.b/..c"] {
            assert!(verdict(good).is_ok(), "{good}");
        }
        for bad in [
            "v1", "", "/a/../b", "/.", "/a?b", "/a#b", "/a%2fb", "/a//b", "/a;b", "/a\\b",
        ] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_in_a_path_is_refused_with_the_plain_path_to_write() {
        for (bad, pattern, write) in [
            ("/v1/*", "*", "/v1"),
            ("/v1/**", "**", "/v1"),
            ("*", "*", "/"),
            ("/*", "*", "/"),
            ("/:id", ":id", "/"),
            ("/users/:id/calls", ":id", "/users"),
            ("/v1/{id}/x", "{id}", "/v1"),
            ("/v1/{rest...}", "{rest...}", "/v1"),
            ("/v1/<int:id>", "<int:id>", "/v1"),
            ("/v1/(.*)", "(.*)", "/v1"),
            ("/v1/.*$", ".*$", "/v1"),
            ("/v1/[0-9]+", "[0-9]+", "/v1"),
        ] {
            let (why, fix) = path_prefix(&Value::Text(bad.into())).expect_err(bad);
            assert_eq!(
                why,
                format!(
                    "{pattern} is a pattern, and a route matches a plain path and all below it"
                )
            );
            assert_eq!(fix, format!("write \"{write}\""), "{bad}");
        }
        for good in [
            "/odata/$metadata",
            "/v1/Contacts(1)",
            "/v1/a:b",
            "/v1/a+b",
            "/v1/~x",
        ] {
            assert!(path_prefix(&Value::Text(good.into())).is_ok(), "{good}");
        }
    }

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
        assert!(origins(&list(&["https://a.example"])).is_ok());
        assert!(origins(&list(&["https://a.example/"])).is_err());
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
        for good in [
            "capacitor://localhost",
            "ionic://localhost:8080",
            "chrome-extension://gmbnpmddnbbeaojhckdgmhlhkdkhmidb",
            "null",
        ] {
            assert!(origins(&list(&[good])).is_ok(), "{good}");
        }
        for bad in [
            "a.example",
            "Null",
            "://a",
            "file://",
            "capacitor://localhost/",
            "app://a?b",
            "1a://b",
            "http://",
            "app://a b",
        ] {
            assert!(origins(&list(&[bad])).is_err(), "{bad}");
        }
        for secret in [
            "https://crm:hunter2@a.example",
            "https://crm:hunter2@a.example/",
            "app://crm:hunter2@a",
            "crm:hunter2@a.example",
            "https://crm:hunt@er2@a.example:x",
        ] {
            let why = origins(&list(&[secret])).unwrap_err();
            assert!(!format!("{why:?}").contains("er2"), "{why:?}");
            let why = one_host(secret).unwrap_err();
            assert!(!format!("{why:?}").contains("er2"), "{why:?}");
        }
    }
}
