//! The names that a certificate carries, and those that an authority is held to.

use std::fmt;
use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use rustls::pki_types::ServerName;

use super::error::AuthorityError;
use crate::config::url::plain_host;

/// A host as certificates name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SiteName {
    /// Lower case, without a trailing dot.
    Dns(Box<str>),
    /// An address.
    Ip(IpAddr),
}

impl SiteName {
    /// A DNS name in any case, or an address, IPv6 also in brackets; no port.
    pub(super) fn parse(host: &str) -> Result<SiteName, AuthorityError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(host).parse() {
            return Ok(SiteName::Ip(ip));
        }
        let name = plain_host(host);
        match ServerName::try_from(name.as_str()) {
            Ok(ServerName::DnsName(_)) => Ok(SiteName::Dns(name.into())),
            _ => Err(AuthorityError::NotAName { host: host.into() }),
        }
    }

    /// As a leaf carries it (RFC 5280 §4.2.1.6).
    pub(super) fn alternative_name(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            SiteName::Dns(name) => SanType::DnsName(name.as_ref().try_into()?),
            SiteName::Ip(ip) => SanType::IpAddress(*ip),
        })
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SiteName::Dns(name) => f.write_str(name),
            SiteName::Ip(ip) => write!(f, "{ip}"),
        }
    }
}

/// All of `hosts`, each once.
///
/// # Errors
/// Where there are none, or one cannot stand in a certificate.
pub(super) fn all<'a>(
    hosts: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<SiteName>, AuthorityError> {
    let names: Result<Vec<SiteName>, _> = hosts.into_iter().map(SiteName::parse).collect();
    let mut names = names?;
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(AuthorityError::NoHosts);
    }
    Ok(names)
}

/// These and nothing else. A form of name of which nothing is permitted would be free, so
/// all of it is excluded, in the spelling of CA/Browser Forum's Baseline Requirements
/// §7.1.2.5.2: every IPv4 and every IPv6 address, or the empty DNS name, which is above all.
pub(super) fn constraints(names: &[SiteName]) -> NameConstraints {
    let permitted_subtrees: Vec<GeneralSubtree> = names
        .iter()
        .map(|name| match name {
            SiteName::Dns(name) => GeneralSubtree::DnsName(name.to_string()),
            SiteName::Ip(ip) => {
                let whole = if ip.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*ip, whole))
            }
        })
        .collect();
    let mut excluded_subtrees = Vec::new();
    if !names.iter().any(|name| matches!(name, SiteName::Dns(_))) {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    if !names.iter().any(|name| matches!(name, SiteName::Ip(_))) {
        for every in [
            CidrSubnet::V4([0; 4], [0; 4]),
            CidrSubnet::V6([0; 16], [0; 16]),
        ] {
            excluded_subtrees.push(GeneralSubtree::IpAddress(every));
        }
    }
    NameConstraints {
        permitted_subtrees,
        excluded_subtrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_certificates_compare_it() {
        let shown = |host: &str| SiteName::parse(host).map(|name| name.to_string()).ok();
        assert_eq!(shown("API.Exotel.com.").as_deref(), Some("api.exotel.com"));
        assert_eq!(shown("[::1]").as_deref(), Some("::1"));
        assert_eq!(shown("127.0.0.1").as_deref(), Some("127.0.0.1"));
        for bad in ["", "a b", "api.exotel.com:443", "*.exotel.com", "a..b"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_are_taken_once_and_none_are_refused() {
        let names = all(["b.example", "a.example", "B.example."]).unwrap();
        assert_eq!(names.len(), 2);
        assert!(matches!(all([]), Err(AuthorityError::NoHosts)));
    }

    #[test]
    fn a_form_of_name_of_which_none_is_permitted_is_excluded_as_a_whole() {
        let dns = constraints(&all(["a.example"]).unwrap());
        assert_eq!(dns.excluded_subtrees.len(), 2);
        let ip = constraints(&all(["192.0.2.1"]).unwrap());
        assert_eq!(
            ip.excluded_subtrees,
            [GeneralSubtree::DnsName(String::new())]
        );
        let both = constraints(&all(["192.0.2.1", "a.example"]).unwrap());
        assert_eq!(both.excluded_subtrees, []);
        assert_eq!(both.permitted_subtrees.len(), 2);
    }
}
