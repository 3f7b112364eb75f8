//! Rules on single values beyond their type, as rows of the table of keys name them.
//!
//! Each takes a value that its type already accepted and says why it cannot be used and
//! what to write instead. Rules between keys stand in `cross.rs`.

pub mod host;
pub mod origin;
pub mod path;

use crate::config::fault::{Verdict, fault};
use crate::config::listener::{Bind, ProxySources};
use crate::config::url::HttpUrl;
use crate::config::values::Value;

/// A time that cannot be switched off.
pub fn positive(value: &Value) -> Verdict {
    match value {
        Value::Duration(time) if time.is_zero() => fault(
            "this time cannot be switched off",
            "write a time above zero, such as \"5s\"",
        ),
        _ => Ok(()),
    }
}

/// Permissions of a file, as chmod(1) takes them.
pub fn mode(value: &Value) -> Verdict {
    let Value::Text(text) = value else {
        return Ok(());
    };
    match octal(text) {
        Some(mode) if mode & 0o200 == 0 => fault(
            "its owner could not connect",
            "let the owner write: \"0600\", \"0660\" or \"0666\"",
        ),
        Some(_) => Ok(()),
        None => fault(
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

/// The word for no socket at all.
pub(super) const NO_SOCKET: &str = "none";

/// The longest path of a Unix socket in bytes (unix(7), `sun_path` without its zero).
const LONGEST_SOCKET: usize = 107;

/// The path of the admin socket, or the word for none.
pub fn admin_socket(value: &Value) -> Verdict {
    match value {
        Value::Text(text) if text == NO_SOCKET => Ok(()),
        Value::Text(text) if !text.starts_with('/') => fault(
            "it is neither an absolute path nor `none`",
            "write a path such as \"/run/headset/admin.sock\", or \"none\"",
        ),
        Value::Text(text) if text.len() > LONGEST_SOCKET => fault(
            "the path of a Unix socket has at most 107 bytes",
            "write a shorter one, such as \"/run/headset/admin.sock\"",
        ),
        _ => Ok(()),
    }
}

/// An address that is a TCP socket.
pub fn tcp(value: &Value) -> Verdict {
    match value {
        Value::Bind(Bind::Unix(_)) => fault(
            "it must be a TCP socket, since probes and Prometheus call it",
            "write an IP address and a port, such as \"127.0.0.1:9464\"",
        ),
        _ => Ok(()),
    }
}

/// hyper's read buffer cannot be smaller than 8 KiB.
pub fn header_bytes(value: &Value) -> Verdict {
    size(value, 8 << 10, 1 << 20, "8KiB to 1MiB")
}

/// What is kept for a replay is memory per call in flight.
pub fn replay_body(value: &Value) -> Verdict {
    size(value, 0, 16 << 20, "0 to 16MiB")
}

fn size(value: &Value, min: u64, max: u64, range: &str) -> Verdict {
    match value {
        Value::Integer(bytes) if !(min..=max).contains(bytes) => fault(
            format!("{bytes} bytes is out of bounds"),
            format!("write a size from {range}"),
        ),
        _ => Ok(()),
    }
}

/// What a route may tell its upstream of the way.
pub fn announced(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    let known = ["via", "forwarded", "x_forwarded", "request_id"];
    match items.iter().find(|item| !known.contains(&item.as_str())) {
        Some(item) => fault(
            format!("{item:?} cannot be announced"),
            "write any of \"via\", \"forwarded\", \"x_forwarded\" and \"request_id\"",
        ),
        None => Ok(()),
    }
}

/// Users, at least one.
pub fn users(value: &Value) -> Verdict {
    match value {
        Value::List(items) if items.is_empty() => fault(
            "an empty list lets in nobody",
            "name the users that may call, or remove it",
        ),
        _ => Ok(()),
    }
}

/// Where load balancers are.
pub fn proxy_sources(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    let write = "write networks or addresses such as \"10.0.0.0/8\", or \"unix\" on a Unix socket";
    if items.is_empty() {
        return fault("from nowhere, so every connection would be closed", write);
    }
    match ProxySources::parse(items) {
        Ok(_) => Ok(()),
        Err(item) => fault(format!("{item:?} is no network and no address"), write),
    }
}

/// Absolute URLs.
pub fn urls(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    for item in items {
        if let Err(why) = HttpUrl::parse(item) {
            // The item itself stays unsaid: it may carry a password before its host.
            return fault(
                format!("one of the URLs cannot be used: {why}"),
                "write each as \"https://host:port/path\"",
            );
        }
    }
    Ok(())
}
