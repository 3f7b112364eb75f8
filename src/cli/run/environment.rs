//! What the environment of a child differs in from headset's own: the way through headset,
//! whom to trust, and without what is secret.
//!
//! Pure. Programs have agreed on no one name for any of it, so each well-known name is set;
//! a program ignores those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::config::Config;
use crate::config::no_proxy::Exception;
use crate::config::url::HttpOrigin;
use crate::secret::SecretSource;

/// The names by which programs look for the one file of all authorities that they trust.
pub(super) const BUNDLE: [&str; 17] = [
    "SSL_CERT_FILE", // OpenSSL, Go, .NET, Ruby, Python's ssl, httpx, rustls
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "DENO_CERT",
    "NPM_CONFIG_CAFILE",
    "CARGO_HTTP_CAINFO",
    "BUNDLE_SSL_CA_CERT",
    "NIX_SSL_CERT_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "PERL_LWP_SSL_CA_FILE",
    "HEX_CACERTS_PATH",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
];

/// Where Node looks for authorities that it trusts besides its own.
pub(super) const EXTRA: &str = "NODE_EXTRA_CA_CERTS";

/// What a Java machine takes options from.
pub(super) const JAVA: &str = "JAVA_TOOL_OPTIONS";

/// How a child is to reach headset.
#[derive(Clone, Debug)]
pub(super) struct ProxyAccess<'a> {
    /// `host:port` of the forward listener.
    pub(super) address: std::net::SocketAddr,
    /// What the listener asks for; `None` is nothing.
    pub(super) password: Option<&'a str>,
    /// Where credentials go: none of it may be reached past headset.
    pub(super) origins: &'a [HttpOrigin],
    /// Whether everything else is headset's to decide, too.
    pub(super) confines: bool,
}

/// The files that say whom to trust.
#[derive(Clone, Debug)]
pub(super) struct TrustPaths<'a> {
    /// Every authority, PEM.
    pub(super) bundle: &'a str,
    /// The local one, and what Node was told to trust besides, PEM.
    pub(super) extra: &'a str,
    /// Every authority, as Java keeps them.
    pub(super) java: &'a str,
}

/// What differs: each name with its value, or with none where it is removed.
pub(super) type Changes = BTreeMap<String, Option<OsString>>;

/// What differs for `way` and `trust` from the environment `has`, without the variables
/// `secret`. Also what is worth a warning.
pub(super) fn changes(
    has: &dyn Fn(&str) -> Option<String>,
    way: &ProxyAccess<'_>,
    trust: &TrustPaths<'_>,
    secret: &BTreeSet<String>,
) -> (Changes, Vec<String>) {
    let mut changes = Changes::new();
    let mut warnings = Vec::new();
    for name in secret {
        changes.insert(name.clone(), None);
    }
    let mut set = |name: &str, value: String| {
        changes.insert(name.to_owned(), Some(value.into()));
    };
    let url = match way.password {
        Some(password) => format!("http://headset:{password}@{}", way.address),
        None => format!("http://{}", way.address),
    };
    let mut both = |name: &str, value: &str| {
        set(name, value.to_owned());
        set(&name.to_ascii_lowercase(), value.to_owned());
    };
    both("HTTP_PROXY", &url);
    both("HTTPS_PROXY", &url);
    if way.confines {
        both("ALL_PROXY", &url);
    }
    let before = has("NO_PROXY").or_else(|| has("no_proxy"));
    let (exceptions, left_out) = exceptions(before.as_deref().unwrap_or(""), way.origins);
    if !left_out.is_empty() {
        warnings.push(format!(
            "NO_PROXY would lead past headset, so the command does not get this part of it: {}",
            left_out.join(",")
        ));
    }
    both("NO_PROXY", &exceptions.join(","));
    set("NODE_USE_ENV_PROXY", "1".to_owned());
    for name in BUNDLE {
        set(name, trust.bundle.to_owned());
    }
    set(EXTRA, trust.extra.to_owned());
    let java = java(has(JAVA).as_deref(), way, trust, &exceptions);
    set(JAVA, java);
    (changes, warnings)
}

/// The exceptions from the proxy that a child gets: loopback, and those of `before`, but none
/// by which one of `origins` is reached past headset. And those left out.
fn exceptions(before: &str, origins: &[HttpOrigin]) -> (Vec<String>, Vec<String>) {
    let loopback = ["localhost", "127.0.0.1", "::1"];
    let mine = loopback.into_iter().map(|item| (item, false));
    let theirs = before.split(',').map(str::trim);
    let theirs = theirs.filter(|item| !item.is_empty());
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (item, is_theirs) in mine.chain(theirs.map(|item| (item, true))) {
        let leads_past = Exception::parse(item).is_ok_and(|exception| {
            let mut all = origins.iter();
            all.any(|origin| exception.covers(&origin.host, origin.port))
        });
        if leads_past {
            if is_theirs {
                left_out.push(item.to_owned());
            }
        } else if !kept.iter().any(|other| other == item) {
            kept.push(item.to_owned());
        }
    }
    (kept, left_out)
}

/// Java reads no other variable. It knows no password for a proxy, so it is led through
/// headset only where that asks for none.
fn java(
    before: Option<&str>,
    way: &ProxyAccess<'_>,
    trust: &TrustPaths<'_>,
    exceptions: &[String],
) -> String {
    let mut options: Vec<String> = before.map(ToOwned::to_owned).into_iter().collect();
    options.push(format!("-Djavax.net.ssl.trustStore={}", trust.java));
    options.push("-Djavax.net.ssl.trustStoreType=JKS".to_owned());
    if way.password.is_none() {
        for scheme in ["http", "https"] {
            options.push(format!("-D{scheme}.proxyHost={}", way.address.ip()));
            options.push(format!("-D{scheme}.proxyPort={}", way.address.port()));
        }
        let hosts: Vec<String> = exceptions
            .iter()
            .map(|item| match item.strip_prefix('.') {
                Some(domain) => format!("*.{domain}"),
                None if item.contains(':') => format!("[{item}]"),
                None => item.clone(),
            })
            .collect();
        options.push(format!("-Dhttp.nonProxyHosts={}", hosts.join("|")));
    }
    options.join(" ")
}

/// The variables that hold a secret of headset's: those that a secret of `config` is taken
/// from, and those that a program which prints one is given.
pub(super) fn secret_variables(config: &Config) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, source) in config.secrets() {
        match source {
            SecretSource::Env(name) => {
                names.insert(name.clone());
            }
            SecretSource::Command(program) => names.extend(program.env.iter().cloned()),
            SecretSource::File(_) | SecretSource::Generate | SecretSource::Keepers => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::url::HttpUrl;

    fn origin(url: &str) -> HttpOrigin {
        HttpUrl::parse(url).unwrap().origin
    }

    const TRUST: TrustPaths<'static> = TrustPaths {
        bundle: "/run/b.pem",
        extra: "/run/x.pem",
        java: "/run/t.jks",
    };

    fn changed(
        has: &[(&str, &str)],
        password: Option<&str>,
        origins: &[HttpOrigin],
        confines: bool,
    ) -> (BTreeMap<String, Option<String>>, Vec<String>) {
        let has = |name: &str| {
            let found = has.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let way = ProxyAccess {
            address: ([127, 0, 0, 1], 4711).into(),
            password,
            origins,
            confines,
        };
        let secret = BTreeSet::from(["CMS_PASSWORD".to_owned()]);
        let (changes, warnings) = changes(&has, &way, &TRUST, &secret);
        let text = |value: Option<OsString>| value.map(|value| value.into_string().unwrap());
        let changes = changes.into_iter().map(|(name, v)| (name, text(v)));
        (changes.collect(), warnings)
    }

    #[test]
    fn each_well_known_name_leads_through_headset_with_the_password_of_the_run() {
        let (all, warnings) = changed(
            &[],
            Some("s3cret"),
            &[origin("https://api.exotel.com")],
            false,
        );
        let url = Some("http://headset:s3cret@127.0.0.1:4711".to_owned());
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            assert_eq!(all[name], url, "{name}");
        }
        assert!(!all.contains_key("ALL_PROXY") && !all.contains_key("all_proxy"));
        for name in ["NO_PROXY", "no_proxy"] {
            assert_eq!(all[name].as_deref(), Some("localhost,127.0.0.1,::1"));
        }
        for name in BUNDLE {
            assert_eq!(all[name].as_deref(), Some("/run/b.pem"), "{name}");
        }
        assert_eq!(all[EXTRA].as_deref(), Some("/run/x.pem"));
        assert_eq!(all["NODE_USE_ENV_PROXY"].as_deref(), Some("1"));
        assert_eq!(all["CMS_PASSWORD"], None);
        assert!(warnings.is_empty());
        let (confined, _) = changed(&[], Some("s3cret"), &[], true);
        assert_eq!(confined["ALL_PROXY"], url);
        assert_eq!(confined["all_proxy"], url);
    }

    #[test]
    fn no_exception_leads_past_headset() {
        let cms = [
            origin("https://api.exotel.com"),
            origin("http://127.0.0.1:8443"),
        ];
        let no_proxy = "10.0.0.0/8, .exotel.com,intranet.example,api.exotel.com:8443";
        let (all, warnings) = changed(&[("no_proxy", no_proxy)], None, &cms, false);
        assert_eq!(
            all["NO_PROXY"].as_deref(),
            Some("localhost,::1,10.0.0.0/8,intranet.example,api.exotel.com:8443")
        );
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].ends_with(": .exotel.com"), "{warnings:?}");
    }

    #[test]
    fn java_trusts_in_any_case_and_is_led_where_no_password_is_asked_for() {
        let (with, _) = changed(&[(JAVA, "-Xmx1g")], Some("s3cret"), &[], false);
        let options = with[JAVA].as_deref().unwrap();
        assert_eq!(
            options,
            "-Xmx1g -Djavax.net.ssl.trustStore=/run/t.jks -Djavax.net.ssl.trustStoreType=JKS"
        );
        let (without, _) = changed(&[("NO_PROXY", ".corp.example")], None, &[], false);
        let options = without[JAVA].as_deref().unwrap();
        for part in [
            "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4711",
            "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=4711",
            "-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]|*.corp.example",
        ] {
            assert!(options.contains(part), "{options}");
        }
    }
}
