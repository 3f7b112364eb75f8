//! When a certificate ends, read from its DER (RFC 5280 §4.1): the one field of it that
//! headset tells people and rustls does not show.
//!
//! It walks over what stands before the field and looks at nothing else; whether the
//! certificate is any good, rustls and its peers judge.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use rustls::pki_types::CertificateDer;

use super::der::{CONTEXT_0, INTEGER, SEQUENCE, element};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `notAfter` in seconds since the epoch; `None` where it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    // The version, where it is not 1.
    if let Some((_, rest)) = element(fields, CONTEXT_0) {
        fields = rest;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = element(fields, tag)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, after) = time(validity)?;
    let (end, _) = time(after)?;
    Some(end)
}

/// The time in the first element, and what follows it (RFC 5280 §4.1.2.5).
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (year, (content, rest)) = match element(der, UTC_TIME) {
        Some(found) => (2, found),
        None => (4, element(der, GENERALIZED_TIME)?),
    };
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (years, others) = text.split_at_checked(year)?;
    let number = |text: &str| text.parse::<i16>().ok();
    let part = |at: usize| Some(number(others.get(2 * at..2 * at + 2)?)? as i8);
    let year = match (year, number(years)?) {
        (2, year @ ..50) => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    let at = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some((Offset::UTC.to_timestamp(at).ok()?.as_second(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(end: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut of = rcgen::CertificateParams::new(vec!["cms.example.com".into()]).unwrap();
        of.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
        let key = rcgen::KeyPair::generate().unwrap();
        of.self_signed(&key).unwrap().into()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        for (end, seconds) in [
            ((2031, 2, 3), 1_927_843_200),
            ((2049, 12, 31), 2_524_521_600),
            ((2051, 1, 1), 2_556_144_000),
        ] {
            assert_eq!(not_after(&made(end)), Some(seconds), "{end:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end_and_no_cut_panics() {
        let der = made((2031, 2, 3));
        for length in 0..der.len().min(400) {
            let _ = not_after(&CertificateDer::from(der[..length].to_vec()));
        }
        for broken in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x80",
            b"\x02\x01\x01",
        ] {
            assert_eq!(not_after(&CertificateDer::from(broken)), None);
        }
    }
}
