//! `resolve`: where a name is dialled, whatever the resolver of the machine says; curl's
//! `--resolve` for one route or one credential.
//!
//! Only the address changes: `Host`, SNI, the certificate's names and the origin that a
//! credential may go to stay what the URL says. A name stands for itself alone, without
//! port and pattern. `read_resolve.rs` reads one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::url::{HttpOrigin, plain_host};

/// Names, each with the addresses to dial instead of those that it resolves to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolve(Arc<[NamedAddresses]>);

/// A lower-case name without a trailing dot, and its addresses.
type NamedAddresses = (Box<str>, Box<[Address]>);

/// An address to dial; without a port that of the URL holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The IP address.
    pub ip: IpAddr,
    /// The port, where it differs from the URL's.
    pub port: Option<u16>,
}

impl Address {
    /// With `port` where it has none of its own.
    pub fn at(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl Resolve {
    /// Of these names, each lower case and without a trailing dot, with one address at least.
    pub fn new(rows: impl IntoIterator<Item = (Box<str>, Vec<Address>)>) -> Resolve {
        let rows = rows.into_iter();
        Resolve(
            rows.map(|(name, addresses)| (name, addresses.into()))
                .collect(),
        )
    }

    /// Where to dial for `origin`, in the order of preference, with the origin's own port
    /// where none is said; `None` where its name is left to the resolver.
    pub fn of(&self, origin: &HttpOrigin) -> Option<Vec<SocketAddr>> {
        let name = plain_host(&origin.host);
        let (_, addresses) = self.0.iter().find(|(known, _)| **known == *name)?;
        Some(addresses.iter().map(|one| one.at(origin.port)).collect())
    }

    /// Each name with its addresses.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[Address])> {
        let rows = self.0.iter();
        rows.map(|(name, addresses)| (&**name, &**addresses))
    }

    /// One spelling for one meaning.
    pub fn canonical(&self) -> String {
        let row = |(name, addresses): (&str, &[Address])| {
            let each: Vec<String> = addresses.iter().map(Address::to_string).collect();
            format!("{name}={}", each.join("\u{1e}"))
        };
        self.names().map(row).collect::<Vec<_>>().join("\u{1f}")
    }
}
