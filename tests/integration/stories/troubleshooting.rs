//! `docs/troubleshooting.md`: each row is made, and looks as the page says.

use std::process::Command;
use std::time::Duration;

use headset_simulator::{Options, Simulator};
use tokio::net::TcpListener;

use crate::support::certificates::Certificate;
use crate::support::client::{self, Answer};
use crate::support::folder::Folder;
use crate::support::headset::{Headset, Setup, plain, with_static};
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_upstream::{Speaks, TlsUpstream};

/// The first column of the page's table, without its head.
fn rows() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/troubleshooting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let first = rows.map(|row| row.split(" | ").next().unwrap().to_owned());
    first.filter(|row| row != "You see").collect()
}

/// Where nobody listens.
fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", free.local_addr().unwrap())
}

async fn get(headset: &Headset, fields: &[(&str, &str)]) -> Answer {
    client::call(headset.app(), "GET", "/a", fields, b"").await
}

/// Before a contact center whose credential cannot be had, for a reason that `change` makes.
async fn without_credential(change: impl FnOnce(&mut Setup)) -> Answer {
    let center = Simulator::start(Options::default()).await.unwrap();
    let mut setup = Setup {
        wait_ready: false,
        rest: "[timeouts]\nmint = \"2s\"".into(),
        ..Setup::default()
    };
    change(&mut setup);
    let headset = setup.before(&center).await;
    get(&headset, &[]).await
}

/// A holder of the fleet whose store is at `address`.
fn holder(address: &str, more: &str) -> Headset {
    let folder = Folder::new();
    folder.write("key", "0123456789abcdef0123456789abcdef");
    let toml = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [store]\nurl = \"redis://{address}\"\nkey = {{ file = \"{{folder}}/key\" }}\n\
         [fleet]\nrole = \"holder\"\n\
         [route.a]\nupstream = \"{0}\"\ncredential = \"key\"\n[credential.key]\n\
         kind = \"basicauth\"\nurl = \"{0}/b\"\nusername = \"u\"\ncontext_id = \"1\"\n{more}",
        nobody()
    );
    Headset::start(folder, &toml)
}

/// Runs `headset run` with the file `toml` to its end.
fn ended(toml: &str) -> (Option<i32>, String) {
    let folder = Folder::new();
    let file = folder.write("headset.toml", toml);
    let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(["run", "--config"]).arg(file).env_clear();
    let out = command.output().unwrap();
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

/// Makes what the row `row` says and holds it against the row.
async fn make(row: &str) {
    let answer = match row {
        "connection refused" => {
            let address = nobody().replace("http://", "");
            let error = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            return;
        }
        "404 `no_route`" => get(&plain(&nobody(), "match.path = \"/b\"", ""), &[]).await,
        "421 `host_not_served`" => {
            let headset = plain(&nobody(), "", "");
            let call = "GET /a HTTP/1.1\r\nHost: crm.example.com\r\nConnection: close\r\n\r\n";
            client::raw(headset.app(), call).await.unwrap()
        }
        "403 `caller_token`" => {
            let folder = Folder::new();
            folder.write("token", "a-token-for-callers");
            let toml = format!(
                "[listener.app]\nbind = \"127.0.0.1:0\"\n\
                 caller_token = {{ file = \"{{folder}}/token\" }}\n\
                 [admin]\nbind = \"127.0.0.1:0\"\n[route.a]\nupstream = \"{}\"\n",
                nobody()
            );
            get(&Headset::start(folder, &toml), &[]).await
        }
        "403 `cross_site`" => {
            get(
                &plain(&nobody(), "", ""),
                &[("sec-fetch-site", "cross-site")],
            )
            .await
        }
        "403 `issuer_target`" => {
            let center = Simulator::start(Options::default()).await.unwrap();
            let headset = Headset::before(&center).await;
            client::get(headset.app(), "/configuration/basicauth").await
        }
        "400 `ambiguous_path`" => {
            let headset = with_static(&nobody(), "", "");
            client::get(headset.app(), "/a/..%2fb").await
        }
        "503 `credential_unavailable`, and `cannot be read`" => {
            let folder = Folder::new();
            let toml = format!(
                "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
                 [route.a]\nupstream = \"{}\"\ncredential = \"key\"\n[credential.key]\n\
                 kind = \"static\"\nbearer = {{ file = \"{{folder}}/missing\" }}\n",
                nobody()
            );
            get(&Headset::start(folder, &toml), &[]).await
        }
        "503 `credential_unavailable`, and `bearer has expired`" => {
            without_credential(|setup| setup.bearer_life = Duration::ZERO).await
        }
        "503 `credential_unavailable`, and `connect`" => {
            let folder = Folder::new();
            folder.write("password", "p");
            let toml = format!(
                "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
                 [route.a]\nupstream = \"{0}\"\ncredential = \"key\"\n[credential.key]\n\
                 kind = \"ccm_token\"\nurl = \"{0}/token\"\nusername = \"u\"\n\
                 password = {{ file = \"{{folder}}/password\" }}\n",
                nobody()
            );
            get(&Headset::start(folder, &toml), &[]).await
        }
        "503 `credential_unavailable`, and `no keeper has published`" => {
            // Connects, and is not answered within the time that a call may wait.
            let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let wait = "[timeouts]\ncredential_wait = \"100ms\"\n";
            get(
                &holder(&silent.local_addr().unwrap().to_string(), wait),
                &[],
            )
            .await
        }
        "503 `credential_unavailable`, and `a holder reads`" => {
            let address = nobody().replace("http://", "");
            get(&holder(&address, ""), &[]).await
        }
        "502 `upstream_unreachable`" => {
            get(&plain(&nobody(), "timeouts.connect_retry = \"0\"", ""), &[]).await
        }
        "502 `upstream_tls`" => {
            let upstream = TlsUpstream::start(Speaks::with(&Certificate::self_signed())).await;
            get(&plain(&upstream.url(), "", ""), &[]).await
        }
        "502 `upstream_nonsense`" => {
            let upstream = TlsUpstream::start(Speaks::with(&Certificate::self_signed())).await;
            let url = upstream.url().replace("https://", "http://");
            get(&plain(&url, "", ""), &[]).await
        }
        "502 `upstream_closed`" => {
            let upstream = Recorder::start([Step::Close]).await;
            let headset = plain(&upstream.url(), "", "");
            client::call(headset.app(), "POST", "/a", &[], b"x").await
        }
        "504 `upstream_timeout`" => {
            let upstream = Recorder::start([Step::Silence]).await;
            get(
                &plain(&upstream.url(), "timeouts.first_byte = \"50ms\"", ""),
                &[],
            )
            .await
        }
        "401" => {
            let upstream = Recorder::start([Step::status(401)]).await;
            let answer = get(&with_static(&upstream.url(), "", ""), &[]).await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (401, ""),
                "untouched"
            );
            return;
        }
        "exit code 78" => {
            let (code, said) = ended("[listener.app]\nbnd = \"127.0.0.1:0\"\n");
            assert_eq!(code, Some(78));
            assert!(
                said.contains("headset.toml:2:1:") && said.contains("problems"),
                "{said}"
            );
            return;
        }
        "exit code 69, `cannot listen`" => {
            let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (code, said) = ended(&format!(
                "[listener.app]\nbind = \"{}\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
                 [route.a]\nupstream = \"http://127.0.0.1:1\"\n",
                taken.local_addr().unwrap()
            ));
            assert_eq!(code, Some(69));
            assert!(said.contains("cannot listen"), "{said}");
            return;
        }
        other => panic!("nothing makes the row {other:?}: write it here"),
    };
    let told = answer.json();
    assert!(row.starts_with(&answer.status.to_string()), "{row}: {told}");
    let mut words = row.split('`').skip(1).step_by(2);
    assert_eq!(told["code"], words.next().unwrap(), "{row}: {told}");
    for word in words {
        assert!(
            told["detail"].as_str().unwrap().contains(word),
            "{row}: {told}"
        );
    }
}

#[tokio::test]
async fn each_row_of_the_page_is_what_one_sees() {
    let rows = rows();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        make(&row).await;
    }
}
