//! Connections that a load balancer hands on with a header of the PROXY protocol.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use crate::support::certificates::Authority;
use crate::support::client::Raw;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};
use crate::support::tls_client::{TlsCaller, VERSIONS};

const CALL: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

const FIRST: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 8080\r\n";

/// Version 2, for 192.0.2.8.
const SECOND: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\x0a\x00\x00\x01\x10\x00\x1f\x90";

async fn started(folder: &Folder, upstream: &Recorder, listener: &str) -> Process {
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n{listener}\n\
         [admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n[log]\naccess = \"json\"\n\
         [route.a]\nupstream = \"{}\"\nannounce = [\"x_forwarded\"]\n",
        upstream.url()
    );
    Process::start(&folder.write("headset.toml", &text)).await
}

async fn refused(process: &Process, reason: &str) -> f64 {
    let series = format!("headset_requests_refused_total{{listener=\"app\",reason=\"{reason}\"}}");
    process.metric(&series).await.unwrap()
}

#[tokio::test]
async fn the_caller_is_whom_the_header_names_in_every_place() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let from = "proxy_protocol.from = [\"127.0.0.0/8\"]";
    let process = started(&folder, &upstream, from).await;
    let local = b"PROXY UNKNOWN\r\n";
    for (header, ip) in [
        (FIRST, "192.0.2.7"),
        (SECOND, "192.0.2.8"),
        (&local[..], "127.0.0.1"),
    ] {
        let mut raw = Raw::connect(process.app()).await;
        // In two parts, of which the second begins the request.
        let (head, rest) = header.split_at(header.len() / 2);
        raw.send(head).await;
        raw.send([rest, CALL.as_bytes()].concat()).await;
        assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
        // What follows on the connection is of the same caller.
        raw.send(CALL).await;
        assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
        let sent = upstream.requests().pop().unwrap();
        assert!(
            sent.contains(&format!("x-forwarded-for: {ip}\r\n")),
            "{sent}"
        );
    }
    eventually("the lines", async || process.written().len() >= 6).await;
    let lines = process.written();
    for (line, ip) in lines
        .iter()
        .step_by(2)
        .zip(["192.0.2.7", "192.0.2.8", "127.0.0.1"])
    {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["client.address"], ip, "{line}");
    }
}

#[tokio::test]
async fn what_comes_without_one_or_from_elsewhere_is_closed_and_counted_and_told_once() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let from = "proxy_protocol.from = [\"127.0.0.0/8\", \"2001:db8::/32\"]";
    let process = started(&folder, &upstream, from).await;
    for sent in [
        CALL.as_bytes(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 +80 8080\r\nGET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x01\x02\x03\x04\x05",
    ] {
        let mut raw = Raw::connect(process.app()).await;
        raw.send(sent).await;
        assert!(raw.is_closed().await);
    }
    assert_eq!(refused(&process, "proxy_header").await, 3.0);
    let told = "closed a connection that `proxy_protocol`";
    // One at once; the others, which came within a second, in one line for all.
    eventually("the second line", async || process.said(told) >= 1).await;
    assert!(process.said(told) <= 2);

    let text = std::fs::read_to_string(folder.path("headset.toml")).unwrap();
    let narrow = text.replace("\"127.0.0.0/8\", ", "");
    folder.write("headset.toml", &narrow);
    assert!(process.reload().await);
    let mut raw = Raw::connect(process.app()).await;
    raw.send([FIRST, CALL.as_bytes()].concat()).await;
    assert!(raw.is_closed().await);
    assert_eq!(refused(&process, "proxy_peer").await, 1.0);
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn one_that_says_nothing_is_closed_in_the_time_for_a_head() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let listener = "proxy_protocol.from = [\"127.0.0.1\"]\n[timeouts]\nheader = \"300ms\"";
    let process = started(&folder, &upstream, listener).await;
    for part in [&b""[..], b"PROXY TC"] {
        let mut raw = Raw::connect(process.app()).await;
        raw.send(part).await;
        assert!(raw.is_closed().await);
    }
    assert_eq!(refused(&process, "proxy_header").await, 2.0);
    assert!(process.said("within `timeouts.header`") >= 1);
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let authority = Authority::new();
    let pair = authority.issue(&["localhost"]);
    let cert = folder.write("tls.crt", &pair.cert_pem);
    let key = folder.write("tls.key", &pair.key_pem);
    let listener =
        format!("proxy_protocol.from = [\"127.0.0.1\"]\ntls.cert = {cert:?}\ntls.key = {key:?}");
    let process = started(&folder, &upstream, &listener).await;
    let mut tcp = TcpStream::connect(process.app()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut tcp, FIRST)
        .await
        .unwrap();
    let caller = TlsCaller::new(&authority, VERSIONS[1], None);
    let mut raw = Raw::over(caller.over(tcp).await.unwrap());
    raw.send(CALL).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    let sent = upstream.requests().pop().unwrap();
    assert!(sent.contains("x-forwarded-for: 192.0.2.7\r\n"), "{sent}");
    assert!(sent.contains("x-forwarded-proto: https\r\n"), "{sent}");
}

#[tokio::test]
async fn a_unix_socket_takes_one_from_whoever_connects() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let socket = folder.path("app.sock");
    let text = format!(
        "[listener.app]\nbind = \"unix:{}\"\nproxy_protocol.from = [\"unix\"]\n\
         [admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
         [route.a]\nupstream = \"{}\"\nannounce = [\"x_forwarded\"]\n",
        socket.display(),
        upstream.url()
    );
    let _process = Process::start(&folder.write("headset.toml", &text)).await;
    let mut raw = Raw::over(UnixStream::connect(&socket).await.unwrap());
    raw.send([SECOND, CALL.as_bytes()].concat()).await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    let sent = upstream.requests().pop().unwrap();
    assert!(sent.contains("x-forwarded-for: 192.0.2.8\r\n"), "{sent}");
}

#[test]
fn networks_that_cannot_be_meant_are_problems() {
    let folder = Folder::new();
    let told = |bind: &str, from: &str| {
        let text = format!(
            "[listener.app]\nbind = \"{bind}\"\nproxy_protocol.from = {from}\n\
             [route.a]\nupstream = \"https://cms.example.com\"\n"
        );
        let sources = headset::config::load::Sources {
            file: Some(folder.write("headset.toml", &text)),
            ..Default::default()
        };
        let kinds = headset::app::build::kind_keys();
        let problems = headset::config::load::load(&sources, &kinds).unwrap_err();
        problems[0].to_string()
    };
    for (bind, from, part) in [
        ("127.0.0.1:8080", "[]", "every connection would be closed"),
        (
            "127.0.0.1:8080",
            "[\"lb.example\"]",
            "is no network and no address",
        ),
        ("127.0.0.1:8080", "[\"unix\"]", "is no Unix socket"),
        ("unix:/run/a.sock", "[\"10.0.0.0/8\"]", "have no address"),
    ] {
        let told = told(bind, from);
        assert!(told.contains(part), "{told}");
    }
    let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert!(told(&address.to_string(), "[\"10.0.0.0/33\"]").contains("is no network"));
}
