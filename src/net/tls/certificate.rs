//! What a certificate says of itself, where rustls does not show it (RFC 5280 §4.1): for
//! those who tell people of it, and to sign in its name.
//!
//! Nothing is judged here; what cannot be read is left out.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;

use super::der::{
    BOOLEAN, CONTEXT_0, CONTEXT_3, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, element, elements,
};

const KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// `[2]` and `[7]` of GeneralName (§4.2.1.6).
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The fields of one certificate.
#[derive(Clone, Copy, Debug)]
pub struct CertificateFields<'a> {
    /// Whose it is: a Name.
    pub subject: &'a [u8],
    /// Who signed it: a Name.
    pub issuer: &'a [u8],
    /// A list of Extension; empty where there are none.
    extensions: &'a [u8],
}

/// One part of a name: its type, the tag of its text, and the text.
pub type NamePart<'a> = (&'a [u8], u8, &'a [u8]);

impl<'a> CertificateFields<'a> {
    /// Reads them; `None` where `certificate` is none.
    pub fn of(certificate: &'a CertificateDer<'_>) -> Option<CertificateFields<'a>> {
        let (certificate, _) = element(certificate, SEQUENCE)?;
        let (mut fields, _) = element(certificate, SEQUENCE)?;
        // The version, where it is not 1.
        if let Some((_, rest)) = element(fields, CONTEXT_0) {
            fields = rest;
        }
        // The serial number and the signature algorithm.
        for tag in [INTEGER, SEQUENCE] {
            (_, fields) = element(fields, tag)?;
        }
        let (issuer, fields) = element(fields, SEQUENCE)?;
        let (_validity, fields) = element(fields, SEQUENCE)?;
        let (subject, fields) = element(fields, SEQUENCE)?;
        let mut rest = elements(fields);
        let extensions = rest.find(|field| field.tag == CONTEXT_3);
        let extensions = extensions.and_then(|field| element(field.content, SEQUENCE));
        Some(CertificateFields {
            subject,
            issuer,
            extensions: extensions.map_or(&[], |(list, _)| list),
        })
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The parts of its subject; `None` where one of them has several values.
    pub fn subject_parts(&self) -> Option<Vec<NamePart<'a>>> {
        name_parts(self.subject)
    }

    /// Its subject for people: `O=headset, CN=…`.
    pub fn subject_text(&self) -> String {
        name_text(self.subject)
    }

    /// Who signed it, for people.
    pub fn issuer_text(&self) -> String {
        name_text(self.issuer)
    }

    /// By what others refer to its key (§4.2.1.2).
    pub fn key_id(&self) -> Option<&'a [u8]> {
        let (id, _) = element(self.extension(KEY_ID)?, OCTET_STRING)?;
        Some(id)
    }

    /// The DNS names and addresses that it may sign for (§4.2.1.10): each with all below
    /// it, or a network. `None` where it is held to none.
    pub fn permitted(&self) -> Option<Vec<String>> {
        let (both, _) = element(self.extension(NAME_CONSTRAINTS)?, SEQUENCE)?;
        let (permitted, _) = element(both, CONTEXT_0)?;
        let subtree = |tree: super::der::Element<'_>| {
            let (base, _) = super::der::first(tree.content)?;
            match base.tag {
                DNS_NAME => Some(String::from_utf8_lossy(base.content).into_owned()),
                IP_ADDRESS => network(base.content),
                _ => None,
            }
        };
        Some(elements(permitted).filter_map(subtree).collect())
    }

    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        elements(self.extensions).find_map(|extension| {
            let (id, mut rest) = element(extension.content, OID)?;
            if let Some((_, after)) = element(rest, BOOLEAN) {
                rest = after;
            }
            let (value, _) = element(rest, OCTET_STRING)?;
            (id == wanted).then_some(value)
        })
    }
}

fn name_parts<'a>(name: &'a [u8]) -> Option<Vec<NamePart<'a>>> {
    let part = |set: super::der::Element<'a>| {
        let (pair, more) = element(set.content, SEQUENCE)?;
        let (kind, value) = element(pair, OID)?;
        let (text, _) = super::der::first(value)?;
        (set.tag == SET && more.is_empty()).then_some((kind, text.tag, text.content))
    };
    elements(name).map(part).collect()
}

fn name_text(name: &[u8]) -> String {
    let mut text = String::new();
    for (kind, _, value) in name_parts(name).unwrap_or_default() {
        let name = match kind {
            [0x55, 0x04, 3] => "CN",
            [0x55, 0x04, 6] => "C",
            [0x55, 0x04, 7] => "L",
            [0x55, 0x04, 8] => "ST",
            [0x55, 0x04, 10] => "O",
            [0x55, 0x04, 11] => "OU",
            _ => "?",
        };
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name}={}", String::from_utf8_lossy(value));
    }
    // It may come from anywhere, and a terminal takes some characters for orders.
    text.retain(|c| !c.is_control());
    text
}

/// An address and a mask (§4.2.1.10); the address alone where the mask is all of it.
fn network(bytes: &[u8]) -> Option<String> {
    let (address, mask) = bytes.split_at(bytes.len() / 2);
    let address = match bytes.len() {
        8 => Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?).to_string(),
        32 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_string(),
        _ => return None,
    };
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let whole = mask.iter().all(|byte| *byte == 0xff);
    Some(match whole {
        true => address,
        false => format!("{address}/{ones}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_by_subject_key_and_permitted_names() {
        let mut of = rcgen::CertificateParams::default();
        of.distinguished_name = rcgen::DistinguishedName::new();
        let mut push = |kind, text: &str| of.distinguished_name.push(kind, text);
        push(rcgen::DnType::OrganizationName, "Example\u{1b}[31m");
        push(rcgen::DnType::CommonName, "Issuing CA 2");
        of.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        of.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![
                rcgen::GeneralSubtree::DnsName("api.exotel.com".into()),
                rcgen::GeneralSubtree::IpAddress(rcgen::CidrSubnet::V4(
                    [10, 0, 0, 0],
                    [255, 0, 0, 0],
                )),
                rcgen::GeneralSubtree::IpAddress(rcgen::CidrSubnet::V6([0; 16], [255; 16])),
            ],
            excluded_subtrees: Vec::new(),
        });
        let key = rcgen::KeyPair::generate().unwrap();
        let made = of.self_signed(&key).unwrap();
        let read = CertificateFields::of(made.der()).unwrap();
        assert_eq!(read.subject_text(), "O=Example[31m, CN=Issuing CA 2");
        assert!(read.is_self_issued());
        assert_eq!(read.key_id(), Some(&*of.key_identifier(&key)));
        let permitted = read.permitted().unwrap();
        assert_eq!(permitted, ["api.exotel.com", "10.0.0.0/8", "::"]);
    }

    #[test]
    fn what_says_less_or_is_cut_yields_less() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["a.example".to_owned()]);
        let made = made.unwrap().self_signed(&key).unwrap();
        let read = CertificateFields::of(made.der()).unwrap();
        assert_eq!(read.permitted(), None);
        for length in 0..made.der().len() {
            let cut = CertificateDer::from(made.der()[..length].to_vec());
            if let Some(read) = CertificateFields::of(&cut) {
                let _ = (read.subject_text(), read.key_id(), read.permitted());
            }
        }
    }
}
