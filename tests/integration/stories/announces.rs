//! What a route tells its upstream of the way that a call took, where it is asked to.

use crate::support::client::{self, Raw};
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::recorder::{Recorder, Step};

fn before(upstream: &Recorder, bind: &str, announce: &str) -> Headset {
    let toml = format!(
        "[listener.app]\nbind = \"{bind}\"\nhosts = [\"*\"]\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.all]\nupstream = \"{}\"\nannounce = {announce}\n",
        upstream.url()
    );
    Headset::start(Folder::new(), &toml)
}

/// The values of `name` in a recorded head, in their order.
fn values<'r>(request: &'r str, name: &str) -> Vec<&'r str> {
    let fields = request.lines().filter_map(|line| line.split_once(": "));
    let of = fields.filter(|(field, _)| *field == name);
    of.map(|(_, value)| value).collect()
}

#[tokio::test]
async fn the_way_is_told_after_what_the_application_said_of_it() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let all = "[\"via\", \"forwarded\", \"x_forwarded\"]";
    let headset = before(&upstream, "127.0.0.1:0", all);
    let own = [
        ("Via", "1.0 fred"),
        ("Forwarded", "for=192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    let answer = client::call(headset.app(), "GET", "/a", &own, b"").await;
    assert_eq!(answer.status, 200);
    let request = &upstream.requests()[0];
    let host = headset.app().to_string();
    for (name, told) in [
        ("via", vec!["1.0 fred", "1.1 headset"]),
        (
            "forwarded",
            vec![
                "for=192.0.2.1",
                &format!("for=127.0.0.1;host=\"{host}\";proto=http"),
            ],
        ),
        ("x-forwarded-for", vec!["192.0.2.1", "127.0.0.1"]),
        ("x-forwarded-proto", vec!["http"]),
        ("x-forwarded-host", vec![&*host]),
    ] {
        assert_eq!(values(request, name), told, "{name} in {request}");
    }
}

#[tokio::test]
async fn each_version_and_address_is_told_as_its_rfc_writes_it() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = before(&upstream, "[::1]:0", "[\"via\", \"forwarded\"]");
    let mut raw = Raw::connect(headset.app()).await;
    raw.send("GET /a HTTP/1.0\r\nHost: cms.local\r\n\r\n").await;
    assert_eq!(raw.answer(false).await.unwrap().status, 200);
    let request = &upstream.requests()[0];
    assert_eq!(values(request, "via"), ["1.0 headset"], "{request}");
    let told = "for=\"[::1]\";host=\"cms.local\";proto=http";
    assert_eq!(values(request, "forwarded"), [told], "{request}");
    assert!(values(request, "x-forwarded-for").is_empty(), "{request}");
}

#[tokio::test]
async fn by_default_nothing_is_told() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let headset = before(&upstream, "127.0.0.1:0", "[]");
    assert_eq!(client::get(headset.app(), "/a").await.status, 200);
    let request = &upstream.requests()[0];
    for name in ["via", "forwarded", "x-forwarded-"] {
        assert!(!request.contains(&format!("\r\n{name}")), "{request}");
    }
}
