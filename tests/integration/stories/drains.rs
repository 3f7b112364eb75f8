//! Stopping loses nothing: what is in flight finishes, new calls are still taken
//! while the application winds down.

use headset::simulator::{Faults, Options, Simulator};

use crate::support::client::{self, Raw};
use crate::support::eventually;
use crate::support::headset::Headset;

const PATH: &str = "/configuration/cc/1/process";

#[tokio::test]
async fn a_drain_takes_new_calls_finishes_old_ones_and_ends() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let mut headset = Headset::before(&center).await;
    let mut idle = Raw::connect(headset.app()).await;
    idle.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    let answer = idle.answer(false).await.unwrap();
    assert_eq!((answer.status, answer.field("connection")), (200, None));

    center.faults(Faults {
        delay_ms: 1500,
        ..Faults::default()
    });
    let mut slow = Raw::connect(headset.app()).await;
    slow.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    eventually("the slow call", async || center.state().calls >= 2).await;
    center.faults(Faults::default());

    headset.ask_to_stop();
    let admin = headset.admin();
    eventually("readyz to fail", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    assert_eq!(client::get(admin, "/livez").await.status, 200);

    // On the connection that was idle, and on a new one.
    idle.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    let answer = idle.answer(false).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert!(idle.is_closed().await);
    assert_eq!(client::get(headset.app(), PATH).await.status, 200);

    let answer = slow.answer(false).await.unwrap();
    assert_eq!(answer.status, 200, "what was in flight has finished");
    eventually("the end", async || headset.has_stopped()).await;
    assert!(tokio::net::TcpStream::connect(headset.app()).await.is_err());
}
