//! What callers may not reach through headset (server-side request forgery), however they
//! spell it.

use super::{connect, keyed, refused_of};
use crate::support::client::{self, Raw};
use crate::support::headset::Headset;
use crate::support::recorder::{Recorder, Step};

/// Targets with what is wrong with them, refused by the usual policy.
const TARGETS: [(&str, &str); 45] = [
    // This machine.
    ("127.0.0.1", "this machine or of a private network"),
    ("127.0.0.2", "this machine or of a private network"),
    ("127.255.255.254", "this machine or of a private network"),
    ("localhost", "this machine or of a private network"),
    ("LOCALHOST.", "this machine or of a private network"),
    ("[::1]", "this machine or of a private network"),
    ("[0:0:0:0:0:0:0:1]", "this machine or of a private network"),
    ("0.0.0.0", "no address of a machine"),
    ("[::]", "no address of a machine"),
    // The same in other spellings.
    ("2130706433", "a spelling"),
    ("017700000001", "a spelling"),
    ("0x7f000001", "a spelling"),
    ("0x7F.0.0.1", "a spelling"),
    ("0177.0.0.1", "a spelling"),
    ("127.1", "a spelling"),
    ("127.0.1", "a spelling"),
    ("127.0.0.0x1", "a spelling"),
    ("0", "a spelling"),
    ("127.0.0.1.", "this machine or of a private network"),
    ("[::ffff:127.0.0.1]", "this machine or of a private network"),
    ("[::ffff:7f00:1]", "this machine or of a private network"),
    ("[::127.0.0.1]", "this machine or of a private network"),
    (
        "[64:ff9b::127.0.0.1]",
        "this machine or of a private network",
    ),
    (
        "[64:ff9b:1::127.0.0.1]",
        "this machine or of a private network",
    ),
    ("[2002:7f00:1::]", "this machine or of a private network"),
    (
        "[2001:0:1:2:3:4:80ff:fffe]",
        "this machine or of a private network",
    ),
    // Its network.
    ("10.0.0.1", "this machine or of a private network"),
    ("172.16.0.1", "this machine or of a private network"),
    ("192.168.0.1", "this machine or of a private network"),
    ("100.64.0.1", "this machine or of a private network"),
    ("[fd12:3456::1]", "this machine or of a private network"),
    ("[::ffff:10.0.0.1]", "this machine or of a private network"),
    // Link-local, with and without a zone.
    ("169.254.1.1", "link-local"),
    ("[fe80::1]", "link-local"),
    ("[fe80::1%25eth0]", "a spelling"),
    // The metadata services of clouds.
    ("169.254.169.254", "metadata service"),
    ("[::ffff:169.254.169.254]", "metadata service"),
    ("2852039166", "a spelling"),
    ("0xa9fea9fe", "a spelling"),
    ("100.100.100.200", "metadata service"),
    ("168.63.129.16", "metadata service"),
    ("[fd00:ec2::254]", "metadata service"),
    ("metadata.google.internal", "metadata service"),
    ("METADATA.google.internal.", "metadata service"),
    ("instance-data", "metadata service"),
];

/// What comes of a tunnel and of a call to `host`, which must end in the same way.
async fn both(headset: &Headset, host: &str) -> String {
    let tunnel = client::raw(headset.app(), connect(&format!("{host}:443"), "")).await;
    let call = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let call = client::raw(headset.app(), call).await;
    let told = [tunnel, call].map(|answer| {
        let answer = answer.unwrap_or_else(|| panic!("{host}: no answer"));
        (
            answer.status,
            refused_of(&answer),
            answer.json()["detail"].as_str().unwrap().to_owned(),
        )
    });
    assert_eq!(told[0], told[1], "{host}");
    let (status, code, detail) = &told[0];
    assert_eq!(
        (*status, &**code),
        (403, "target_forbidden"),
        "{host}: {detail}"
    );
    detail.clone()
}

#[tokio::test]
async fn no_target_on_this_machine_its_network_or_its_cloud_is_reached() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, "");
    for (host, why) in TARGETS {
        let detail = both(&headset, host).await;
        assert!(detail.contains(why), "{host}: {detail}");
        // Named, so that who reads it knows which.
        let plain = host.to_lowercase();
        let plain = plain.trim_end_matches('.');
        let is_spelt_anew = plain.starts_with('[');
        assert!(is_spelt_anew || detail.contains(plain), "{host}: {detail}");
    }
    let counted = "headset_requests_refused_total{listener=\"app\",reason=\"forbidden_target\"}";
    assert_eq!(
        headset.metric(counted).await,
        Some(2.0 * TARGETS.len() as f64)
    );
}

#[tokio::test]
async fn headset_itself_is_no_target_even_where_all_networks_are_open() {
    let cms = Recorder::start([Step::ok("")]).await;
    let open = "private_networks = [\"0.0.0.0/0\", \"::/0\"]\ntunnel_ports = [\"*\"]";
    let headset = keyed(&cms, open);
    for own in [headset.app(), headset.admin()] {
        let port = own.port();
        for host in [
            "127.0.0.1",
            "localhost",
            "LocalHost.",
            "2130706433",
            "0x7f.1",
            "127.1",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            let target = format!("{host}:{port}");
            let tunnel = client::raw(headset.app(), connect(&target, ""))
                .await
                .unwrap();
            let call = format!("GET http://{target}/metrics HTTP/1.1\r\nHost: {target}\r\n\r\n");
            let call = client::raw(headset.app(), call).await.unwrap();
            for answer in [tunnel, call] {
                let body = answer.text();
                assert_eq!(
                    (answer.status, &*refused_of(&answer)),
                    (403, "target_forbidden"),
                    "{target}: {body}"
                );
            }
        }
    }
    // What is never open stays shut.
    for host in ["169.254.169.254", "169.254.1.1", "[fe80::1]", "metadata"] {
        both(&headset, host).await;
    }
}

#[tokio::test]
async fn tunnels_lead_to_the_ports_that_are_listed() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, "private_networks = [\"127.0.0.0/8\"]");
    for (port, status, code) in [(25, 403, "tunnel_port"), (22, 403, "tunnel_port")] {
        let answer = client::raw(headset.app(), connect(&format!("127.0.0.1:{port}"), "")).await;
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, &*refused_of(&answer)),
            (status, code),
            "{port}"
        );
        assert!(
            answer.json()["hint"]
                .as_str()
                .unwrap()
                .contains("tunnel_ports")
        );
    }
}

#[tokio::test]
async fn what_stands_behind_a_refused_connect_is_no_call() {
    let cms = Recorder::start([Step::ok("")]).await;
    let headset = keyed(&cms, "");
    let mut caller = Raw::connect(headset.app()).await;
    let url = cms.url();
    let host = cms.address();
    caller
        .send(format!(
            "{}GET {url}/v1 HTTP/1.1\r\nHost: {host}\r\n\r\n",
            connect("192.168.9.9:443", "")
        ))
        .await;
    let answer = caller.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (403, Some("close"))
    );
    assert!(caller.is_finished().await);
    assert!(cms.requests().is_empty());
}
