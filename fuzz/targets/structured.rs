//! Well-formed calls over HTTP/1.1 and HTTP/2 → what arrives.
//!
//! Promise (docs/http.md): what arrives is what was sent, but for what that page lists:
//! method, target, order and values of repeated fields, body and announced trailers,
//! however they are framed; and the caller gets the upstream's answer.

mod call;

use std::rc::Rc;

use headset::gateway::route::Gateway;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;

use call::{Call, GONE, KEPT, latin1};

use crate::choices::Choices;
use crate::strict::{self, all, show};
use crate::targets::request_head::judge;
use crate::world::{self, OPEN, Reply, World, within};

#[derive(Clone)]
struct Here;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What came back: status and body.
type Told = (u16, Vec<u8>);

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let over_http2 = choices.once_in(2);
    let status = choices.one(&[200, 201, 302, 404, 409, 429, 500, 512, 599, 999]);
    let mut calls = vec![Call::of(&mut choices)];
    if !calls[0].is_odd() && choices.once_in(2) {
        let second = Call::of(&mut choices);
        calls.extend((!second.is_odd()).then_some(second));
    }
    world::run(async |world: &World| {
        let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\ntold");
        for call in &calls {
            let end = if call.method == "HEAD" {
                reply.len() - 4
            } else {
                reply.len()
            };
            let reply = Reply::Answer(reply.as_bytes()[..end].to_vec());
            world.upstream.script.borrow_mut().push_back(reply);
        }
        let gateway = world.gateway();
        let told = match over_http2 {
            true => through_http2(world, &gateway, &calls).await,
            false => through_http1(world, &gateway, &calls).await,
        };
        let (requests, faults) = world.end(gateway).await;
        assert_eq!(faults, [""; 0], "{calls:?}");
        if calls[0].is_odd() && told[0].0 == 400 {
            assert!(requests.is_empty(), "refused and sent: {calls:?}");
            return;
        }
        for (call, told) in calls.iter().zip(&told) {
            let body = if call.method == "HEAD" { "" } else { "told" };
            assert_eq!(
                (told.0, strict::show(&told.1)),
                (status, body.into()),
                "{call:?}"
            );
        }
        assert_eq!(requests.len(), calls.len(), "{calls:?}");
        for (call, request) in calls.iter().zip(&requests) {
            judge(request, &world.address);
            same(call, request, over_http2);
        }
    });
}

fn same(call: &Call, request: &strict::Request, over_http2: bool) {
    assert_eq!(request.method, call.method, "{call:?}");
    assert_eq!(
        show(&request.target),
        show(&latin1(&call.target)),
        "{call:?}"
    );
    assert_eq!(show(&request.body), show(&call.body()), "{call:?}");
    let ours = [
        "host",
        "authorization",
        "content-length",
        "transfer-encoding",
        "trailer",
    ];
    for name in KEPT.iter().chain(GONE) {
        if *name == "authorization" && !call.target.starts_with(OPEN) {
            continue;
        }
        let arrived = all(&request.fields, name);
        assert_eq!(
            arrived,
            call.arrives(name, over_http2),
            "{name} of {call:?}"
        );
    }
    for (name, _) in &request.fields {
        let known = KEPT.contains(&name.as_str())
            || ours.contains(&name.as_str())
            || (call.target.starts_with(OPEN) && GONE.contains(&name.as_str()));
        assert!(known, "{name} was added to {call:?}");
    }
    for name in ["x-sum", "x-sig"] {
        let sent = call.trailers.iter().filter(|(n, _)| *n == name);
        let sent: Vec<Vec<u8>> = sent.map(|(_, value)| latin1(value)).collect();
        assert_eq!(
            all(&request.trailers, name),
            sent,
            "trailer {name} of {call:?}"
        );
    }
}

async fn through_http1(world: &World, gateway: &Rc<Gateway>, calls: &[Call]) -> Vec<Told> {
    let bytes: Vec<u8> = calls
        .iter()
        .flat_map(|call| call.http1("localhost"))
        .collect();
    let mut caller = world.call(gateway);
    let (mut heard, closed) = caller.exchange(world, &bytes).await;
    heard.extend(caller.hang_up().await);
    let mut rest = heard.as_slice();
    let mut told = Vec::new();
    for call in calls {
        let (answer, used) = strict::answer(rest, call.method == "HEAD", closed)
            .unwrap_or_else(|fault| panic!("{fault}: {}", show(&heard)))
            .unwrap_or_else(|| panic!("no whole answer to {call:?}: {}", show(&heard)));
        rest = &rest[used..];
        told.push((answer.status, answer.body));
    }
    assert!(rest.is_empty(), "more answers than calls: {}", show(&heard));
    told
}

async fn through_http2(world: &World, gateway: &Rc<Gateway>, calls: &[Call]) -> Vec<Told> {
    let (stream, serving) = world.call(gateway).into_parts();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(Here, TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::task::spawn_local(connection);
    let mut told = Vec::new();
    for call in calls {
        let answer = within("an answer over HTTP/2", sender.send_request(call.http2())).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error:?}: {call:?}"));
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await;
        let body = body.unwrap_or_else(|error| panic!("{error:?} after {status}: {call:?}"));
        told.push((status, body.to_bytes().to_vec()));
    }
    drop(sender);
    within("the connection to end", async {
        let _ = connection.await;
        if let Err(error) = serving.await {
            std::panic::resume_unwind(error.into_panic());
        }
    })
    .await;
    told
}
