//! An issuer's answer → what a login takes from it.
//!
//! Promise: whatever an issuer answers, nothing panics; an error names keys, a code and
//! a message, never another value; what is taken is what stands there; and a life is
//! never longer than ten years, nor ends before it began.

use std::time::Duration;

use headset::base::time::{Deadline, Moment};
use headset::credential::engine::answer::{ReadAnswer, ValuePlace};
use headset::credential::engine::expiry::{self, Expiry, TimeForm};
use headset::credential::engine::template::{Scope, Template, TemplateValues};
use headset::credential::engine::verdict::{JudgedAnswer, Success, no_codes};
use headset::credential::issuer_response::IssuerResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::choices::Choices;

const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);
const FORMS: &[TimeForm] = &[
    TimeForm::Seconds,
    TimeForm::Milliseconds,
    TimeForm::EpochSeconds,
    TimeForm::EpochMilliseconds,
    TimeForm::Iso8601,
    TimeForm::MillisecondsOfEither,
];
const PLACES: &[&str] = &[
    "/token",
    "/expires",
    "/data/token",
    "/a/0",
    "/ok",
    "/",
    "header:x-token",
    "cookie:SESSION",
];
const STATUSES: &[u16] = &[200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 512, 999];
/// Where an envelope's code and message stand; they are told.
const TOLD: &[&str] = &[
    "/errorCode",
    "/code",
    "/response/error_data/code",
    "/response/error_data/error_code",
    "/RestException/Code",
    "/Code",
    "/errorMessage",
    "/message",
    "/info",
    "/response/error_data/message",
    "/response/error_data/description",
    "/RestException/Message",
    "/Error",
];

pub fn check(input: &[u8]) {
    let mut choices = Choices::of(input);
    let status = StatusCode::from_u16(choices.one(STATUSES)).expect("a status");
    let place = ValuePlace::parse(choices.one(PLACES)).expect("a place");
    let form = choices.one(FORMS);
    // The clock stands anywhere, its ends included.
    let wall_ms = match choices.below(4) {
        0 => i64::from_le_bytes(std::array::from_fn(|_| choices.byte())),
        _ => 1_800_000_000_000,
    };
    let sent = Moment {
        wall_ms,
        boot: Duration::from_secs(1),
    };
    let rest = choices.rest();
    // The fields stand before the body, one a line.
    let (fields, body) = match rest.windows(2).position(|w| w == b"\n\n") {
        Some(at) => (&rest[..at], &rest[at + 2..]),
        None => (&[][..], rest),
    };
    let answer = IssuerResponse {
        status,
        headers: headers(fields),
        body: Zeroizing::new(body.to_vec()),
        sent,
        received: sent.plus(Duration::from_millis(7)),
    };
    judge(&answer, &place, form);
}

fn headers(text: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in text.split(|&b| b == b'\n').take(20) {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

fn judge(answer: &IssuerResponse, place: &ValuePlace, form: TimeForm) {
    let read = ReadAnswer::of(answer);
    let json = serde_json::from_slice::<Value>(&answer.body).ok();
    let mut secrets = TemplateValues::default();
    secrets.set("password", Zeroizing::new("hunter2-of-ours".into()));
    let taken = read.find(place);
    if let (ValuePlace::Pointer(pointer), Some(taken), Some(json)) = (place, &taken, &json) {
        let there = json.pointer(pointer).expect("it was taken from there");
        let text = there
            .as_str()
            .map_or_else(|| there.to_string(), str::to_owned);
        assert_eq!(**taken, text);
    }

    let case = JudgedAnswer {
        read: &read,
        doing: "login",
        url: "https://cms.example.com/login",
        secrets: &secrets,
        sources: "file /p",
    };
    let success = Success {
        equal: vec![(place.clone(), "Success".into())],
        status_at: vec![ValuePlace::Pointer("/Code".into()), place.clone()],
        ..Success::default()
    };
    let mut said = vec![read.shape(&secrets), read.said(&secrets)];
    said.push(case.lacks(place).to_string());
    said.extend(case.judge(&success, no_codes).err().map(|e| e.to_string()));
    said.extend(
        case.judge(&Success::default(), no_codes)
            .err()
            .map(|e| e.to_string()),
    );
    for text in &said {
        assert!(!text.contains("hunter2-of-ours"), "our secret: {text}");
        assert!(!text.contains(['\n', '\r']), "two lines: {text:?}");
        for value in json.iter().flat_map(hidden_values) {
            assert!(!text.contains(&value), "{value:?} is told: {text}");
        }
    }

    let mut found = TemplateValues::default();
    if let Some(taken) = &taken {
        found.set("token", taken.clone());
        let template = Template::parse("Bearer {token}").expect("a template");
        let nothing = TemplateValues::default();
        let scope = Scope {
            given: &nothing,
            found: &found,
        };
        assert!(
            template
                .render(&scope)
                .is_some_and(|text| text.starts_with("Bearer "))
        );
    }
    let expiries = [
        Expiry::Found(place.clone(), form),
        Expiry::Jwt("token"),
        Expiry::Fixed(Duration::from_secs(7200)),
    ];
    for some in [&expiries[..], &expiries[..1], &expiries[1..2]] {
        let known = expiry::life(some, &read, &found);
        let Some(life) = known.ok().and_then(|known| known.or(None)) else {
            continue;
        };
        assert!(life <= TEN_YEARS, "{life:?}");
        let deadline = Deadline::new(answer.sent, life);
        assert_eq!(deadline.remaining(answer.sent), life);
        assert!(
            deadline
                .wall_ms()
                .is_some_and(|end| end >= answer.sent.wall_ms)
        );
        if some.len() == 3 {
            assert!(
                life <= Duration::from_secs(7200),
                "not the earliest: {life:?}"
            );
        }
    }
    let _ = (answer.retry_after(), answer.skew_ms(), answer.date_ms());
}

/// Texts and large numbers of `json` that may not be told: those that are neither in a
/// place that is told nor part of what stands there, nor keys themselves.
fn hidden_values(json: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, values: &mut Vec<String>, open: &mut String) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    open.push_str(&format!("{key}\n"));
                    walk(value, &format!("{path}/{key}"), values, open);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &format!("{path}/{index}"), values, open);
                }
            }
            leaf => {
                let text = leaf
                    .as_str()
                    .map_or_else(|| leaf.to_string(), str::to_owned);
                match TOLD.contains(&path) {
                    true => open.push_str(&format!("{text}\n")),
                    false if text.len() >= 12 => values.push(text),
                    false => {}
                }
            }
        }
    }
    let (mut values, mut open) = (Vec::new(), String::new());
    walk(json, "", &mut values, &mut open);
    // Control characters are told escaped.
    let told = open.clone() + &open.escape_default().to_string() + OUR_WORDS;
    // One word, as tokens are: what an error says around keys holds blanks and slashes.
    let is_word = |value: &str| {
        value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.+=".contains(&b))
    };
    values.retain(|value| is_word(value) && !told.contains(value.as_str()));
    values
}

/// What errors say by themselves; a value may happen to be a part of it.
const OUR_WORDS: &str = "the issuer's answer to the login has no JSON value at header x-token \
    cookie SESSION; it has the JSON keys its body is JSON without keys";
