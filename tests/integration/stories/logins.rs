//! Every login of the platform, from a configuration to a call that is let in; and
//! what makes a session live long without making an enemy.

use std::time::Duration;

use headset_simulator::{Faults, Kind, Options, SessionDeadAs, Simulator};

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::process::Process;

/// headset before `center` with one credential of these options; `{base}` and
/// `{folder}` are replaced.
fn before(center: &Simulator, password: &str, options: &str) -> Headset {
    let folder = Folder::new();
    folder.write("password", password);
    let base = center.base_url();
    let toml = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.all]\nupstream = \"{base}\"\ncredential = \"it\"\n[credential.it]\n{options}\n"
    );
    Headset::start(folder, &toml.replace("{base}", &base))
}

const SESSION: &str = r#"
kind = "ameyo_session"
url = "{base}/ameyorestapi/session/userLogin"
username = "doc_admin"
password = { file = "{folder}/password" }
"#;

const JWT: &str = r#"
kind = "ameyo_jwt"
url = "{base}/ameyorestapi/userLogin/login"
username = "supervisor01"
password = { file = "{folder}/password" }
domain = "cms.test.local"
"#;

const CAMPAIGNS: &str = "/ameyorestapi/cc/campaigns/getAssigned";
/// Needs `accountid` beside the JWT and the session.
const SECURE: &str = "/data-engine/things";

#[tokio::test]
async fn a_call_is_let_in_with_what_each_login_yields() {
    let logins = [
        (
            Kind::CcmToken,
            "sim_api_token",
            "kind = \"ccm_token\"\nurl = \"{base}/v2/accounts/acct/configuration/basicauth\"\n\
             username = \"sim_api_key\"\npassword = { file = \"{folder}/password\" }",
            "/v2/accounts/acct/calls",
        ),
        (
            Kind::V4Login,
            "sim_api_token",
            "kind = \"v4_login\"\nurl = \"{base}/v4/accounts/acct/login\"\naccount_sid = \"acct\"\n\
             username = \"sim_api_key\"\npassword = { file = \"{folder}/password\" }",
            "/v2/accounts/acct/calls",
        ),
        (Kind::AmeyoSession, "doc_admin", SESSION, CAMPAIGNS),
        (Kind::AmeyoJwt, "supervisor@123$", JWT, SECURE),
        (
            Kind::IntegrationsToken,
            "sim_integration_secret",
            "kind = \"integrations_token\"\nurl = \"{base}/v2/integrations/token\"\n\
             username = \"sim_integration\"\npassword = { file = \"{folder}/password\" }",
            "/v2/integrations/app",
        ),
        (
            Kind::Oauth2,
            "sim+client/secret%:1",
            "kind = \"oauth2\"\nurl = \"{base}/oauth2/token\"\nusername = \"sim_client\"\n\
             password = { file = \"{folder}/password\" }\nscope = \"calls\"\n\
             resource = [\"https://api.example.com/{a}\", \"urn://b\"]\nextra = [\"tenant=a&b\"]",
            "/oauth2/things",
        ),
        (
            Kind::Oauth2,
            "sim+client/secret%:1",
            "kind = \"oauth2\"\nurl = \"{base}/oauth2/token\"\nusername = \"sim_client\"\n\
             password = { file = \"{folder}/password\" }\nclient_auth = \"client_secret_post\"",
            "/oauth2/things",
        ),
    ];
    for (kind, password, options, path) in logins {
        let center = Simulator::start(Options::default()).await.unwrap();
        let headset = before(&center, password, options);
        headset.ready().await;
        for _ in 0..3 {
            let answer = client::get(headset.app(), path).await;
            assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
        }
        assert_eq!(center.state().of(kind).login_attempts, 1, "{kind:?}");
    }
}

/// The file that users are pointed to, only with other addresses.
#[tokio::test]
async fn the_example_of_a_recipe_logs_in_to_the_second_vendor() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/recipe-acme.toml");
    let toml = std::fs::read_to_string(path)
        .unwrap()
        .replace("https://api.acme.example", &center.base_url())
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("/run/secrets/headset/acme-password", "{folder}/password");
    let folder = Folder::new();
    folder.write("password", "acme_secret");
    let headset = Headset::start(
        folder,
        &format!("{toml}\n[admin]\nbind = \"127.0.0.1:0\"\n"),
    );
    headset.ready().await;
    let answer = client::get(headset.app(), "/acme/things").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(center.state().of(Kind::Acme).login_attempts, 1);
    // An application must not reach what issues the credential.
    let refused = client::get(headset.app(), "/acme/session").await;
    assert_eq!(refused.status, 403, "{}", refused.text());

    center.end_all(Kind::Acme);
    headset.age();
    let answer = client::get(headset.app(), "/acme/things").await;
    assert_eq!(answer.status, 200, "replaced after a 401");
    assert_eq!(center.state().of(Kind::Acme).logins, 2);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_until_its_file_changes() {
    for (kind, user, right, options, path) in [
        (
            Kind::AmeyoSession,
            "doc_admin",
            "doc_admin",
            SESSION,
            CAMPAIGNS,
        ),
        (
            Kind::AmeyoJwt,
            "supervisor01",
            "supervisor@123$",
            JWT,
            SECURE,
        ),
    ] {
        let center = Simulator::start(Options::default()).await.unwrap();
        let headset = before(&center, "not it", options);
        for _ in 0..20 {
            let answer = client::get(headset.app(), path).await;
            assert_eq!(answer.status, 503);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("20203"), "{detail}");
            assert!(!detail.contains("not it"), "{detail}");
        }
        assert_eq!(center.state().of(kind).login_attempts, 1, "{user}");
        assert_eq!(center.state().locked, Vec::<String>::new());
        headset.folder.write("password", right);
        eventually("a login with the right password", async || {
            client::get(headset.app(), path).await.status == 200
        })
        .await;
    }
}

#[tokio::test]
async fn a_locked_account_is_not_tried_again() {
    let center = Simulator::start(Options::default()).await.unwrap();
    center.lock("doc_admin");
    let headset = before(&center, "doc_admin", SESSION);
    let answer = client::get(headset.app(), CAMPAIGNS).await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("blocked"), "{detail}");
    assert_eq!(center.state().of(Kind::AmeyoSession).login_attempts, 1);
    let locked = "headset_mints_total{credential=\"it\",outcome=\"refused\",reason=\"locked\"}";
    assert_eq!(headset.metric(locked).await, Some(1.0));
}

#[tokio::test]
async fn a_login_that_wants_a_new_password_says_so_and_stops() {
    let options = Options {
        faults: Faults {
            password_change_due: true,
            ..Faults::default()
        },
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = before(&center, "supervisor@123$", JWT);
    let answer = client::get(headset.app(), SECURE).await;
    assert_eq!(answer.status, 503);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("shouldChangePassword"), "{detail}");
    client::get(headset.app(), SECURE).await;
    assert_eq!(center.state().of(Kind::AmeyoJwt).login_attempts, 1);
}

#[tokio::test]
async fn a_user_who_is_logged_in_elsewhere_is_left_alone_unless_told_otherwise() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let first = before(&center, "doc_admin", SESSION);
    first.ready().await;
    let second = before(&center, "doc_admin", SESSION);
    let answer = client::get(second.app(), CAMPAIGNS).await;
    assert_eq!(answer.status, 503);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("force_login"), "{detail}");
    assert_eq!(client::get(first.app(), CAMPAIGNS).await.status, 200);

    let forcing = before(
        &center,
        "doc_admin",
        &format!("{SESSION}\nforce_login = true"),
    );
    forcing.ready().await;
    assert_eq!(client::get(forcing.app(), CAMPAIGNS).await.status, 200);
    assert_eq!(center.state().of(Kind::AmeyoSession).evictions, 1);
}

#[tokio::test]
async fn a_session_is_kept_alive_while_calls_use_it_or_always() {
    for keep_alive in ["traffic", "always"] {
        let options = Options {
            faults: Faults {
                session_idle_ms: 3_000,
                ..Faults::default()
            },
            ..Options::default()
        };
        let center = Simulator::start(options).await.unwrap();
        let headset = before(
            &center,
            "doc_admin",
            &format!("{SESSION}\nkeep_alive = \"{keep_alive}\"\nkeep_alive_interval = \"1s\""),
        );
        headset.ready().await;
        eventually("keep-alives for longer than it may idle", async || {
            if keep_alive == "traffic" {
                assert_eq!(client::get(headset.app(), CAMPAIGNS).await.status, 200);
            }
            center.state().of(Kind::AmeyoSession).keep_alives >= 4
        })
        .await;
        assert_eq!(client::get(headset.app(), CAMPAIGNS).await.status, 200);
        assert_eq!(center.state().of(Kind::AmeyoSession).logins, 1);
    }
}

#[tokio::test]
async fn a_session_that_a_sign_of_life_finds_dead_is_replaced_before_a_call_meets_it() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(
        &center,
        "supervisor@123$",
        &format!("{JWT}\nkeep_alive = \"always\"\nkeep_alive_interval = \"1s\""),
    );
    headset.ready().await;
    center.end_all(Kind::AmeyoJwt);
    eventually("a login anew", async || {
        center.state().of(Kind::AmeyoJwt).logins == 2
    })
    .await;
    headset.ready().await;
    assert_eq!(client::get(headset.app(), SECURE).await.status, 200);
    let ended =
        "headset_mints_total{credential=\"it\",outcome=\"success\",reason=\"session_ended\"}";
    assert_eq!(headset.metric(ended).await, Some(1.0));
}

#[tokio::test]
async fn a_session_that_grows_too_old_is_replaced_although_only_one_is_allowed() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(
        &center,
        "doc_admin",
        &format!("{SESSION}\nmax_age = \"3s\""),
    );
    headset.ready().await;
    eventually("two replacements", async || {
        let answer = client::get(headset.app(), CAMPAIGNS).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Between a logout and the login after it none is open.
        let count = center.state().of(Kind::AmeyoSession);
        count.logins >= 3 && count.logouts == count.logins - 1 && count.open == 1
    })
    .await;
    assert_eq!(center.state().of(Kind::AmeyoSession).evictions, 0);
}

#[tokio::test]
async fn a_short_jwt_is_refreshed_in_its_session_without_a_gap() {
    let options = Options {
        faults: Faults {
            ameyo_jwt_life_ms: 3_000,
            ..Faults::default()
        },
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = before(&center, "supervisor@123$", JWT);
    headset.ready().await;
    eventually("three refreshes", async || {
        let answer = client::get(headset.app(), SECURE).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        center.state().of(Kind::AmeyoJwt).refreshes >= 3
    })
    .await;
    assert_eq!(center.state().of(Kind::AmeyoJwt).logins, 1);
}

#[tokio::test]
async fn a_dead_session_is_logged_in_anew_after_the_refresh_says_so() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let headset = before(&center, "supervisor@123$", JWT);
    headset.ready().await;
    center.end_all(Kind::AmeyoJwt);
    headset.age();
    let answer = client::get(headset.app(), SECURE).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let count = center.state().of(Kind::AmeyoJwt);
    assert_eq!(
        (count.refresh_attempts, count.refreshes, count.logins),
        (1, 0, 2)
    );
}

/// Killed, so that nothing was logged out: the next process goes on with the session.
#[tokio::test]
async fn a_session_outlives_a_killed_process_with_all_that_keeps_and_ends_it() {
    let lives = Faults {
        ameyo_jwt_life_ms: 4_000,
        ..Faults::default()
    };
    for (kind, password, options, path) in [
        (Kind::AmeyoSession, "doc_admin", SESSION, CAMPAIGNS),
        (Kind::AmeyoJwt, "supervisor@123$", JWT, SECURE),
    ] {
        let center = Simulator::start(Options {
            faults: lives.clone(),
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = Folder::new();
        folder.write("password", password);
        folder.write("store-key", "0123456789abcdef0123456789abcdef");
        let base = center.base_url();
        let here = folder.path("").display().to_string();
        let toml = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [store]\npath = \"{{folder}}/store\"\nkey = {{ file = \"{{folder}}/store-key\" }}\n\
             [route.all]\nupstream = \"{base}\"\ncredential = \"it\"\n[credential.it]\n\
             {options}\nkeep_alive = \"always\"\nkeep_alive_interval = \"1s\"\n\
             on_shutdown = \"revoke\"\n"
        );
        let toml = toml.replace("{base}", &base);
        let config = folder.write(
            "headset.toml",
            &toml.replace("{folder}", here.trim_end_matches('/')),
        );
        let first = Process::start(&config).await;
        first.ready().await;
        first.kill().await;

        let next = Process::start(&config).await;
        next.ready().await;
        assert_eq!(client::get(next.app(), path).await.status, 200, "{kind:?}");
        let signs = center.state().of(kind).keep_alives;
        eventually("a keep-alive", async || {
            center.state().of(kind).keep_alives > signs
        })
        .await;
        if kind == Kind::AmeyoJwt {
            eventually("a refresh", async || center.state().of(kind).refreshes > 0).await;
        }
        assert_eq!(client::get(next.app(), path).await.status, 200, "{kind:?}");
        assert_eq!(next.terminate().await, Some(0));
        let count = center.state().of(kind);
        assert_eq!((count.logins, count.logouts), (1, 1), "{kind:?}");

        // What was ended is not used again.
        let last = Process::start(&config).await;
        last.ready().await;
        assert_eq!(client::get(last.app(), path).await.status, 200, "{kind:?}");
        assert_eq!(center.state().of(kind).logins, 2, "{kind:?}");
    }
}

#[tokio::test]
async fn an_admin_bearer_can_come_from_another_credential() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    folder.write("bearer", &center.admin_bearer(Duration::ZERO));
    let base = center.base_url();
    let toml = format!(
        r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "{base}"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
admin_bearer = {{ credential = "admin_login" }}
[credential.admin_login]
kind = "static"
bearer = {{ file = "{{folder}}/bearer" }}
"#
    );
    let headset = Headset::start(folder, &toml);
    // The bearer is dead, and says so itself.
    let answer = client::get(headset.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(center.state().registration_attempts, 0);

    let bearer = center.admin_bearer(Duration::from_secs(3600));
    headset.folder.write("bearer", &bearer);
    eventually("a registration with the fresh bearer", async || {
        client::get(headset.app(), "/configuration/cc/1/process")
            .await
            .status
            == 200
    })
    .await;
    let due = "headset_human_action_due_timestamp_seconds{credential=\"cms_key\"}";
    assert_eq!(headset.metric(due).await, None, "it renews itself");
}

/// Nobody tends it: a login yields the bearer that registers what calls carry, and a
/// bearer that was ended is replaced before the next registration.
#[tokio::test]
async fn a_login_registers_the_key_that_calls_carry() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    folder.write("admin-password", "supervisor@123$");
    let base = center.base_url();
    let jwt = JWT
        .replace("{folder}/password", "{folder}/admin-password")
        .replace("{base}", &base);
    let toml = format!(
        r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "{base}"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
lifetime = "6s"
admin_bearer = {{ credential = "admin_login" }}
[credential.admin_login]
{jwt}"#
    );
    let headset = Headset::start(folder, &toml);
    headset.ready().await;
    let path = "/configuration/cc/1/process";
    assert_eq!(client::get(headset.app(), path).await.status, 200);
    let state = center.state();
    assert_eq!(
        (state.registrations, state.of(Kind::AmeyoJwt).logins),
        (1, 1)
    );

    center.end_all(Kind::AmeyoJwt);
    eventually("a registration with the next login", async || {
        let answer = client::get(headset.app(), path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        center.state().registrations + center.state().replacements >= 2
    })
    .await;
    assert_eq!(center.state().of(Kind::AmeyoJwt).logins, 2);
}

#[tokio::test]
async fn a_403_that_names_a_dead_session_counts_as_a_rejection() {
    let options = Options {
        faults: Faults {
            session_dead_as: SessionDeadAs::Forbidden,
            ..Faults::default()
        },
        ..Options::default()
    };
    let center = Simulator::start(options).await.unwrap();
    let headset = before(&center, "doc_admin", SESSION);
    headset.ready().await;
    center.end_all(Kind::AmeyoSession);
    headset.age();
    let answer = client::get(headset.app(), CAMPAIGNS).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(center.state().of(Kind::AmeyoSession).logins, 2);
    // Any other 403 is the caller's own.
    center.faults(Faults {
        forbidden_next: 1,
        ..Faults::default()
    });
    assert_eq!(client::get(headset.app(), CAMPAIGNS).await.status, 403);
    assert_eq!(center.state().of(Kind::AmeyoSession).logins, 2);
}
