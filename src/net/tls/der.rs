//! Walking over DER (X.690 §10): just what is needed to read a field of a certificate that
//! rustls does not show. Whether the certificate is any good, rustls and its peers judge.

/// A constructed list of fields.
pub const SEQUENCE: u8 = 0x30;
/// A constructed set.
pub const SET: u8 = 0x31;
/// A number.
pub const INTEGER: u8 = 0x02;
/// Bits, after one byte that counts those unused at the end.
pub const BIT_STRING: u8 = 0x03;
/// Bytes.
pub const OCTET_STRING: u8 = 0x04;
/// An object identifier.
pub const OID: u8 = 0x06;
/// A truth value; left out where it is the default.
pub const BOOLEAN: u8 = 0x01;
/// `[0]`, constructed.
pub const CONTEXT_0: u8 = 0xa0;
/// `[3]`, constructed.
pub const CONTEXT_3: u8 = 0xa3;

/// An element and what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its tag, of one byte.
    pub tag: u8,
    /// What is in it.
    pub content: &'a [u8],
    /// All of it, tag and length included.
    pub whole: &'a [u8],
}

/// The first element of `der`, and what follows it; `None` where there is no whole one.
pub fn first(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            let length = octets
                .iter()
                .fold(0, |all, octet| all << 8 | usize::from(*octet));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = &der[..der.len() - rest.len()];
    let element = Element {
        tag,
        content,
        whole,
    };
    Some((element, rest))
}

/// The content of the first element, which must have this tag, and what follows it.
pub fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (element, rest) = first(der)?;
    (element.tag == tag).then_some((element.content, rest))
}

/// Each element of `der`, up to the first that is not whole.
pub fn elements(mut der: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let (element, rest) = first(der)?;
        der = rest;
        Some(element)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart_by_tag_and_length() {
        let der = b"\x02\x01\x05\x04\x81\x02hi\x30\x00rest";
        let seen: Vec<(u8, &[u8])> = elements(&der[..9])
            .map(|element| (element.tag, element.content))
            .collect();
        assert_eq!(
            seen,
            [(INTEGER, &b"\x05"[..]), (OCTET_STRING, b"hi"), (0x30, b"")][..2]
        );
        let (one, rest) = first(der).unwrap();
        assert_eq!((one.whole, rest.len()), (&der[..3], der.len() - 3));
    }

    #[test]
    fn what_is_cut_is_no_element() {
        for cut in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x05abcd", b"\x30\x85"] {
            assert_eq!(first(cut), None, "{cut:x?}");
        }
        assert_eq!(element(b"\x30\x00", SET), None);
    }
}
