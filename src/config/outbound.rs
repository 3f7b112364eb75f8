//! How headset goes out: the tables `[upstream_tls]` (and its likes in a route and a
//! credential) and `[egress]`, their rules and what they become.
//!
//! Whom to trust is one decision, and so is who we are: a table that sets a part of
//! one inherits none of it. No secret is read here, and no file is opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::config::fault::{ValueFault, Verdict, fault};
use crate::config::url::{HttpOrigin, HttpUrl, plain_host};
use crate::config::values::{Value, Values};
use crate::secret::SecretSource;

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4), which curl
/// writes as `sha256//` and base64. It is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// Reads `sha256//BASE64=`, or the base64 alone; `None` where it is neither.
    pub fn parse(text: &str) -> Option<Pin> {
        let bare = text.strip_prefix("sha256//").unwrap_or(text);
        let digest = BASE64_STANDARD.decode(bare).ok()?;
        Some(Pin(digest.try_into().ok()?))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256//{}", BASE64_STANDARD.encode(self.0))
    }
}

/// `[upstream_tls]`, and the same table in a route or a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// Which authorities to trust.
    pub roots: Roots,
    /// A PEM file of authorities to trust *instead*.
    pub ca: Option<Arc<Path>>,
    /// Keys to trust *instead* of any authority; empty asks the authorities.
    pub pins: Vec<Pin>,
    /// The name to verify and to send as SNI, where it differs from the host.
    pub server_name: Option<String>,
    /// What to show a server that asks who we are.
    pub identity: Option<ClientCertificate>,
}

/// A client certificate and its key: PEM files, read when they are needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub cert: Arc<Path>,
    /// Its private key.
    pub key: Arc<Path>,
}

impl UpstreamTls {
    /// Every file that it names: who keeps what was made by it looks at their content.
    pub fn files(&self) -> Vec<&Path> {
        let identity = self.identity.iter();
        let pairs = identity.flat_map(|identity| [&*identity.cert, &*identity.key]);
        self.ca.as_deref().into_iter().chain(pairs).collect()
    }
}

/// Which certificate authorities to trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Roots {
    /// The machine's, or the bundled ones where it has none.
    #[default]
    System,
    /// Mozilla's, as compiled in.
    Bundled,
}

/// `[egress]`: headset's own way out, for calls and for issue calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressConfig {
    /// Which proxy stands in between.
    pub proxy: Proxy,
    /// Hosts, domains and networks that are reached without one.
    pub no_proxy: Vec<String>,
    /// What the proxy is shown; `None` where it asks for nothing.
    pub authorization: Option<SecretSource>,
}

/// Which proxy stands between headset and its upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// None, whatever the environment says.
    #[default]
    None,
    /// Those that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` name.
    Environment,
    /// This one.
    At(HttpOrigin),
}

/// A rule of the table of keys: pins, at least one.
pub fn pins(value: &Value) -> Verdict {
    let Value::List(items) = value else {
        return Ok(());
    };
    let compute = "compute it with `openssl x509 -in leaf.pem -noout -pubkey | openssl pkey \
                   -pubin -outform der | openssl dgst -sha256 -binary | base64`";
    if items.is_empty() {
        return fault("an empty list pins nothing", compute);
    }
    match items.iter().find(|item| Pin::parse(item).is_none()) {
        None => Ok(()),
        Some(item) => fault(
            format!("{item:?} is not the base64 of a SHA-256, with or without sha256// before it"),
            compute,
        ),
    }
}

/// A rule of the table of keys: `none`, `env` or the URL of a proxy.
pub fn proxy(value: &Value) -> Verdict {
    match value {
        Value::Text(text) => read_proxy(text).map(|_| ()),
        _ => Ok(()),
    }
}

/// What was written stays unsaid: it may carry a password before the host.
pub(super) fn read_proxy(text: &str) -> Result<Proxy, ValueFault> {
    let write = "write \"none\", \"env\" or a URL such as \"http://proxy.example.com:3128\"";
    match text {
        "none" => return Ok(Proxy::None),
        "env" => return Ok(Proxy::Environment),
        _ => {}
    }
    if text.contains('@') {
        return fault(
            "it carries a user or password before the host, and a secret is written by reference only",
            "remove it, and set egress.proxy_authorization = { file = \"/path\" } to user:password",
        );
    }
    match HttpUrl::parse(text) {
        Ok(url) if url.origin.socket().is_some() => {
            fault("headset reaches a proxy by TCP alone", write)
        }
        Ok(url) if url.origin.tls => fault(
            "headset speaks to a proxy in clear; TLS to the upstream goes through it unread",
            "write it as \"http://host:port\"",
        ),
        Ok(url) if url.path.as_ref() != "/" => fault("a proxy has no path", write),
        Ok(url) => Ok(Proxy::At(url.origin)),
        Err(why) => fault(format!("this proxy cannot be used: {why}"), write),
    }
}

/// The table `[egress]`.
pub(super) fn egress(values: &Values) -> EgressConfig {
    EgressConfig {
        // The row has judged it.
        proxy: read_proxy(values.need_text("proxy")).unwrap_or_default(),
        no_proxy: values.need_list("no_proxy").to_vec(),
        authorization: values.secret("proxy_authorization").cloned(),
    }
}

/// The TLS keys of `values` below `prefix`, over what `base` says.
pub(super) fn tls(values: &Values, prefix: &str, base: &UpstreamTls) -> UpstreamTls {
    let path = |key: &str| format!("{prefix}{key}");
    let mut tls = base.clone();
    let (roots, ca) = (values.text(&path("roots")), values.path(&path("ca")));
    let pins = values.list(&path("pin_sha256"));
    if roots.is_some() || ca.is_some() || pins.is_some() {
        tls.roots = match roots {
            Some("bundled") => Roots::Bundled,
            _ => Roots::System,
        };
        tls.ca = ca.map(Into::into);
        let pins = pins.unwrap_or_default().iter();
        tls.pins = pins.filter_map(|pin| Pin::parse(pin)).collect();
    }
    let cert = values.path(&path("client_cert"));
    if let (Some(cert), Some(key)) = (cert, values.path(&path("client_key"))) {
        tls.identity = Some(ClientCertificate {
            cert: cert.into(),
            key: key.into(),
        });
    }
    if let Some(name) = values.text(&path("server_name")) {
        tls.server_name = Some(plain_host(name));
    }
    tls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_curl_writes_it_and_without_its_prefix() {
        let text = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let pin = Pin::parse(text).unwrap();
        assert_eq!(pin.to_string(), text);
        assert_eq!(Pin::parse(&text[8..]), Some(pin));
        for bad in ["", "sha256//", "sha256/47DE", "47DEQpj8HBSa", "not base64!"] {
            assert_eq!(Pin::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_a_plain_url_and_its_password_is_not_repeated() {
        let at = |text: &str| read_proxy(text).map_err(|(why, fix)| format!("{why}; {fix}"));
        assert_eq!(at("none"), Ok(Proxy::None));
        assert_eq!(at("env"), Ok(Proxy::Environment));
        assert!(matches!(at("http://proxy:3128"), Ok(Proxy::At(o)) if o.port == 3128));
        for (bad, part) in [
            ("http://robot:hunter2@proxy:3128", "proxy_authorization"),
            ("https://proxy:3128", "in clear"),
            ("http://proxy:3128/path", "no path"),
            ("socks5://proxy", "scheme"),
            ("unix:/run/proxy.sock", "TCP alone"),
            ("proxy:3128", "http://"),
            ("hunter2", "http://"),
        ] {
            let told = at(bad).unwrap_err();
            assert!(told.contains(part) && !told.contains("hunter2"), "{told}");
        }
    }
}
