//! An upstream, or an issuer, that listens on a Unix socket of this machine.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use headset::app::build::kind_keys;
use headset::config::load::{self, Sources};
use headset_simulator::{Options, Simulator};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

use crate::support::client;
use crate::support::folder::Folder;
use crate::support::headset::{Headset, STATIC, plain, with_static};
use crate::support::recorder::{Recorder, Step};

/// What listens on a Unix socket and hands every byte on to a TCP server of a story.
struct Relay(JoinHandle<()>);

impl Relay {
    fn start(path: &Path, to: SocketAddr) -> Relay {
        let listener = UnixListener::bind(path).unwrap();
        Relay(tokio::spawn(async move {
            loop {
                let Ok((mut unix, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(async move {
                    let mut tcp = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut unix, &mut tcp).await;
                });
            }
        }))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn calls_go_to_a_socket_as_to_a_port_and_share_its_connections() {
    let folder = Folder::new();
    let upstream = Recorder::start([Step::ok("one"), Step::ok("two")]).await;
    let path = folder.path("app.sock");
    let _relay = Relay::start(&path, upstream.address());
    let url = format!("unix:{}:/base", path.display());
    let headset = with_static(&url, "", "");
    for body in ["one", "two"] {
        let answer = client::get(headset.app(), "/v1?x=1").await;
        assert_eq!(answer.text(), body);
    }
    let requests = upstream.requests();
    assert!(
        requests[0].starts_with("GET /base/v1?x=1 HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(requests[0].contains("host: localhost\r\n"), "{requests:?}");
    let with = format!("authorization: {STATIC}\r\n");
    assert!(requests[0].contains(&with), "{requests:?}");
    assert_eq!(upstream.connections(), 1);
    let resting = "headset_upstream_connections{route=\"plain\",state=\"idle\"}";
    assert_eq!(headset.metric(resting).await, Some(1.0));
    let told = client::get(headset.admin(), "/explain?url=/v1").await;
    let there = format!("unix:{}:/base/v1", path.display());
    assert_eq!(told.json()["sent_to"], there);
}

#[tokio::test]
async fn the_host_is_what_the_route_says_and_a_location_leads_back() {
    let folder = Folder::new();
    let moved =
        "HTTP/1.1 302 Found\r\nLocation: http://app.internal/there\r\nContent-Length: 0\r\n\r\n";
    let upstream = Recorder::start([Step::Answer(moved.into())]).await;
    let path = folder.path("app.sock");
    let _relay = Relay::start(&path, upstream.address());
    let url = format!("unix:{}", path.display());
    let headset = plain(&url, "host_header = \"app.internal\"", "");
    let answer = client::get(headset.app(), "/here").await;
    let here = format!("http://{}/there", headset.app());
    assert_eq!(answer.field("location"), Some(&*here));
    assert!(upstream.requests()[0].contains("host: app.internal\r\n"));
}

#[tokio::test]
async fn what_keeps_headset_from_the_socket_is_told_and_a_restart_loses_no_call() {
    let folder = Folder::new();
    let path = folder.path("app.sock");
    let url = format!("unix:{}", path.display());
    let headset = plain(&url, "timeouts.connect_retry = \"0\"", "");
    let told = async || {
        let answer = client::get(headset.app(), "/a").await;
        let told = answer.json();
        assert_eq!(answer.status, 502, "{told}");
        assert_eq!(told["code"], "upstream_unreachable", "{told}");
        assert_eq!(told["reached_upstream"], "no", "{told}");
        told["detail"].as_str().unwrap().to_owned()
    };
    let missing = told().await;
    let named = format!("the socket {} cannot be reached", path.display());
    assert!(
        missing.contains(&named) && missing.contains("no such file"),
        "{missing}"
    );
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let left = told().await;
    assert!(left.contains("nobody listens on it"), "{left}");
    std::fs::remove_file(&path).unwrap();

    // The same with time for a restart: the application comes while the call waits.
    let upstream = Recorder::start([Step::ok("back")]).await;
    let patient = plain(&url, "timeouts.connect_retry = \"20s\"", "");
    let (answer, _relay) = tokio::join!(client::get(patient.app(), "/a"), async {
        // Not before the call has met nothing.
        crate::support::eventually("a failed attempt", async || {
            let failed = "headset_upstream_errors_total{reason=\"connect\",route=\"plain\"}";
            patient.metric(failed).await.unwrap_or_default() >= 1.0
        })
        .await;
        Relay::start(&path, upstream.address())
    });
    assert_eq!(answer.text(), "back");
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
async fn a_socket_that_headset_may_not_write_is_told_with_who_it_is() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root may connect to every socket");
        return;
    }
    let folder = Folder::new();
    let path = folder.path("app.sock");
    let _kept = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let headset = plain(&format!("unix:{}", path.display()), "", "");
    let told = client::get(headset.app(), "/a").await.json();
    let detail = told["detail"].as_str().unwrap();
    assert!(detail.contains("may not connect"), "{detail}");
}

#[tokio::test]
async fn a_credential_may_be_issued_at_a_socket_and_goes_to_that_origin_alone() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let address = center.base_url()["http://".len()..].parse().unwrap();
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    let hour = std::time::Duration::from_secs(3600);
    folder.write("bearer", &center.admin_bearer(hour));
    let path = folder.path("cms.sock");
    let _relay = Relay::start(&path, address);
    let toml = |origins: &str| {
        format!(
            r#"
[listener.app]
bind = "127.0.0.1:0"
[admin]
bind = "127.0.0.1:0"
[route.contacts]
upstream = "unix:{{folder}}/cms.sock"
credential = "cms_key"
[credential.cms_key]
kind = "basicauth"
url = "unix:{{folder}}/cms.sock:/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
admin_bearer = {{ file = "{{folder}}/bearer" }}
{origins}"#
        )
    };
    let elsewhere = toml("origins = [\"http://localhost\"]").replace("{folder}", folder.root());
    let sources = Sources {
        file: Some(folder.write("elsewhere.toml", &elsewhere)),
        ..Sources::default()
    };
    let problems = load::load(&sources, &kind_keys()).unwrap_err();
    assert!(
        problems[0].to_string().contains("does not let"),
        "{problems:?}"
    );
    let headset = Headset::start(folder, &toml(""));
    headset.ready().await;
    assert_eq!(center.state().registrations, 1);
    let answer = client::get(headset.app(), "/configuration/cc/1/process?limit=2").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Nor does a caller get at the issuer through it.
    let refused = client::get(headset.app(), "/configuration/basicauth").await;
    assert_eq!(refused.json()["code"], "issuer_target");
}

#[test]
fn a_socket_of_headsets_own_is_a_problem() {
    let folder = Folder::new();
    let text = "[listener.app]\nbind = \"unix:/run/headset/app.sock\"\n\
                [route.plain]\nupstream = \"unix:/run/headset/app.sock\"\n";
    let sources = Sources {
        file: Some(folder.write("headset.toml", text)),
        ..Sources::default()
    };
    let problems = load::load(&sources, &kind_keys()).unwrap_err();
    let told = problems[0].to_string();
    assert!(
        told.contains("route.plain.upstream") && told.contains("headset itself"),
        "{told}"
    );
}
