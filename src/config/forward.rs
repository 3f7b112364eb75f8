//! What a forward listener does with calls that are for no upstream of a route.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::fault::{Verdict, fault};
use crate::config::values::Value;

/// The keys of a listener with `mode = "forward"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Whether calls and tunnels to other origins than the upstreams of routes are let
    /// through, without a credential; else they are refused.
    pub passes_elsewhere: bool,
    /// Networks that no public address is in and that may be reached all the same.
    pub private_networks: Vec<IpNet>,
    /// Ports that tunnels may lead to; `None` is any.
    pub tunnel_ports: Option<Vec<u16>>,
}

/// A network or one address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(address)
}

/// A rule of the table of keys: networks.
pub fn networks(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    match items.iter().find(|item| network(item).is_none()) {
        Some(item) => fault(
            format!("{item:?} is neither a network nor an address"),
            "write a network such as \"10.0.0.0/8\", or an address such as \"127.0.0.1\"",
        ),
        None => Ok(()),
    }
}

/// The word for any port.
const ANY: &str = "*";

/// A rule of the table of keys: ports, or the word for any.
pub fn ports(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    let is_port = |item: &String| item.parse::<u16>().is_ok_and(|port| port > 0);
    match items.iter().find(|item| *item != ANY && !is_port(item)) {
        Some(item) => fault(
            format!("{item:?} is no port from 1 to 65535"),
            "write ports such as [\"443\", \"8443\"], or [\"*\"] for any",
        ),
        None => Ok(()),
    }
}

/// What [`ports`] took.
pub(super) fn read_ports(items: &[String]) -> Option<Vec<u16>> {
    match items.iter().any(|item| item == ANY) {
        true => None,
        false => Some(items.iter().filter_map(|item| item.parse().ok()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Value {
        Value::List(items.iter().map(|item| (*item).to_owned()).collect())
    }

    #[test]
    fn networks_and_ports_are_what_they_say() {
        assert!(networks(&list(&["10.0.0.0/8", "fd00::/8", "127.0.0.1", "::1"])).is_ok());
        for bad in ["10.0.0.0/33", "localhost", "", "[::1]"] {
            assert!(networks(&list(&[bad])).is_err(), "{bad}");
        }
        assert!(ports(&list(&["443", "*"])).is_ok());
        for bad in ["0", "65536", "https", "", "1-2"] {
            assert!(ports(&list(&[bad])).is_err(), "{bad}");
        }
        let ports = ["443".to_owned(), "8443".to_owned()];
        assert_eq!(read_ports(&ports), Some(vec![443, 8443]));
        assert_eq!(read_ports(&["443".to_owned(), "*".to_owned()]), None);
    }
}
