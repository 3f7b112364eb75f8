//! A handshake that failed, in words: what is wrong with whom, and what to set.
//!
//! rustls says it exactly; here it is said so that whoever runs headset knows which
//! key of the configuration to turn. Nothing in it is secret: a certificate and the
//! digest of its key are public. Names that a server presents are shortened and
//! stripped of what is no name, for they stand in logs and answers.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::pin::NotPinned;

/// What is wrong and what to do, as one line.
#[derive(Debug, thiserror::Error)]
#[error("{why}{}{fix}", if fix.is_empty() { "" } else { "; " })]
struct TlsFailure {
    why: String,
    fix: &'static str,
}

const CA: &str = "for a private authority set `ca`, for a self-signed certificate `pin_sha256` (in upstream_tls, or the tls of the credential)";
const NAME: &str = "set `server_name` to a name that its certificate is for, or `pin_sha256` to trust its key whatever the name";
const RENEW: &str =
    "have it renewed, and check this machine's clock; `pin_sha256` trusts a key whatever its dates";
const PIN: &str = "if that is the server's own key, add it to `pin_sha256`; if not, somebody is intercepting the connection";
const CLIENT: &str = "set `client_cert` and `client_key` to a pair that it accepts";

/// Says what `error`, which ended a handshake, means. What rustls did not cause stays
/// as it is.
pub(crate) fn explain(error: io::Error) -> io::Error {
    let Some(found) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
        return match error.kind() {
            // Its kind tells that the connection broke off.
            kind @ io::ErrorKind::UnexpectedEof => io::Error::new(
                kind,
                TlsFailure {
                    why: "it closed the connection in the middle of the handshake".into(),
                    fix: "make it speak TLS 1.2 or 1.3 there",
                },
            ),
            _ => error,
        };
    };
    match found {
        Error::InvalidCertificate(bad) => certificate(bad),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => failure(
            "it speaks neither TLS 1.2 nor 1.3, and headset speaks nothing older (RFC 8996)",
            "enable TLS 1.2 there",
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => failure(
            "the server there does not speak TLS",
            "check that scheme and port belong together",
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure) => failure(
            "it refused every cipher that headset offers, or asks for a client certificate",
            CLIENT,
        ),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => failure(
            "it does not serve that name",
            "set `server_name` to a name that it serves",
        ),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => failure(
            format!("it refused the client certificate, or asks for one ({found})"),
            CLIENT,
        ),
        _ => error,
    }
}

fn certificate(bad: &CertificateError) -> io::Error {
    match bad {
        CertificateError::UnknownIssuer => failure(
            "its certificate comes from an authority that is not trusted",
            CA,
        ),
        CertificateError::Expired => failure("its certificate has expired", RENEW),
        CertificateError::ExpiredContext { not_after, .. } => failure(
            format!("its certificate expired on {}", day(not_after)),
            RENEW,
        ),
        CertificateError::NotValidYet => failure("its certificate is not valid yet", RENEW),
        CertificateError::NotValidYetContext { not_before, .. } => failure(
            format!("its certificate is not valid before {}", day(not_before)),
            RENEW,
        ),
        CertificateError::NotValidForName => failure("its certificate is for another name", NAME),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            let why = match presented.as_slice() {
                [] => format!(
                    "its certificate is not for {expected} nor any other name (a common name no longer counts, RFC 9525)"
                ),
                names => format!("its certificate is for {}, not for {expected}", list(names)),
            };
            failure(why, NAME)
        }
        CertificateError::BadSignature => failure(
            "it does not hold the key of the certificate that it shows, or no authority signed that",
            "somebody may be intercepting the connection",
        ),
        CertificateError::Other(other) => {
            match other.0.downcast_ref::<NotPinned>() {
                Some(not) => failure(format!("{not}, which is not pinned"), PIN),
                // webpki's own errors come as text only, such as CaUsedAsEndEntity.
                None => failure(format!("its certificate cannot be accepted ({other})"), CA),
            }
        }
        other => failure(format!("its certificate cannot be accepted ({other})"), CA),
    }
}

fn failure(why: impl Into<String>, fix: &'static str) -> io::Error {
    let why = why.into();
    io::Error::new(io::ErrorKind::InvalidData, TlsFailure { why, fix })
}

fn day(time: &UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).ok();
    let stamp = second.and_then(|second| jiff::Timestamp::from_second(second).ok());
    stamp.map_or_else(|| "a day of its own".into(), |stamp| stamp.to_string())
}

/// The first few names: rustls writes each as `DnsName("a.example")`.
fn list(names: &[String]) -> String {
    const MOST: usize = 5;
    let plain = |name: &String| -> String {
        let bare = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        let allowed = |c: &char| c.is_ascii_alphanumeric() || ".-_*:".contains(*c);
        bare.chars().filter(allowed).take(100).collect()
    };
    let mut shown: Vec<String> = names.iter().take(MOST).map(plain).collect();
    if names.len() > MOST {
        shown.push(format!("{} more", names.len() - MOST));
    }
    shown.join(", ")
}
