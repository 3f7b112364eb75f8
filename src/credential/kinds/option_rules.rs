//! Rules for options that several kinds have: why a value is wrong, and the fix.
//!
//! The table of keys refers to them ([`ConfigKey::checked`]), so that the loader lists
//! these faults with all others.
//!
//! [`ConfigKey::checked`]: crate::config::key::ConfigKey::checked

use std::time::Duration;

use crate::config::values::Value;

/// Fields that belong to the connection or to HTTP itself (RFC 9110 §7.6.1, §7.2,
/// §8.6, §10.1.1), or that speak to proxies; a credential cannot be one of them.
pub(super) const CONNECTION_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// That a life is at least a second, or it would be asked for without end.
pub(super) fn life_rule(value: &Value) -> Result<(), (String, String)> {
    match value {
        Value::Duration(life) if *life < Duration::from_secs(1) => Err((
            "this is less than a second".into(),
            "write a time such as \"1h\"".into(),
        )),
        _ => Ok(()),
    }
}

/// The problems of a user name that is to go before the colon of a Basic pair
/// (RFC 7617 §2): why and fix.
pub(super) fn username_fault(username: &str) -> Option<(&'static str, &'static str)> {
    if username.is_empty() {
        return Some(("it is empty", "write the name"));
    }
    if username.contains(':') {
        return Some((
            "a user name cannot hold a `:`, which ends it on the wire (RFC 7617)",
            "choose a name without one",
        ));
    }
    if username.chars().any(char::is_control) {
        return Some((
            "it holds a control character, which RFC 7617 forbids",
            "remove it; look for a tab or a line break",
        ));
    }
    None
}

/// [`username_fault`] as a rule of the table of keys, so that the loader lists it
/// together with every other fault.
pub(super) fn username_rule(value: &Value) -> Result<(), (String, String)> {
    let fault = match value {
        Value::Text(username) => username_fault(username),
        _ => None,
    };
    fault.map_or(Ok(()), |(why, fix)| Err((why.into(), fix.into())))
}
