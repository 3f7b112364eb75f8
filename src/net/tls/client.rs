//! TLS towards upstreams and issuers. Verification is always on: by the authorities,
//! or by the keys that are pinned.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::TlsError;
use super::identity::{self, FileIdentity};
use super::pin::Pinned;
use crate::config::outbound::Pin;
use crate::config::{ClientCertificate, Roots, UpstreamProtocol, UpstreamTls};
use crate::secret::watch::FileWatch;

/// The rustls configuration for `tls`, offering HTTP/1.1 by ALPN (RFC 7301).
/// Reads the CA file or the machine's trust store, and the client certificate, of which
/// `files` tells when it changed; call it when a route is built, not for each connection.
///
/// # Errors
/// Where a file will not do.
pub fn config(tls: &UpstreamTls, files: &FileWatch) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(super::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = if tls.pins.is_empty() {
        builder.with_root_certificates(roots(tls)?)
    } else {
        // The one place without webpki's judgement of the chain: see `pin.rs`.
        let verifier = Pinned::verifier(&tls.pins);
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    };
    let mut client = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let shown = FileIdentity::read(pair, files)?;
            let mut client = builder.with_client_cert_resolver(shown);
            // A resumed session goes on as whoever began it, so that a renewed
            // certificate would not be shown.
            client.resumption = Resumption::disabled();
            client
        }
    };
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

/// The same, shared with whoever holds one that does not differ now: a store of
/// authorities is several hundred KiB, and each tenant of a credential has a connector
/// of its own. Files are read anew each time, so a CA file that changed is another
/// one; a client certificate that changed is noticed by whoever shows it.
///
/// # Errors
/// As [`config`].
pub fn shared(tls: &UpstreamTls, files: &FileWatch) -> Result<Arc<ClientConfig>, TlsError> {
    /// All that tells two configurations apart. The name to verify belongs to the
    /// connection.
    type Told = (
        Roots,
        Option<Vec<CertificateDer<'static>>>,
        Vec<Pin>,
        Option<ClientCertificate>,
    );
    static HELD: Mutex<Vec<(Told, Weak<ClientConfig>)>> = Mutex::new(Vec::new());
    if let Some(pair) = &tls.identity {
        identity::read(pair)?;
    }
    let told: Told = (
        tls.roots,
        tls.ca.as_deref().map(read_ca).transpose()?,
        tls.pins.clone(),
        tls.identity.clone(),
    );
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.retain(|(_, client)| client.strong_count() > 0);
    let same = held.iter().find(|(other, _)| *other == told);
    if let Some(client) = same.and_then(|(_, client)| client.upgrade()) {
        return Ok(client);
    }
    let client = config(tls, files)?;
    held.push((told, Arc::downgrade(&client)));
    Ok(client)
}

/// `config`, offering `protocol` by ALPN (RFC 7301); what it trusts is shared. `None`
/// where it offers just that already.
pub fn offering(
    config: &Arc<ClientConfig>,
    protocol: UpstreamProtocol,
) -> Option<Arc<ClientConfig>> {
    let names: &[&[u8]] = match protocol {
        UpstreamProtocol::H1 => return None,
        UpstreamProtocol::Auto => &[b"h2", b"http/1.1"],
        UpstreamProtocol::H2 => &[b"h2"],
    };
    let mut client = ClientConfig::clone(config);
    client.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
    Some(Arc::new(client))
}

/// Whether a handshake failed because the server speaks nothing that was offered
/// (RFC 7301 §3.2).
pub fn is_no_protocol(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            rustls::AlertDescription::NoApplicationProtocol
        ))
    )
}

fn roots(tls: &UpstreamTls) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &tls.ca {
        let all = read_ca(path)?;
        let count = all.len();
        for (index, certificate) in all.into_iter().enumerate() {
            store.add(certificate).map_err(|error| TlsError::Ca {
                path: path.display().to_string(),
                why: format!("certificate {} of {count}: {error}", index + 1),
            })?;
        }
        return Ok(store);
    }
    if tls.roots == Roots::System {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
    }
    if store.is_empty() {
        if tls.roots == Roots::System {
            tracing::info!("the machine has no certificate authorities, using the bundled ones");
        }
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn read_ca(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |why: String| TlsError::Ca {
        path: path.display().to_string(),
        why,
    };
    let text = super::read(path).map_err(|error| fail(error.to_string()))?;
    let each = CertificateDer::pem_slice_iter(&text).enumerate();
    let each = each.map(|(index, found)| {
        found.map_err(|error| fail(format!("certificate {}: {error}", index + 1)))
    });
    let found = each.collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(fail("it holds no certificate".into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(roots: Roots, ca: Option<&Path>) -> UpstreamTls {
        UpstreamTls {
            roots,
            ca: ca.map(Into::into),
            ..UpstreamTls::default()
        }
    }

    #[test]
    fn the_bad_certificate_of_a_bundle_is_named_and_a_byte_order_mark_is_skipped() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let good = params.self_signed(&key).unwrap().pem();
        let name = format!("headset-ca-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let told = |text: String| {
            std::fs::write(&path, text).unwrap();
            let outcome = config(&tls(Roots::System, Some(&path)), &FileWatch::default());
            outcome.map_err(|error| error.to_string())
        };
        assert!(told(format!("\u{feff}{good}")).is_ok());
        let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let error = told(format!("{good}{good}{empty}{good}")).unwrap_err();
        assert!(error.contains("certificate 3 of 4: "), "{error}");
        let cut = "-----BEGIN CERTIFICATE-----\nM*A=\n-----END CERTIFICATE-----\n";
        let error = told(format!("{good}{cut}")).unwrap_err();
        assert!(error.contains("certificate 2: "), "{error}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_same_authorities_are_held_once_and_a_changed_file_is_another() {
        let shared = |tls: &UpstreamTls| shared(tls, &FileWatch::default());
        let bundled = shared(&tls(Roots::Bundled, None)).unwrap();
        let again = shared(&tls(Roots::Bundled, None)).unwrap();
        assert!(Arc::ptr_eq(&bundled, &again));

        let name = format!("headset-ca-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        let pem = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap().pem()
        };
        std::fs::write(&path, pem()).unwrap();
        let private = shared(&tls(Roots::Bundled, Some(&path))).unwrap();
        assert!(!Arc::ptr_eq(&bundled, &private));
        let again = shared(&tls(Roots::Bundled, Some(&path))).unwrap();
        assert!(Arc::ptr_eq(&private, &again));
        std::fs::write(&path, pem()).unwrap();
        let changed = shared(&tls(Roots::Bundled, Some(&path))).unwrap();
        assert!(!Arc::ptr_eq(&private, &changed));
        std::fs::remove_file(&path).unwrap();
    }
}
