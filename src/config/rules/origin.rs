//! Origins that a browser page may call from.

use crate::config::fault::{Verdict, fault};
use crate::config::url::{HttpUrl, shown};
use crate::config::values::Value;

/// Origins as browsers send them (RFC 6454 §6.1, §7): of web pages, of applications that
/// have a scheme of their own, and `null`, which pages without an origin send.
pub fn origins(value: &Value) -> Verdict {
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
                return fault(
                    format!("{} has a path, and an origin has none", shown(item)),
                    format!("write \"{}\"", url.origin),
                );
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn no_origin(item: &str, why: &str) -> Verdict {
    fault(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host_without_a_path() {
        let list = |item: &str| Value::List(vec![item.to_owned()]);
        for good in [
            "https://a.example",
            "capacitor://localhost",
            "ionic://localhost:8080",
            "chrome-extension://gmbnpmddnbbeaojhckdgmhlhkdkhmidb",
            "null",
        ] {
            assert!(origins(&list(good)).is_ok(), "{good}");
        }
        for bad in [
            "https://a.example/",
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
            assert!(origins(&list(bad)).is_err(), "{bad}");
        }
        for secret in [
            "https://crm:hunter2@a.example",
            "https://crm:hunter2@a.example/",
            "app://crm:hunter2@a",
            "crm:hunter2@a.example",
            "https://crm:hunt@er2@a.example:x",
        ] {
            let why = origins(&list(secret)).unwrap_err();
            assert!(!format!("{why:?}").contains("er2"), "{why:?}");
        }
    }
}
