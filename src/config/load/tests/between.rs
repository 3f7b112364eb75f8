//! What keys owe each other.

use super::*;

#[test]
fn off_loopback_someone_must_say_who_may_call() {
    let refused = problems_of("127.0.0.1:8080", "0.0.0.0:8080");
    only(
        &refused,
        &[
            "h.toml:3:1",
            "set listener.app.caller_token, listener.app.tls.client_ca or listener.app.dangerous_allow_any_caller = true",
        ],
    );
    let with = |keys: &str| {
        load_text(&GOOD.replace("127.0.0.1:8080\"", &format!("0.0.0.0:8080\"\n{keys} #\"")))
    };
    let warned = with("caller_token = { file = \"/t\" }").unwrap().warnings;
    assert!(
        warned.iter().any(|w| w.key == "listener.app.caller_token"),
        "{warned:?}"
    );
    let tls = "tls.cert = \"/c\"\ntls.key = \"/k\"\n";
    let secured = with(&format!("{tls}caller_token = {{ file = \"/t\" }}")).unwrap();
    assert!(
        secured
            .warnings
            .iter()
            .all(|w| !w.key.contains("caller_token"))
    );
    let mutual = with(&format!("{tls}tls.client_ca = \"/a\"")).unwrap();
    let files = mutual.listeners[0].tls.clone().unwrap();
    assert_eq!(files.client_ca.as_deref(), Some(std::path::Path::new("/a")));
    // TLS alone tells nothing about who calls.
    only(&shown(with(tls)), &["h.toml:3:1", "client_ca"]);
    let open = "0.0.0.0:8080\"\ndangerous_allow_any_caller = true #\"";
    let config = load_text(&GOOD.replace("127.0.0.1:8080\"", open)).unwrap();
    assert!(config.listeners[0].hosts.is_empty(), "any name");
    assert!(load_text(&GOOD.replace("127.0.0.1:8080", "unix:/run/h.sock")).is_ok());
    assert!(load_text(&GOOD.replace("127.0.0.1:8080", "[::1]:8080")).is_ok());
}

#[test]
fn forward_listeners_tell_routes_of_one_path_apart_by_where_they_lead() {
    let routes = "[route.one]\nupstream = \"https://one.example.com\"\n\
                  [route.two]\nupstream = \"https://two.example.com\"\n";
    let with = |listeners: &str| load_text(&format!("{listeners}{routes}"));
    let forward = "[listener.proxy]\nbind = \"127.0.0.1:3128\"\nmode = \"forward\"\n";
    assert_eq!(with(forward).unwrap().routes.len(), 2);
    let reverse = "[listener.app]\nbind = \"127.0.0.1:8080\"\n";
    only(
        &shown(with(&format!("{forward}{reverse}"))),
        &["route.two.match", "route.one matches path / too"],
    );
}

#[test]
fn the_tls_of_a_listener_is_whole_and_on_no_unix_socket() {
    let with = |bind: &str, keys: &str| {
        shown(load_text(&GOOD.replace(
            "127.0.0.1:8080\"",
            &format!("{bind}\"\n{keys} #\""),
        )))
    };
    let tcp = "127.0.0.1:8080";
    let cert = with(tcp, "tls.cert = \"/c\"");
    only(
        &cert,
        &["h.toml:4:5: listener.app.tls.key", "tls.cert is set"],
    );
    only(&with(tcp, "tls.key = \"/k\""), &["listener.app.tls.cert"]);
    assert_eq!(with(tcp, "tls.client_ca = \"/a\"").len(), 2);
    let unix = "unix:/run/h.sock";
    let both = with(unix, "tls.cert = \"/c\"\ntls.key = \"/k\"");
    only(&both, &["Unix socket"]);
}

#[test]
fn two_routes_cannot_match_the_same() {
    let more = "[route.contacts]\nmatch = { path = \"/v1/cc-list/\", host = \"cms.LOCAL\" }\nupstream = \"https://b\"\n[route.other]";
    only(
        &problems_of("[route.contacts]", more),
        &["route.other.match", "route.contacts matches"],
    );
}

#[test]
fn a_route_to_headset_itself_is_refused() {
    for own in ["http://127.0.0.1:8080", "http://localhost:9464/x"] {
        only(
            &problems_of(
                "upstream = \"https://cms.example.com:8443\"",
                &format!("upstream = \"{own}\""),
            ),
            &["headset itself"],
        );
    }
}

#[test]
fn a_credential_may_not_leave_its_origins() {
    let narrow = "kind = \"basicauth\"\norigins = [\"https://other.example\"]";
    only(
        &problems_of("kind = \"basicauth\"", narrow),
        &["route.contacts.upstream", "cms_key.origins"],
    );
    let wide = "kind = \"basicauth\"\norigins = [\"https://cms.example.com:8443\"]";
    assert!(load_text(&GOOD.replace("kind = \"basicauth\"", wide)).is_ok());
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = GOOD.replace("credential = \"cms_key\"", "replay_401 = true")
        + "[route.clear]\nmatch.path = \"/clear\"\nupstream = \"http://cms.example.com\"\ncredential = \"other\"\n\
           [credential.other]\nkind = \"static\"\nbearer.file = \"/b\"\n";
    let config = load_text(&text).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    let all = warnings.join("\n");
    for part in [
        "route.contacts.replay_401",
        "in clear",
        "credential.cms_key: no route",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn a_route_overrides_times_and_trust() {
    let text = GOOD.replace(
        "[route.contacts]",
        "[upstream_tls]\nca = \"/all.pem\"\nserver_name = \"all\"\n[timeouts]\nidle = \"0\"\n[route.contacts]\neffect = \"call\"\ntimeouts.connect = \"1s\"\nupstream_tls.roots = \"bundled\"",
    );
    let config = load_text(&text).unwrap();
    let route = &config.routes[0];
    assert_eq!(route.effect, Some(Effect::Call));
    assert_eq!(route.timeouts.connect.as_secs(), 1);
    assert!(route.timeouts.idle.is_zero());
    assert_eq!(
        (route.tls.roots, route.tls.ca.is_none()),
        (Roots::Bundled, true)
    );
    assert_eq!(route.tls.server_name.as_deref(), Some("all"));
    assert!(config.credentials[0].tls.ca.is_some());
}
