//! Walking over DER (X.690 §10): just what is needed to read a field of a certificate that
//! rustls does not show. Whether the certificate is any good, rustls and its peers judge.

/// A constructed list of fields.
pub const SEQUENCE: u8 = 0x30;
/// A number.
pub const INTEGER: u8 = 0x02;
/// Bits, after one byte that counts those unused at the end.
pub const BIT_STRING: u8 = 0x03;
/// `[0]`, constructed.
pub const CONTEXT_0: u8 = 0xa0;

/// The content of the first element, which must have this tag, and what follows it; `None`
/// where there is no whole one.
pub fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
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
    (first == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_taken_off_with_its_tag_and_length() {
        let der = b"\x02\x01\x05\x04\x81\x02hi";
        assert_eq!(element(der, INTEGER), Some((&b"\x05"[..], &der[3..])));
        assert_eq!(element(&der[3..], 0x04), Some((&b"hi"[..], &b""[..])));
        assert_eq!(element(der, SEQUENCE), None);
    }

    #[test]
    fn what_is_cut_is_no_element() {
        for cut in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x05abcd", b"\x30\x85"] {
            assert_eq!(element(cut, SEQUENCE), None, "{cut:x?}");
        }
    }
}
