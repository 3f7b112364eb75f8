//! Which targets issue credentials, so that no call fetches one for its caller.

use std::sync::Arc;

use crate::config;
use crate::config::url::HttpOrigin;
use crate::credential::Mint;
use crate::gateway::path::IssuerMark;

/// Where each of `credentials` is issued, looked up and ended.
pub(super) fn issuers(
    credentials: &[(config::CredentialConfig, Arc<dyn Mint>)],
) -> Vec<(HttpOrigin, IssuerMark)> {
    credentials
        .iter()
        .flat_map(|(_, mint)| mint.facts().issuer_urls.clone())
        .filter_map(|url| Some((url.origin, IssuerMark::of(&url.path)?)))
        .collect()
}

/// The marks of all issuers.
pub(super) fn marks_anywhere(issuers: &[(HttpOrigin, IssuerMark)]) -> Vec<IssuerMark> {
    let mut marks: Vec<IssuerMark> = issuers.iter().map(|(_, mark)| mark.clone()).collect();
    marks.dedup();
    marks
}

/// The marks of what is issued at `origin`. The scheme does not count, and the names
/// of loopback are one host: neither makes another server of it.
pub(super) fn marks_at(
    issuers: &[(HttpOrigin, IssuerMark)],
    origin: &HttpOrigin,
) -> Vec<IssuerMark> {
    let mut marks: Vec<IssuerMark> = issuers
        .iter()
        .filter(|(at, _)| at.is_same_server(origin))
        .map(|(_, mark)| mark.clone())
        .collect();
    marks.dedup();
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::url::HttpUrl;

    #[test]
    fn an_issuer_is_known_by_every_name_of_its_host() {
        let url = |text: &str| HttpUrl::parse(text).unwrap();
        let guarded = |issuer: &str, upstream: &str| {
            let mark = IssuerMark::of("/configuration/basicauth").unwrap();
            let issuers = [(url(issuer).origin, mark)];
            !marks_at(&issuers, &url(upstream).origin).is_empty()
        };
        for alias in [
            "http://localhost:99",
            "https://LOCALHOST.:99",
            "http://127.0.0.2:99",
            "http://[::1]:99",
            "http://[::ffff:127.0.0.1]:99",
            "http://0.0.0.0:99",
            "http://[::]:99",
        ] {
            assert!(guarded("http://127.0.0.1:99/x", alias), "{alias}");
        }
        assert!(guarded(
            "https://cms.example.com:8443",
            "https://CMS.example.com.:8443"
        ));
        assert!(!guarded("http://127.0.0.1:99", "http://127.0.0.1:98"));
        assert!(guarded("unix:/run/a:/x", "unix:/run/a"));
        assert!(!guarded("unix:/run/a", "unix:/run/b"));
        assert!(!guarded(
            "https://cms.example.com",
            "https://other.example.com"
        ));
    }
}
