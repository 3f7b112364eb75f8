//! Authentication that is bound to the connection: no caller gets another's.

use crate::support::client;
use crate::support::headset::plain;
use crate::support::recorder::{Recorder, Step};

fn challenge(field: &str) -> Step {
    let answer = format!("HTTP/1.1 401 Unauthorized\r\n{field}\r\nContent-Length: 2\r\n\r\nno");
    Step::Answer(answer.into())
}

#[tokio::test]
async fn a_connection_that_a_caller_authenticated_carries_no_other_call() {
    for shown in ["NTLM TlRMTVNTUAADAAAA", "negotiate YIIC", "Negotiate YIIC"] {
        let upstream = Recorder::start([Step::ok("fine")]).await;
        let headset = plain(&upstream.url(), "", "");
        for _ in 0..2 {
            client::get(headset.app(), "/theirs").await;
        }
        assert_eq!(upstream.connections(), 1);
        // It may come on one that nobody authenticated yet.
        let fields = [("Authorization", shown)];
        let answer = client::call(headset.app(), "GET", "/mine", &fields, b"").await;
        assert_eq!(answer.status, 200);
        assert!(upstream.requests()[2].contains(shown), "it passes as it is");
        client::get(headset.app(), "/theirs").await;
        assert_eq!(upstream.connections(), 2, "{shown}");
    }
}

#[tokio::test]
async fn a_connection_with_a_challenge_for_it_carries_no_other_call() {
    for (field, connections) in [
        ("WWW-Authenticate: NTLM", 2),
        ("WWW-Authenticate: NTLM TlRMTVNTUAACAAAA", 2),
        ("WWW-Authenticate: Basic realm=\"a, b\", Negotiate", 2),
        ("WWW-Authenticate: Basic\r\nWWW-Authenticate: Negotiate", 2),
        ("Proxy-Support: Session-Based-Authentication", 2),
        ("WWW-Authenticate: Basic realm=\"NTLM\"", 1),
    ] {
        let upstream = Recorder::start([challenge(field), Step::ok("fine")]).await;
        let headset = plain(&upstream.url(), "", "");
        assert_eq!(client::get(headset.app(), "/a").await.status, 401);
        assert_eq!(client::get(headset.app(), "/b").await.status, 200);
        assert_eq!(upstream.connections(), connections, "{field}");
    }
}
