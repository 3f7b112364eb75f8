//! Runs the tables: each case is a sentence, the bytes that go in, and the one thing
//! that may come of them. All failures of a table are told together, each with its
//! sentence and both byte strings.

use super::rig::{Caller, Door, Rig};
use crate::support::headset::STATIC;
use crate::support::scripted::{Piece, ScriptedUpstream, bytes};
use crate::support::strict::{self, Message, octets};

/// A request and what comes of it.
pub struct Asked {
    /// The anchors of docs/http.md that it holds to their word.
    pub covers: &'static [&'static str],
    pub name: &'static str,
    pub sends: String,
    pub expects: Expect,
}

/// What may come of a request.
#[derive(Clone, Debug)]
pub enum Expect {
    /// Exactly this leaves, besides `Host` and, on the route with a credential, ours.
    Leaves {
        line: &'static str,
        fields: &'static [&'static str],
        body: &'static str,
        trailers: &'static [&'static str],
        /// Whether the connection must be closed after the answer.
        closes: bool,
    },
    /// A problem of ours with this status and code, and nothing leaves. What cannot be
    /// read in one way closes the connection.
    Refused(u16, &'static str),
}

/// A request line and fields that leave, without a body.
pub const fn leaves(line: &'static str, fields: &'static [&'static str]) -> Expect {
    leaves_with(line, fields, "", &[])
}

/// Likewise with a body and trailers; name the framing among the fields.
pub const fn leaves_with(
    line: &'static str,
    fields: &'static [&'static str],
    body: &'static str,
    trailers: &'static [&'static str],
) -> Expect {
    Expect::Leaves {
        line,
        fields,
        body,
        trailers,
        closes: false,
    }
}

impl Expect {
    /// Likewise, and the connection is closed after the answer.
    pub fn and_closes(mut self) -> Expect {
        if let Expect::Leaves { closes, .. } = &mut self {
            *closes = true;
        }
        self
    }

    fn is_closing(&self) -> bool {
        match self {
            Expect::Leaves { closes, .. } => *closes,
            Expect::Refused(_, code) => ["framing", "bad_head", "head_too_large"].contains(code),
        }
    }
}

/// A GET of `target`.
pub fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A GET of `/a` with `lines`.
pub fn with(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n")
}

/// A POST of `/a` with `lines`, and `rest` after its head.
pub fn post(lines: &str, rest: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{rest}")
}

/// Runs a table of requests through every door.
pub async fn ask(table: &[Asked], rest: &str) {
    ask_by(&Door::ALL, table, rest).await;
}

/// Runs a table of requests through each of `doors`.
pub async fn ask_by(doors: &[Door], table: &[Asked], rest: &str) {
    let mut failures = Vec::new();
    for &door in doors {
        let rig = Rig::start(door, rest).await;
        for case in table {
            let Some(expects) = door.expects(case) else {
                continue;
            };
            if let Err(why) = ask_one(&rig, case, &expects).await {
                failures.push(format!("{door:?}: {}\n   {why}", case.name));
            }
        }
    }
    report(failures, table.len() * doors.len());
}

async fn ask_one(rig: &Rig, case: &Asked, expects: &Expect) -> Result<(), String> {
    let before = rig.upstream.requests().len();
    let sends = rig.says(&case.sends);
    let mut caller = rig.caller().await;
    caller.send(&octets(&sends)).await;
    // Nothing after what closes the connection is read.
    let closes = expects.is_closing();
    if closes {
        caller.send(rig.says(&get("/smuggled")).as_bytes()).await;
    }
    let answer = caller.answer(sends.starts_with("HEAD ")).await;
    let mut verdict = match expects {
        Expect::Leaves { .. } => match &answer {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("the caller got {other:?}")),
        },
        Expect::Refused(status, code) => refused(&answer, *status, code),
    };
    if verdict.is_ok() && closes && !caller.is_closed().await {
        verdict = Err("the connection stayed open".into());
    }
    let left = &rig.upstream.requests()[before..];
    let verdict = verdict.and_then(|()| compare(left, expects, &rig.upstream));
    one_reading(&rig.upstream)
        .and(verdict)
        .map_err(|why| format!("{why}\n   in:  {sends:?}\n   out: {left:?}\n   back: {answer:?}"))
}

/// Whatever left, the strict reader understood it.
pub fn one_reading(upstream: &ScriptedUpstream) -> Result<(), String> {
    let faults = upstream.faults();
    require(faults.is_empty(), || faults.join("; "))
}

pub fn report(failures: Vec<String>, all: usize) {
    let list = failures.join("\n");
    assert!(failures.is_empty(), "{} of {all}:\n{list}", failures.len());
}

fn refused(
    answer: &Result<Option<Message>, String>,
    status: u16,
    code: &str,
) -> Result<(), String> {
    let Ok(Some(answer)) = answer else {
        return Err("there was no whole answer".into());
    };
    let told = answer.line.split(' ').nth(1).unwrap_or_default();
    require(told == status.to_string(), || format!("not a {status}"))?;
    let told = format!("\"code\":\"{code}\"");
    require(answer.body.contains(&told), || format!("not {code}"))
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Whether what left is what was expected, `Host` and credential included.
pub fn compare(
    left: &[Message],
    expects: &Expect,
    upstream: &ScriptedUpstream,
) -> Result<(), String> {
    let Expect::Leaves {
        line,
        fields,
        body,
        trailers,
        ..
    } = expects
    else {
        return require(left.is_empty(), || "something left".into());
    };
    let [message] = left else {
        return Err(format!("{} requests left", left.len()));
    };
    let mut expected: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    expected.push(format!("host: {}", upstream.address()));
    let path = line.split(' ').nth(1).unwrap();
    if path != "/open" && !path.starts_with("/open/") {
        expected.push(format!("authorization: {STATIC}"));
    }
    let line = format!("{line} HTTP/1.1");
    require(message.line == line, || format!("the line is not {line:?}"))?;
    let (mut is, mut should) = (message.fields.clone(), expected);
    by_name(&mut is);
    by_name(&mut should);
    require(is == should, || format!("{is:?} is not {should:?}"))?;
    require(message.body == *body, || {
        format!("the body is not {body:?}")
    })?;
    require(message.trailers == *trailers, || {
        format!("the trailers are not {trailers:?}")
    })
}

/// Stable: the order of one name's values stays what it is.
fn by_name(fields: &mut [String]) {
    fields.sort_by_key(|field| field.split(':').next().unwrap().to_owned());
}

/// An answer of an upstream and what the caller gets.
pub struct Answered {
    /// As in [`Asked`].
    pub covers: &'static [&'static str],
    pub name: &'static str,
    /// Lines that the call brings.
    pub call: String,
    pub gives: Vec<Piece>,
    pub gets: Gets,
}

/// What a caller may get.
#[derive(Clone, Debug)]
pub enum Gets {
    /// Exactly this, whole.
    Whole {
        line: &'static str,
        fields: &'static [&'static str],
        body: String,
        trailers: &'static [&'static str],
    },
    /// The beginning of an answer, and then an end that shows the break.
    Broken,
    /// A problem of ours.
    Problem(u16, &'static str),
}

/// An answer with a body.
pub fn whole(line: &'static str, fields: &'static [&'static str], body: &str) -> Gets {
    Gets::Whole {
        line,
        fields,
        body: body.into(),
        trailers: &[],
    }
}

/// Runs a table of answers through every door; after each, the next call must get its own.
pub async fn answer(table: &[Answered]) {
    let mut failures = Vec::new();
    for door in Door::ALL {
        let rig = Rig::start(door, "").await;
        for case in table {
            if let Err(why) = answer_one(&rig, case).await {
                failures.push(format!("{door:?}: {}\n   {why}", case.name));
            }
        }
    }
    report(failures, table.len() * Door::ALL.len());
}

async fn answer_one(rig: &Rig, case: &Answered) -> Result<(), String> {
    rig.upstream.next(case.gives.clone());
    let mut caller = rig.caller().await;
    caller.send(&octets(&rig.says(&case.call))).await;
    let got = caller.answer(case.call.starts_with("HEAD ")).await;
    let mut verdict = judge(&got, &case.gets);
    // On the same connection where it is still open, and on another one.
    let keeps = !case.call.contains(" HTTP/1.0\r\n");
    if verdict.is_ok() && keeps && matches!(case.gets, Gets::Whole { .. }) {
        verdict = own_answer(rig, &mut caller, "on the same connection").await;
    }
    drop(caller);
    if verdict.is_ok() {
        let mut other = rig.caller().await;
        verdict = own_answer(rig, &mut other, "on another connection").await;
    }
    let verdict = one_reading(&rig.upstream).and(verdict);
    verdict.map_err(|why| format!("{why}\n   in:  {}\n   out: {got:?}", told(&case.gives)))
}

pub fn told(pieces: &[Piece]) -> String {
    let told = pieces.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => format!("{:?}", strict::text(bytes)),
        Piece::Slowly(bytes) => format!("slowly {:?}", strict::text(bytes)),
        Piece::Close => "close".into(),
    });
    told.collect::<Vec<_>>().join(", ")
}

pub async fn own_answer(rig: &Rig, caller: &mut Caller, which: &str) -> Result<(), String> {
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
    rig.upstream.next(bytes(next));
    caller.send(rig.says(&get("/next")).as_bytes()).await;
    match caller.answer(false).await {
        Ok(Some(answer)) => require(answer.body == "next", || {
            format!("the next call {which} got {answer:?}")
        }),
        other => Err(format!("the next call {which} got {other:?}")),
    }
}

fn judge(got: &Result<Option<Message>, String>, gets: &Gets) -> Result<(), String> {
    match (gets, got) {
        (
            Gets::Whole {
                line,
                fields,
                body,
                trailers,
            },
            Ok(Some(got)),
        ) => {
            require(got.line == *line, || format!("the line is not {line:?}"))?;
            let mut is = got.fields.clone();
            let mut should: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
            by_name(&mut is);
            by_name(&mut should);
            require(is == should, || format!("{is:?} is not {should:?}"))?;
            require(got.body == *body, || "the body differs".into())?;
            require(got.trailers == *trailers, || "the trailers differ".into())
        }
        (Gets::Broken, Ok(None)) => Ok(()),
        (Gets::Problem(status, code), Ok(Some(got))) => {
            let begins = format!("HTTP/1.1 {status} ");
            let told = format!("\"code\":\"{code}\"");
            // In answer to HEAD the code is not told.
            let ours = got
                .fields
                .iter()
                .any(|f| f.starts_with("proxy-status: headset"));
            let fits = got.line.starts_with(&begins)
                && ours
                && (got.body.is_empty() || got.body.contains(&told));
            require(fits, || format!("not {status} {code}"))
        }
        _ => Err(format!("not {gets:?}")),
    }
}
