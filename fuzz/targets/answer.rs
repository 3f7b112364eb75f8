//! Upstream's bytes → what the caller receives.
//!
//! Promise: whatever an upstream answers, the caller gets one answer with one reading,
//! or a connection that closes before it is whole; no byte of it reaches the call that
//! comes next; what belongs to one hop, cookies and headset's credential stay behind.

use crate::choices::Choices;
use crate::strict::{self, Answer, all, show};
use crate::world::{self, AUTHORIZATION, Reply, World};

const SECOND: &[u8] = b"the answer to the second call";

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let method = choices.one(&["GET", "HEAD", "POST", "OPTIONS"]);
    let last = choices.once_in(2);
    let bytes = choices.rest();
    world::run(async |world: &World| {
        let reply = |bytes: &[u8]| match last {
            true => Reply::Last(bytes.to_vec()),
            false => Reply::Answer(bytes.to_vec()),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            SECOND.len()
        );
        let right = [head.as_bytes(), SECOND].concat();
        world.upstream.script.borrow_mut().push_back(reply(bytes));
        let gateway = world.gateway();
        let mut caller = world.call(&gateway);
        let first = format!("{method} /first HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n");
        let first = match method {
            "POST" => format!("{first}Content-Length: 2\r\n\r\nhi"),
            _ => format!("{first}\r\n"),
        };
        let (mut heard, closed) = caller.exchange(world, first.as_bytes()).await;
        let to_head = method == "HEAD";
        let read = strict::answer(&heard, to_head, closed)
            .unwrap_or_else(|fault| panic!("{fault}\n{}", show(&heard)));
        let ours = AUTHORIZATION.as_bytes();
        let tells = |octets: &[u8]| octets.windows(ours.len()).any(|part| part == ours);
        assert!(!tells(&heard) || tells(bytes), "the credential was told");
        let mut reusable = false;
        if let Some((answer, used)) = &read {
            assert_eq!(
                *used,
                heard.len(),
                "more than one answer came: {}",
                show(&heard)
            );
            judge(answer);
            // Echoed in a body it comes back, in a field it does not.
            let told = answer.fields.iter().find(|(_, value)| tells(value));
            assert_eq!(told, None, "the credential was echoed");
            reusable = !closed && !all(&answer.fields, "connection").contains(&b"close".as_slice());
        }

        // A broken answer may have been asked for twice; what is left of the script is
        // not for the second call.
        {
            let mut script = world.upstream.script.borrow_mut();
            script.clear();
            script.push_back(Reply::Answer(right));
        }
        if !reusable {
            // Hanging up must end what still waits for the upstream.
            heard.extend(caller.hang_up().await);
            caller = world.call(&gateway);
        }
        let second = b"GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let (next, closed) = caller.exchange(world, second).await;
        let answer = strict::answer(&next, false, closed)
            .unwrap_or_else(|fault| panic!("{fault}\n{}", show(&next)));
        match answer {
            Some((answer, used)) => {
                let got = (answer.status, answer.body.as_slice(), used);
                assert_eq!(got, (200, SECOND, next.len()), "{}", show(&next));
            }
            None => panic!("no second answer, but {}", show(&next)),
        }
        caller.hang_up().await;
        let (requests, faults) = world.end(gateway).await;
        assert_eq!(faults, [""; 0]);
        let seconds = requests.iter().filter(|r| r.target == b"/second").count();
        assert_eq!(seconds, 1, "the second call was sent {seconds} times");
        if method == "POST" {
            let firsts = requests.len() - seconds;
            assert!(firsts <= 1, "a POST was sent {firsts} times");
        }
    });
}

fn judge(answer: &Answer) {
    let hops = [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "upgrade",
        "set-cookie",
    ];
    for name in hops {
        assert!(all(&answer.fields, name).is_empty(), "{name} came back");
        assert!(
            all(&answer.trailers, name).is_empty(),
            "{name} came back in a trailer"
        );
    }
    for name in ["authorization", "sessionid"] {
        assert!(all(&answer.fields, name).is_empty(), "{name} came back");
    }
    assert_ne!(answer.status, 101, "nobody asked to switch");
    assert!((100..=999).contains(&answer.status));
}
