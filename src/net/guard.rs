//! Which addresses a caller may have headset connect to.
//!
//! Whoever names the target of a connection could reach by it what is only meant for this
//! machine or its network (server-side request forgery): the metadata service of a cloud,
//! which hands out the machine's credentials, an admin port on loopback, a database next
//! door. So a target that callers chose is judged by the addresses that its name stands for,
//! and those very addresses are dialled ([`Connector`](crate::net::connect::Connector)): a
//! name that means something else a moment later changes nothing. What the operator wrote,
//! the upstreams of routes, is not judged here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::net::resolve::Names;

/// Names whose look-up waits or whose addresses are kept, of targets that callers chose.
const NAMES: usize = 1024;

/// What a caller may not have headset connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// One of headset's own listeners.
    #[error("it is headset's own listener")]
    Own,
    /// The metadata service of a cloud.
    #[error("it is the metadata service of a cloud, which hands out credentials")]
    Metadata,
    /// A link-local address (RFC 3927, RFC 4291 §2.5.6).
    #[error("it is a link-local address")]
    LinkLocal,
    /// No address of one machine: unspecified, multicast, broadcast or reserved.
    #[error("it is no address of a machine")]
    Unroutable,
    /// This machine or a private network that is not listed.
    #[error("it is an address of this machine or of a private network")]
    Private,
    /// An address that is not written as addresses are: `127.1`, `0x7f000001`.
    #[error("it is an address in a spelling that two readers could take for two addresses")]
    Spelling,
}

impl Forbidden {
    /// Whether a key of the configuration allows it.
    pub fn can_be_allowed(self) -> bool {
        self == Forbidden::Private
    }
}

/// Judges targets that callers chose.
#[derive(Clone, Debug)]
pub struct AddressGuard {
    allowed: Vec<IpNet>,
    names: Names,
}

impl AddressGuard {
    /// Lets connections into the networks `allowed`, beside those to public addresses.
    pub fn new(allowed: Vec<IpNet>) -> AddressGuard {
        AddressGuard {
            allowed,
            names: Names::bounded(NAMES),
        }
    }

    /// The same with names of its own, for tests.
    #[cfg(test)]
    pub fn naming(self, names: Names) -> AddressGuard {
        AddressGuard { names, ..self }
    }

    /// What the names mean that callers chose.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whether `host`, lower case and an IPv6 address in brackets, may be looked up at all.
    ///
    /// # Errors
    /// Where it is the name of a metadata service, or an address in an odd spelling.
    pub fn judge_host(&self, host: &str) -> Result<(), Forbidden> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if METADATA_NAMES.contains(&host) {
            return Err(Forbidden::Metadata);
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        match bare.unwrap_or(host).parse::<IpAddr>() {
            Ok(_) => Ok(()),
            Err(_) if looks_like_an_address(host) => Err(Forbidden::Spelling),
            Err(_) => Ok(()),
        }
    }

    /// Whether `address` may be dialled; `is_own` says whether headset listens there.
    ///
    /// # Errors
    /// Where it may not.
    pub fn judge(
        &self,
        address: SocketAddr,
        is_own: impl Fn(SocketAddr) -> bool,
    ) -> Result<(), Forbidden> {
        // An IPv6 address may be an IPv4 one in disguise: whoever carries it there is no
        // concern of ours, what it reaches is.
        for ip in [Some(address.ip()), inside(address.ip())]
            .into_iter()
            .flatten()
        {
            if is_own(SocketAddr::new(ip, address.port())) {
                return Err(Forbidden::Own);
            }
            match class(ip) {
                Some(Forbidden::Private) if self.allowed.iter().any(|net| net.contains(&ip)) => {}
                Some(why) => return Err(why),
                None => {}
            }
        }
        Ok(())
    }
}

/// Names by which clouds let a machine reach their metadata service.
const METADATA_NAMES: [&str; 9] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.azure.com",
    "metadata.tencentyun.com",
    "metadata.packet.net",
];

/// Its addresses that are not link-local: Alibaba, Azure's wire server, Oracle; AWS, Google.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What is special about `ip`; `None` is a public address. The registries of RFC 6890.
fn class(ip: IpAddr) -> Option<Forbidden> {
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

fn class_v4(ip: Ipv4Addr) -> Option<Forbidden> {
    let [a, b, c, _] = ip.octets();
    if METADATA_V4.contains(&ip) || [a, b, c] == [169, 254, 169] || [a, b, c] == [169, 254, 170] {
        return Some(Forbidden::Metadata);
    }
    match (a, b, c) {
        (169, 254, _) => Some(Forbidden::LinkLocal),
        (127 | 10, ..) | (192, 168, _) | (172, 16..=31, _) | (100, 64..=127, _) => {
            Some(Forbidden::Private)
        }
        // This network, protocol assignments, documentation, benchmarks, 6to4 relays,
        // multicast, reserved, broadcast.
        (0, ..)
        | (192, 0, 0 | 2)
        | (198, 51, 100)
        | (203, 0, 113)
        | (198, 18 | 19, _)
        | (192, 88, 99)
        | (224..=255, ..) => Some(Forbidden::Unroutable),
        _ => None,
    }
}

fn class_v6(ip: Ipv6Addr) -> Option<Forbidden> {
    if METADATA_V6.contains(&ip) {
        return Some(Forbidden::Metadata);
    }
    let segments = ip.segments();
    match segments {
        _ if ip.is_loopback() => Some(Forbidden::Private),
        _ if ip.is_unspecified() => Some(Forbidden::Unroutable),
        // Link-local, and what site-local was (RFC 3879).
        [0xfe80..=0xfebf, ..] => Some(Forbidden::LinkLocal),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Forbidden::Private),
        // Multicast, discard-only, documentation, segment routing.
        [0xff00..=0xffff, ..]
        | [0x100, 0, 0, ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, ..]
        | [0x5f00, ..] => Some(Forbidden::Unroutable),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 one carries: mapped, compatible or translated (RFC 4291
/// §2.5.5, RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP
/// (RFC 5214).
fn inside(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => v4(high, low),
        [0x2001, 0, _, _, _, _, high, low] => v4(!high, !low),
        _ => None,
    }
}

/// Whether `host`, which is no address as Rust reads them, is one to other readers
/// (inet_aton(3); WHATWG URL, "ends in a number"): `2130706433`, `0x7f.1`, `0177.0.0.1`.
fn looks_like_an_address(host: &str) -> bool {
    if host.contains(['[', ']', ':', '%']) {
        return true;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    match last.strip_prefix("0x") {
        Some(digits) => is_hex(digits),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(guard: &AddressGuard, ip: &str) -> Result<(), Forbidden> {
        guard.judge(SocketAddr::new(ip.parse().unwrap(), 443), |_| false)
    }

    #[test]
    fn public_addresses_are_let_through_and_no_others() {
        let guard = AddressGuard::new(Vec::new());
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert_eq!(verdict(&guard, public), Ok(()), "{public}");
        }
        use Forbidden::{LinkLocal, Metadata, Private, Unroutable};
        for (ip, why) in [
            ("127.0.0.1", Private),
            ("127.255.255.254", Private),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("::1", Private),
            ("fd00::1", Private),
            ("fec0::1", Private),
            ("0.0.0.0", Unroutable),
            ("::", Unroutable),
            ("224.0.0.1", Unroutable),
            ("255.255.255.255", Unroutable),
            ("198.18.0.1", Unroutable),
            ("ff02::1", Unroutable),
            ("2001:db8::1", Unroutable),
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
        ] {
            assert_eq!(verdict(&guard, ip), Err(why), "{ip}");
        }
    }

    #[test]
    fn an_address_in_the_disguise_of_another_is_judged_by_what_it_carries() {
        let guard = AddressGuard::new(Vec::new());
        for ip in [
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "2001:0:1:2:3:4:80ff:fffe",
            "2606:4700::5efe:127.0.0.1",
        ] {
            assert_eq!(verdict(&guard, ip), Err(Forbidden::Private), "{ip}");
        }
        let metadata = verdict(&guard, "::ffff:169.254.169.254");
        assert_eq!(metadata, Err(Forbidden::Metadata));
    }

    #[test]
    fn a_listed_network_is_open_and_what_is_never_allowed_stays_shut() {
        let networks = [
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "::/0",
            "0.0.0.0/0",
        ];
        let guard = AddressGuard::new(networks.iter().map(|net| net.parse().unwrap()).collect());
        for open in ["10.9.9.9", "127.0.0.1", "::1", "::ffff:10.0.0.1", "fd00::1"] {
            assert_eq!(verdict(&guard, open), Ok(()), "{open}");
        }
        for shut in [
            "169.254.169.254",
            "169.254.1.1",
            "fe80::1",
            "0.0.0.0",
            "fd00:ec2::254",
        ] {
            assert!(verdict(&guard, shut).is_err(), "{shut}");
        }
        let own: SocketAddr = "127.0.0.1:9464".parse().unwrap();
        let is_own = |address| address == own;
        for spelling in [
            "127.0.0.1:9464",
            "[::ffff:127.0.0.1]:9464",
            "[2002:7f00:1::]:9464",
        ] {
            let judged = guard.judge(spelling.parse().unwrap(), is_own);
            assert_eq!(judged, Err(Forbidden::Own), "{spelling}");
        }
    }

    #[test]
    fn a_host_that_some_read_as_an_address_and_others_as_a_name_is_neither() {
        let guard = AddressGuard::new(Vec::new());
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "127.1",
            "0177.0.0.1",
            "127.0.0.0x1",
            "127.0.0.1.1",
            "1.2.3.4.5",
            "[fe80::1%25eth0]",
            "[::1",
        ] {
            assert_eq!(guard.judge_host(host), Err(Forbidden::Spelling), "{host}");
        }
        for host in ["metadata.google.internal.", "metadata", "instance-data"] {
            assert_eq!(guard.judge_host(host), Err(Forbidden::Metadata), "{host}");
        }
        for host in [
            "example.com",
            "1e100.net",
            "3com.com.",
            "127.0.0.1",
            "[::1]",
            "0xdead.beef.net",
        ] {
            assert_eq!(guard.judge_host(host), Ok(()), "{host}");
        }
    }
}
