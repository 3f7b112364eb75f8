//! What is told of an authority: whose it is, for whom, until when, and how to trust it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::base::time::rfc3339;
use crate::cli::report::span;
use crate::net::tls::authority::AuthorityFacts;

/// How each ecosystem is told to trust a file: who, and by what. `{}` is the file.
const WAYS: [(&str, &str); 11] = [
    (
        "any program",
        "headset run -- COMMAND sets all of this for one",
    ),
    ("curl", "CURL_CA_BUNDLE={}, or --cacert {}"),
    (
        "Python",
        "SSL_CERT_FILE={}; requests and pip: REQUESTS_CA_BUNDLE={}, PIP_CERT={}",
    ),
    (
        "Node",
        "NODE_EXTRA_CA_CERTS={}, besides its own; NODE_USE_ENV_PROXY=1 makes it use HTTPS_PROXY",
    ),
    ("Deno", "DENO_CERT={}"),
    ("Go, Ruby", "SSL_CERT_FILE={}"),
    (".NET on Linux", "SSL_CERT_FILE={}"),
    (
        "Java",
        "keytool -importcert -noprompt -alias headset -file {} -keystore trust.p12 -storepass changeit, then -Djavax.net.ssl.trustStore=trust.p12",
    ),
    ("git", "GIT_SSL_CAINFO={}"),
    ("AWS", "AWS_CA_BUNDLE={}"),
    (
        "a container",
        "copy it to /usr/local/share/ca-certificates/headset.crt and run update-ca-certificates",
    ),
];

/// Everything.
pub(super) fn all(cert: &Path, facts: &[AuthorityFacts], now_ms: i64) -> String {
    let mut text = summary(cert, facts, now_ms);
    let file = cert.display().to_string();
    text.push_str(
        "\nHow to trust it (most of these replace the authorities that a program trusts: where it also\n\
         calls other sites, give it a copy of the system's bundle with this file at its end)\n",
    );
    for (who, way) in WAYS {
        let _ = writeln!(text, "  {who:<14} {}", way.replace("{}", &file));
    }
    text
}

/// Whose it is, for whom and until when; and what else stands in its file.
pub(super) fn summary(cert: &Path, facts: &[AuthorityFacts], now_ms: i64) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", cert.display());
    for (index, one) in facts.iter().enumerate() {
        let role = match index {
            0 => "authority",
            _ => "beside it",
        };
        let hosts = match &one.hosts {
            Some(hosts) => hosts.join(", "),
            None => {
                "ANY HOST: who gets hold of its key can pose as any to those who trust it".into()
            }
        };
        let end = one.expires.map(|end| end.saturating_mul(1000));
        let end = end.map_or_else(|| "-".into(), |end| ends(end, now_ms));
        let _ = writeln!(text, "  {role:<12} {}", one.subject);
        let _ = writeln!(text, "  {:<12} {hosts}", "signs for");
        let _ = writeln!(text, "  {:<12} {end}", "ends");
        let _ = writeln!(text, "  {:<12} {}", "SHA-256", one.fingerprint);
    }
    text
}

/// Where its key is.
pub(super) fn key(path: &Path) -> String {
    format!(
        "  {:<12} {}, for its owner alone (mode 0600)\n",
        "key",
        path.display()
    )
}

/// What there is still to do.
pub(super) fn next(cert: &Path) -> String {
    format!(
        "Next: have applications trust {}: `headset ca show` says how.\n",
        cert.display()
    )
}

fn ends(end_ms: i64, now_ms: i64) -> String {
    let left = end_ms.saturating_sub(now_ms);
    let far = span(Duration::from_millis(left.unsigned_abs()));
    match left {
        ..0 => format!("{} (HAS ENDED {far} ago)", rfc3339(end_ms)),
        _ => format!("{} (in {far})", rfc3339(end_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_told_with_its_hosts_its_end_and_how_to_trust_it() {
        let facts = AuthorityFacts {
            subject: "O=headset, CN=headset local CA 01020304".into(),
            hosts: Some(vec!["api.exotel.com".into(), "10.0.0.7".into()]),
            expires: Some(1_800_000_000),
            fingerprint: "AB:CD".into(),
            of_run: false,
        };
        let any = AuthorityFacts {
            hosts: None,
            ..facts.clone()
        };
        let now_ms = 1_800_000_000_000 - 3 * 86_400_000;
        let text = all(Path::new("/etc/headset/ca.pem"), &[facts, any], now_ms);
        for part in [
            "authority    O=headset, CN=headset local CA 01020304",
            "signs for    api.exotel.com, 10.0.0.7",
            "ends         2027-01-15T08:00:00Z (in 3 days)",
            "SHA-256      AB:CD",
            "beside it    ",
            "ANY HOST",
            "NODE_EXTRA_CA_CERTS=/etc/headset/ca.pem,",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(ends(0, 86_400_000).contains("HAS ENDED 1 day ago"));
    }
}
