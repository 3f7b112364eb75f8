//! The requests and answers of the tables, each with a few bytes changed at random:
//! whatever comes of them, the strict reader on the other side understands all that
//! passes, and the next caller gets its own answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{Door, Rig, enter};
use super::run::{one_reading, own_answer, report, told};
use super::{answers, bodies, fields, targets};
use crate::support::headset::STATIC;
use crate::support::scripted::Piece;
use crate::support::strict::{octets, text};

/// Bytes that parsers disagree on.
const EVIL: &[u8] = b"\r\n\0\t :,;+-_xX0\x01\x0b\x0c\x7f\x80\xa0\xff/\\#?%*@[]\"'(){}<>=";

/// How many by each door in `cargo test`; `MUTATIONS` sets another number.
const USUAL: u64 = 600;

fn mutate(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        let evil = EVIL[random.usize(..EVIL.len())];
        match random.u8(..5) {
            0 => bytes.insert(at, evil),
            1 => bytes[at] = evil,
            2 => drop(bytes.remove(at)),
            3 => bytes.swap(at, 0),
            _ => {
                // A line again, somewhere else.
                let to = bytes[at..]
                    .iter()
                    .position(|&b| b == b'\n')
                    .map_or(at, |n| at + n + 1);
                let line = bytes[at..to].to_vec();
                let there = random.usize(..=bytes.len());
                bytes.splice(there..there, line);
            }
        }
    }
}

fn rounds() -> u64 {
    std::env::var("MUTATIONS").map_or(USUAL, |n| n.parse().unwrap())
}

#[tokio::test]
async fn of_requests_changed_at_random_one_reading_leaves_or_none() {
    for door in Door::ALL {
        change_requests(door).await;
    }
}

async fn change_requests(door: Door) {
    // What never ends as a head must not hold up the test.
    let times = "[timeouts]\nheader = \"100ms\"\nidle = \"1s\"\n";
    let rig = Rig::start(door, times).await;
    let end = "GET /end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let end = rig.says(end);
    let seeds: Vec<Vec<u8>> = [targets::table(), fields::table(), bodies::table()]
        .iter()
        .flatten()
        .map(|case| octets(&rig.says(&case.sends)))
        .filter(|seed| seed.len() < 1000)
        .collect();
    let rounds = rounds();
    let first = fastrand::u64(..);
    let mut failures = Vec::new();
    for round in 0..rounds {
        let seed = first.wrapping_add(round);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = seeds[random.usize(..seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        let upstream = rig.upstream.address();
        let mut caller = enter(door, &rig.headset, upstream, &["http/1.1"]).await;
        let _ = caller.write_all(&bytes).await;
        let _ = caller.write_all(end.as_bytes()).await;
        // Until it is answered; one that waits for more of its body is left.
        let mut back = Vec::new();
        let answered = async {
            while !back.windows(5).any(|seen| seen == b"HTTP/") {
                if caller.read_buf(&mut back).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(20), answered).await;
        if let Err(why) = one_reading(&rig.upstream) {
            let sent = text(&bytes);
            failures.push(format!("{door:?}, seed {seed}: {why}\n   in: {sent:?}"));
        }
    }
    failures.extend(one_reading(&rig.upstream).err());
    let reached = rig.upstream.requests();
    let own = format!("authorization: {STATIC}");
    for message in &reached {
        let open = message.line.contains(" /open");
        let mut credentials = message
            .fields
            .iter()
            .filter(|f| f.starts_with("authorization:"));
        if !open && (credentials.next() != Some(&own) || credentials.next().is_some()) {
            failures.push(format!("not one credential, and ours: {message:?}"));
        }
    }
    let many = reached.len() as u64 > rounds / 25;
    assert!(
        many,
        "{door:?}: only {} of {rounds} reached it",
        reached.len()
    );

    report(failures, usize::try_from(rounds).unwrap());
}

#[tokio::test]
async fn of_answers_changed_at_random_one_reading_comes_back_or_a_break() {
    for door in Door::ALL {
        change_answers(door).await;
    }
}

async fn change_answers(door: Door) {
    let rig = Rig::start(door, "").await;
    let seeds: Vec<(String, Vec<u8>)> = answers::table()
        .into_iter()
        .filter_map(|case| match case.gives.into_iter().next() {
            Some(Piece::Bytes(bytes)) if bytes.len() < 1000 => Some((case.call, bytes)),
            _ => None,
        })
        .collect();
    let rounds = rounds() / 2;
    let first = fastrand::u64(..);
    let (mut failures, mut whole) = (Vec::new(), 0);
    for round in 0..rounds {
        let seed = first.wrapping_add(round);
        let mut random = fastrand::Rng::with_seed(seed);
        let (call, mut bytes) = seeds[random.usize(..seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        // What follows an answer on its connection is nobody's.
        if random.bool() {
            bytes.extend(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!");
        }
        let gives = vec![Piece::Bytes(bytes), Piece::Close];
        rig.upstream.next(gives.clone());
        let mut caller = rig.caller().await;
        caller.send(rig.says(&call).as_bytes()).await;
        let got = caller.answer(call.starts_with("HEAD ")).await;
        drop(caller);
        let mut next = rig.caller().await;
        let verdict = match &got {
            Err(why) => Err(why.clone()),
            Ok(answer) => {
                whole += u64::from(answer.is_some());
                own_answer(&rig, &mut next, "on another connection").await
            }
        };
        if let Err(why) = verdict {
            let gave = told(&gives);
            failures.push(format!(
                "{door:?}, seed {seed}: {why}\n   in: {gave}\n   out: {got:?}"
            ));
        }
    }
    assert!(
        whole > rounds / 10,
        "only {whole} of {rounds} came back whole"
    );
    report(failures, usize::try_from(rounds).unwrap());
}
