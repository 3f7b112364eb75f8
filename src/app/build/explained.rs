//! From a draft to what explains its calls: no slot is open, nothing is asked.

use std::sync::Arc;

use super::blueprints::{forward_matcher, marks, matcher, origins_or_own, sites, target_rules};
use super::draft::PlanDraft;
use super::issuers::issuers;
use crate::config::url::HttpOrigin;
use crate::config::{self, Bind, Config};
use crate::gateway::explain::{
    ExplainedCredential, ExplainedForward, ExplainedListener, ExplainedRoute, Explainer,
};
use crate::gateway::forward::policy::{ForwardPolicy, Site};
use crate::gateway::matcher::in_order;
use crate::gateway::path::IssuerMark;
use crate::gateway::upstream_target::UpstreamTarget;
use crate::net::guard::AddressGuard;

impl PlanDraft {
    /// Explains what would become of a call by this configuration.
    pub fn explainer(&self) -> Explainer {
        let issuers = issuers(&self.credentials);
        let route = |(route, upstream_target, _): &(_, Arc<UpstreamTarget>, _), forwards| {
            let route: &config::RouteConfig = route;
            let credential = self.credential_of(route);
            let has_one = credential.is_some();
            let marks = marks(&issuers, has_one, upstream_target.origin());
            let (matcher, upstream_target) = match forwards {
                true => (
                    forward_matcher(route, has_one, &marks),
                    Arc::new(upstream_target.as_called()),
                ),
                false => (matcher(route, has_one, &marks), upstream_target.clone()),
            };
            ExplainedRoute {
                name: route.name.clone(),
                matcher,
                dialled: (route.resolve.of(&route.upstream.origin)).unwrap_or_default(),
                target: target_rules(route, has_one, &marks, &upstream_target),
                credential,
                tenant: route.tenant.as_ref().map(|rule| rule.header.clone()),
                effect: route.effect,
                replay_401: route.replay_401,
                announce: route.announce,
                drop_odd_names: route.drop_odd_names,
                pass_cookies: route.pass_cookies,
                timeouts: route.timeouts.clone(),
            }
        };
        let explained = |forwards| {
            let all = self.routes.iter().map(|one| route(one, forwards));
            in_order(all.collect(), |route: &ExplainedRoute| &route.matcher)
        };
        let (routes, forward) = (explained(false), explained(true));
        let origins = forward.iter().map(|r| r.target.upstream_target.origin());
        let sites = sites(origins);
        let limits = self.config.limits.clone();
        let listeners = listeners(&self.config, &sites, &issuers);
        Explainer::new((routes, forward), listeners, limits)
    }

    fn credential_of(&self, route: &config::RouteConfig) -> Option<ExplainedCredential> {
        let name = route.credential.as_ref()?;
        let mut all = self.credentials.iter();
        let (credential, mint) = all.find(|(credential, _)| credential.name == *name)?;
        Some(ExplainedCredential {
            name: name.clone(),
            kind: credential.kind,
            sets: mint.facts().header_names.to_vec(),
            origins: origins_or_own(&credential.origins, route),
        })
    }
}

fn listeners(
    config: &Config,
    sites: &[Site],
    issuers: &[(HttpOrigin, IssuerMark)],
) -> Vec<ExplainedListener> {
    let bound = config.listeners.iter().filter_map(|one| match one.bind {
        Bind::Tcp(address) => Some(address),
        Bind::Unix(_) => None,
    });
    let own: Vec<_> = bound.chain([config.admin.bind]).collect();
    let forward = |forward: &config::ForwardConfig| ExplainedForward {
        policy: ForwardPolicy {
            config: forward.clone(),
            sites: sites.to_vec(),
            issuers: issuers.to_vec(),
        },
        guard: AddressGuard::new(forward.private_networks.clone()),
        own: own.clone(),
    };
    let listener = |listener: &config::ListenerConfig| ExplainedListener {
        name: listener.name.clone(),
        port: match &listener.bind {
            Bind::Tcp(address) => Some(address.port()).filter(|port| *port != 0),
            Bind::Unix(_) => None,
        },
        hosts: listener.hosts.clone(),
        wants_proof: listener.caller_token.is_some()
            || listener
                .tls
                .as_ref()
                .is_some_and(|tls| tls.client_ca.is_some()),
        forward: listener.forward.as_ref().map(forward),
    };
    config.listeners.iter().map(listener).collect()
}

#[cfg(test)]
mod tests {
    use crate::app::build::PlanDraft;
    use crate::base::temp_folder::TempFolder;
    use crate::base::time::Clock;
    use crate::gateway::explain::{Explainer, Explanation};
    use crate::gateway::metrics::ConnectOutcome;
    use crate::net::egress::ProcessContext;

    fn explainer(folder: &TempFolder) -> Explainer {
        let secret = folder.write("secret", "s3cret");
        let config = super::super::testing::config(&format!(
            "[route.contacts]\nmatch.path = \"/v1\"\nupstream = \"https://cms.example.com/base\"\n\
             credential = \"key\"\n\
             [route.dialer]\nmatch.path = \"/dial\"\nupstream = \"https://cms.example.com\"\n\
             credential = \"key\"\neffect = \"call\"\nannounce = [\"x_forwarded\"]\n\
             [route.rest]\nmatch.path = \"/open\"\nupstream = \"https://cms.example.com\"\n\
             [credential.key]\nkind = \"static\"\nheaders = {{ hash-key = {{ file = {secret:?} }} }}\n"
        ));
        let draft = PlanDraft::new(config, Clock::system(), ProcessContext::default());
        draft
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .explainer()
    }

    #[test]
    fn a_call_is_explained_by_the_rules_that_it_would_go_by() {
        let folder = TempFolder::new();
        let explainer = explainer(&folder);
        let told = |method: &str, url: &str| explainer.explain(method, url).unwrap();
        let sent = |told: &Explanation| told.sent_to.clone().unwrap();
        let code = |told: &Explanation| told.refused.as_ref().unwrap().code;
        let has = |list: &[String], name: &str| list.iter().any(|item| item == name);

        let get = told("GET", "/v1/contacts?token=hunter2");
        assert_eq!(sent(&get), "https://cms.example.com/base/v1/contacts");
        assert_eq!(get.credential.as_ref().unwrap().0.as_str(), "key");
        for name in [
            "authorization",
            "sessionid",
            "hash-key",
            "proxy-authorization",
        ] {
            assert!(has(&get.removed, name), "{name} in {:?}", get.removed);
        }
        assert!(has(&get.set, "hash-key") && has(&get.set, "host: cms.example.com"));
        assert!(has(&get.kept_back, "set-cookie"));
        assert!(
            !format!("{get:?}").contains("hunter2"),
            "a query is nobody's to repeat"
        );
        let time = get
            .timeouts
            .iter()
            .find(|(key, _)| *key == "credential_wait");
        assert!(time.is_some_and(|(_, time)| time.as_secs() == 5));
        assert!(get.limits.contains(&("replay_body", 64 * 1024)));
        let again: Vec<bool> = get.replay.iter().map(|(_, may)| *may).collect();
        assert_eq!(again, [true, true, true, true, true, false]);

        let ring = told("POST", "http://localhost/dial/1");
        assert!(ring.effect_is_configured && has(&ring.set, "x-forwarded-for"));
        let again: Vec<bool> = ring.replay.iter().map(|(_, may)| *may).collect();
        assert_eq!(again, [true, true, false, false, false, false]);

        let open = told("GET", "/open");
        assert_eq!((&open.credential, &*open.kept_back), (&None, &[][..]));
        assert!(
            !has(&open.removed, "authorization"),
            "the caller's own passes"
        );

        assert_eq!(code(&told("GET", "/nowhere")), "no_route");
        assert_eq!(code(&told("GET", "/v1/%2e%2e/x")), "ambiguous_path");
        assert_eq!(code(&told("TRACE", "/v1")), "trace_refused");
        assert_eq!(
            code(&told("GET", "http://evil.example/v1")),
            "host_not_served"
        );
        // As clients send them, which is without what they leave out or cannot reach.
        let user = told("GET", "http://u:hunter2@localhost/v1/contacts");
        assert_eq!(sent(&user), "https://cms.example.com/base/v1/contacts");
        assert!(
            user.note
                .as_ref()
                .unwrap()
                .contains("`Authorization: Basic`")
        );
        assert!(!format!("{user:?}").contains("hunter2"));
        for url in ["http://localhost:99999/v1", "http://localhost:0/v1"] {
            let why = explainer.explain("GET", url).unwrap_err();
            assert!(why.contains("65535"), "{url}: {why}");
        }
        assert!(explainer.explain("GET", "*").is_err());
        assert!(explainer.explain("GET", "what").is_err());
        assert!(explainer.explain("GE T", "/v1").is_err());
        for small in ["get", "Post"] {
            let why = explainer.explain(small, "/v1").unwrap_err();
            assert!(why.contains("in capitals"), "{why}");
        }
        // One that only looks like nothing known is what it is.
        assert!(explainer.explain("purge", "/v1").is_ok());
    }

    #[test]
    fn a_reverse_listener_opens_no_tunnels_and_is_at_its_own_port() {
        let explainer = PlanDraft::new(
            super::super::testing::config(
                "[listener.other]\nbind = \"127.0.0.1:8099\"\n\
                 [route.rest]\nupstream = \"https://cms.example.com\"\n",
            ),
            Clock::system(),
            ProcessContext::default(),
        );
        let explainer = explainer.unwrap().explainer();
        let all = explainer.explain("OPTIONS", "*").unwrap();
        assert_eq!(all.sent_to.as_deref(), Some("https://cms.example.com"));
        let connect = explainer.explain("CONNECT", "cms.example.com:443").unwrap();
        assert_eq!(connect.path, "cms.example.com:443");
        let refused = connect.refused.unwrap();
        assert_eq!(
            (refused.status.as_u16(), refused.code),
            (403, "connect_refused")
        );
        let at = |url: &str| {
            let told = explainer.explain("GET", url).unwrap();
            let names = told.listeners.iter().map(|(name, _)| name.to_string());
            (names.collect::<Vec<_>>().join(" "), told.note)
        };
        assert_eq!(at("http://127.0.0.1:8099/a"), ("other".into(), None));
        assert_eq!(
            at("http://127.0.0.1:8100/a"),
            ("app".into(), None),
            "whose port the machine chooses"
        );
        let fixed =
            super::super::testing::config("[route.rest]\nupstream = \"https://cms.example.com\"\n");
        let mut fixed = fixed;
        fixed.listeners[0].bind = crate::config::Bind::Tcp(([127, 0, 0, 1], 8080).into());
        let draft = PlanDraft::new(fixed, Clock::system(), ProcessContext::default());
        let explainer = draft.unwrap().explainer();
        let told = explainer.explain("GET", "http://127.0.0.1:9999/a");
        let note = told.unwrap().note.unwrap();
        assert!(note.contains("no listener has port 9999"), "{note}");
        let connect = explainer.explain("CONNECT", "cms.example.com:443");
        assert_eq!(connect.unwrap().note, None);
    }

    #[test]
    fn a_forward_listener_goes_by_what_a_call_names() {
        let folder = TempFolder::new();
        let secret = folder.write("secret", "s3cret");
        let config = super::super::testing::config(&format!(
            "[listener.proxy]\nbind = \"127.0.0.1:3128\"\nmode = \"forward\"\n\
             [listener.strict]\nbind = \"127.0.0.1:3129\"\nmode = \"forward\"\nelsewhere = \"refuse\"\n\
             [route.contacts]\nmatch.path = \"/v1\"\nupstream = \"https://cms.example.com/base\"\n\
             credential = \"key\"\n\
             [credential.key]\nkind = \"static\"\nheaders = {{ hash-key = {{ file = {secret:?} }} }}\n"
        ));
        let draft = PlanDraft::new(config, Clock::system(), ProcessContext::default());
        let explainer = draft
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .explainer();
        let told = |method: &str, url: &str| explainer.explain(method, url).unwrap();
        let code = |told: &Explanation| told.refused.as_ref().map(|refused| refused.code);
        let on = |told: &Explanation| {
            let names = told.listeners.iter().map(|(name, _)| name.as_str());
            names.collect::<Vec<_>>().join(" ")
        };

        let call = told("GET", "https://cms.example.com/base/v1/a");
        assert_eq!(call.connect, Some(ConnectOutcome::Opened));
        let sent = call.sent_to.as_deref();
        assert_eq!(sent, Some("https://cms.example.com/base/v1/a"));
        assert_eq!(call.credential.as_ref().unwrap().0.as_str(), "key");
        assert_eq!(on(&call), "proxy strict");
        // The reverse listener's own paths lead there as well.
        let call = told("GET", "http://127.0.0.1:8080/v1/a");
        assert_eq!(call.sent_to.as_deref(), sent);
        assert_eq!((on(&call), call.connect), ("app".into(), None));
        assert_eq!(on(&told("GET", "/v1/a")), "app");
        assert_eq!(
            code(&told("GET", "https://cms.example.com/v1")),
            Some("no_route")
        );
        let dots = told("GET", "https://cms.example.com/base/v1/%2e%2e/x");
        assert_eq!(code(&dots), Some("ambiguous_path"));

        let opened = told("CONNECT", "cms.example.com:443");
        assert_eq!(opened.connect, Some(ConnectOutcome::Opened));
        assert_eq!((code(&opened), &opened.sent_to), (None, &None));
        for (method, url) in [
            ("CONNECT", "github.com:443"),
            ("GET", "https://github.com/a"),
        ] {
            let tunnelled = told(method, url);
            assert_eq!(tunnelled.connect, Some(ConnectOutcome::Tunnelled), "{url}");
            assert_eq!(tunnelled.sent_to.as_deref(), Some("github.com:443"));
            assert_eq!(tunnelled.route, None, "none that is configured");
            assert_eq!((on(&tunnelled), &*tunnelled.set), ("proxy".into(), &[][..]));
        }
        assert_eq!(code(&told("CONNECT", "github.com:25")), Some("tunnel_port"));
        // What nobody knows before the look-up is said, and not promised.
        let note = told("CONNECT", "github.com:443").note.unwrap();
        assert!(note.contains("judged when it is looked up"), "{note}");
        assert_eq!(told("CONNECT", "192.0.32.8:443").note, None);
        let refused = told("CONNECT", "github.com:25");
        assert_eq!(refused.note, None, "nothing of it is looked up");
        for url in [
            "http://169.254.169.254/",
            "http://127.1/",
            "http://10.0.0.1/",
            "http://localhost:3128/",
            "http://api.localhost:81/",
            "http://metadata.google.internal/",
        ] {
            assert_eq!(code(&told("GET", url)), Some("target_forbidden"), "{url}");
        }
        // Whoever means the route by another scheme is told.
        let near = told("GET", "http://cms.example.com/base/v1");
        assert_eq!((&near.credential, on(&near)), (&None, "proxy".into()));
        assert!(
            near.note
                .unwrap()
                .contains("leads to https://cms.example.com")
        );
        assert!(explainer.explain("CONNECT", "what is this").is_err());
    }
}
