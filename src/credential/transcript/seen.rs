//! Where in a login each value was seen, and every time that could be an end. Pure.
//!
//! Of values only salted fingerprints are kept: they tell equal from different and
//! nothing else.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use super::mask::Masker;
use crate::credential::jwt;

/// Two times that differ by less are one: clocks and network are in between.
const SAME_MS: i64 = 5_000;

/// What was seen so far.
#[derive(Default)]
pub(super) struct SeenValues {
    salt: RandomState,
    /// Values of answers: from where, and a fingerprint.
    values: Vec<(String, u64)>,
    /// Times in requests and answers: from where, and which.
    times: Vec<(String, SeenTime)>,
}

#[derive(Clone, Copy, Debug)]
enum SeenTime {
    Date(i64),
    Number { value: f64, at_ms: i64 },
}

impl SeenTime {
    fn read(text: &str, at_ms: i64) -> Option<SeenTime> {
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
        let date = text.parse::<jiff::Timestamp>().ok();
        number
            .map(|value| SeenTime::Number { value, at_ms })
            .or(date.map(|at| SeenTime::Date(at.as_millisecond())))
    }

    /// Whether it says `ends_ms` by our clock: as a date of the issuer's clock, which is
    /// `skew_ms` ahead, or as a number of seconds or milliseconds from then on or since
    /// the epoch.
    fn says(self, ends_ms: i64, skew_ms: i64) -> bool {
        match self {
            SeenTime::Date(at_ms) => theirs(at_ms, ends_ms, skew_ms),
            SeenTime::Number { value, at_ms } => {
                near(at_ms.saturating_add((value * 1000.0) as i64), ends_ms)
                    || near(at_ms.saturating_add(value as i64), ends_ms)
                    || theirs((value * 1000.0) as i64, ends_ms, skew_ms)
                    || theirs(value as i64, ends_ms, skew_ms)
            }
        }
    }
}

fn near(at_ms: i64, ends_ms: i64) -> bool {
    at_ms.abs_diff(ends_ms) <= SAME_MS.unsigned_abs()
}

fn theirs(at_ms: i64, ends_ms: i64, skew_ms: i64) -> bool {
    near(at_ms, ends_ms) || near(at_ms.saturating_sub(skew_ms), ends_ms)
}

impl SeenValues {
    /// The times in the body of a request, sent at `at_ms`. `whose` names the request.
    pub(super) fn in_request(&mut self, whose: &str, body: &Value, at_ms: i64, masker: &Masker) {
        walk(body, &mut String::new(), &mut |pointer, key, text| {
            self.time(whose, pointer, key, text, at_ms, masker);
        });
    }

    /// The values and times in the body of an answer, received at `at_ms`.
    pub(super) fn in_body(&mut self, whose: &str, body: &Value, at_ms: i64, masker: &Masker) {
        walk(body, &mut String::new(), &mut |pointer, key, text| {
            self.time(whose, pointer, key, text, at_ms, masker);
            self.value(place(whose, pointer, masker), text);
        });
    }

    /// The values in the fields of an answer.
    pub(super) fn in_fields(&mut self, whose: &str, headers: &HeaderMap, masker: &Masker) {
        for (name, value) in headers {
            let Ok(text) = value.to_str() else { continue };
            self.value(format!("{whose}, header {name}"), text);
            if name == "set-cookie"
                && let Some((cookie, rest)) = text.split_once('=')
            {
                let value = rest.split(';').next().unwrap_or(rest);
                let place = format!("{whose}, cookie {}", masker.name(cookie));
                self.value(place.clone(), value);
                self.value(place, &format!("{cookie}={value}"));
            }
        }
    }

    fn value(&mut self, place: String, text: &str) {
        self.values.push((place, self.salt.hash_one(text)));
    }

    fn time(
        &mut self,
        whose: &str,
        pointer: &str,
        key: &str,
        text: &str,
        at_ms: i64,
        masker: &Masker,
    ) {
        if is_time_key(key)
            && let Some(time) = SeenTime::read(text, at_ms)
        {
            self.times.push((place(whose, pointer, masker), time));
        }
    }

    /// From where in which answer `value` was taken, the last first; also where it
    /// stands behind `Bearer ` or the like. `None` where it stands in none.
    pub(super) fn place_of(&self, value: &str) -> Option<String> {
        let rest = value.split_once(' ').map(|(_, rest)| rest);
        let fingerprints: Vec<u64> = std::iter::once(value)
            .chain(rest)
            .map(|text| self.salt.hash_one(text))
            .collect();
        let mut newest_first = self.values.iter().rev();
        let found = newest_first.find(|(_, print)| fingerprints.contains(print));
        found.map(|(place, _)| place.clone())
    }

    /// What said that the credential `value` ends at `ends_ms` of our clock, where the
    /// issuer's is `skew_ms` ahead: a time in a request or an answer, or the token's
    /// own `exp`. `None` where nothing was seen to say so.
    pub(super) fn end_of(&self, value: &str, ends_ms: i64, skew_ms: i64) -> Option<String> {
        let mut newest_first = self.times.iter().rev();
        if let Some((place, _)) = newest_first.find(|(_, time)| time.says(ends_ms, skew_ms)) {
            return Some(place.clone());
        }
        let token = value.split_once(' ').map_or(value, |(_, token)| token);
        let exp = jwt::expiry_ms(token)?;
        theirs(exp, ends_ms, skew_ms).then(|| "exp of the token itself".into())
    }
}

fn place(whose: &str, pointer: &str, masker: &Masker) -> String {
    let pointer = masker.pointer(pointer).unwrap_or("in its body");
    format!("{whose}, {pointer}")
}

/// Calls `leaf` with the pointer (RFC 6901), the key and the text of each text and number
/// in `value`.
fn walk(value: &Value, pointer: &mut String, leaf: &mut impl FnMut(&str, &str, &str)) {
    let length = pointer.len();
    let step = |pointer: &mut String, name: &str, value: &Value, leaf: &mut _| {
        pointer.push('/');
        // RFC 6901 §3.
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, pointer, leaf);
        pointer.truncate(length);
    };
    let text = match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                step(pointer, name, value, leaf);
            }
            return;
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                step(pointer, &index.to_string(), value, leaf);
            }
            return;
        }
        Value::String(text) => Zeroizing::new(text.clone()),
        Value::Number(number) => Zeroizing::new(number.to_string()),
        Value::Null | Value::Bool(_) => return,
    };
    let key = pointer.rsplit('/').next().unwrap_or("");
    leaf(pointer, key, &text);
}

fn is_time_key(name: &str) -> bool {
    let bare = name.to_ascii_lowercase();
    bare.contains("exp") || bare.contains("valid") || bare.contains("ttl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000_000;

    fn seen(body: &Value) -> SeenValues {
        let mut seen = SeenValues::default();
        seen.in_body("answer 1", body, NOW, &Masker::default());
        seen
    }

    #[test]
    fn a_value_is_found_by_its_place_with_or_without_a_scheme() {
        let seen = seen(&json!({"data": {"a.b/c": "t0ken"}, "list": [0, {"id": 12345}]}));
        let place = |value: &str| seen.place_of(value);
        assert_eq!(place("t0ken").unwrap(), "answer 1, /data/a.b~1c");
        assert_eq!(place("Bearer t0ken").unwrap(), "answer 1, /data/a.b~1c");
        assert_eq!(place("12345").unwrap(), "answer 1, /list/1/id");
        assert_eq!(place("t0ke"), None);
    }

    #[test]
    fn the_last_place_counts_and_a_request_has_none() {
        let masker = Masker::default();
        let mut seen = seen(&json!({"old": "t0ken"}));
        seen.in_body("answer 2", &json!({"new": "t0ken"}), NOW, &masker);
        seen.in_request("request 3", &json!({"sent": "t0ken"}), NOW, &masker);
        assert_eq!(seen.place_of("t0ken").unwrap(), "answer 2, /new");
    }

    #[test]
    fn an_end_is_a_date_seconds_or_milliseconds_from_now_on_or_since_the_epoch() {
        let hour = NOW + 3_600_000;
        for said in [
            json!("2027-01-15T09:00:00.000Z"),
            json!(3600),
            json!("3600"),
            json!(3_600_000),
            json!(hour / 1000),
            json!(hour),
        ] {
            let end = seen(&json!({"expires": said})).end_of("x", hour, 0);
            assert_eq!(end.as_deref(), Some("answer 1, /expires"), "{said}");
        }
        let other = json!({"expires": 7200, "count": 3600, "expiry": null});
        assert_eq!(seen(&other).end_of("x", hour, 0), None);
    }

    #[test]
    fn a_date_of_a_clock_that_is_ahead_is_that_much_earlier_by_ours() {
        let seen = seen(&json!({"validUntil": "2027-01-15T09:00:00Z"}));
        let hour = NOW + 3_600_000;
        assert!(seen.end_of("x", hour - 60_000, 60_000).is_some());
        assert!(seen.end_of("x", hour - 60_000, 0).is_none());
        assert!(seen.end_of("x", hour + 4_000, 0).is_some(), "near enough");
    }
}
