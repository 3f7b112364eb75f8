//! When a credential ends, by all that is known of it: the earliest counts.
//!
//! A span is counted from the moment just before the request was sent. A point in
//! time was written by the issuer's clock, so it is set against that clock as the
//! answer's `Date` shows it: one that is ahead shortens the life in full, since then
//! the issuer ends it earlier; one that is behind lengthens it by five minutes at
//! most, since it may be wrong.

use std::time::Duration;

use super::answer::{ReadAnswer, ValuePlace};
use super::template::TemplateValues;
use crate::credential::issuer_response::IssuerResponse;
use crate::credential::jwt;
use crate::credential::render::without_scheme;

/// How far the issuer's `Date` may set a life ahead.
const CORRECTION_MOST_MS: i64 = 5 * 60 * 1000;

/// Milliseconds below this are a span, from here on they are a point in time
/// (1973-03-03): the rule for a vendor's field that may be either.
const EPOCH_FROM_MS: f64 = 1e11;

/// No life is longer: beyond it, a number was misread.
const LIFE_MOST: Duration = Duration::from_secs(3650 * 86_400);

/// One thing that says when a credential ends.
#[derive(Clone, Debug)]
pub enum Expiry {
    /// This long after it was asked for.
    Fixed(Duration),
    /// As a value in the answer says.
    Found(ValuePlace, TimeForm),
    /// As the `exp` of the value of this name says, if that is a JWT (RFC 7519
    /// §4.1.4).
    Jwt(&'static str),
}

/// How a value tells a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// A span in seconds.
    Seconds,
    /// A span in milliseconds.
    Milliseconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
    /// A point in time such as `2030-05-19T12:20:57.310Z`.
    Iso8601,
    /// Milliseconds, as a span or since 1970, told apart by their size.
    MillisecondsOfEither,
}

impl TimeForm {
    /// The form of that name.
    pub fn named(word: &str) -> Option<TimeForm> {
        Some(match word {
            "seconds" => TimeForm::Seconds,
            "milliseconds" => TimeForm::Milliseconds,
            "epoch_seconds" => TimeForm::EpochSeconds,
            "epoch_milliseconds" => TimeForm::EpochMilliseconds,
            "iso8601" => TimeForm::Iso8601,
            _ => return None,
        })
    }

    /// Every name.
    pub const NAMES: &str = "seconds, milliseconds, epoch_seconds, epoch_milliseconds, iso8601";

    fn end(self, text: &str) -> Option<End> {
        let text = text.trim();
        if self == TimeForm::Iso8601 {
            let at = text.parse::<jiff::Timestamp>().ok();
            return at
                .or_else(|| last_day(text))
                .map(|at| End::At(at.as_millisecond()));
        }
        let number = text.parse::<f64>().ok()?;
        let number = Some(number).filter(|n| n.is_finite())?;
        let is_span = match self {
            TimeForm::Seconds | TimeForm::Milliseconds => true,
            TimeForm::MillisecondsOfEither => number < EPOCH_FROM_MS,
            _ => false,
        };
        if number < 0.0 && !is_span {
            return None;
        }
        // A negative span is cut to zero by the conversion.
        Some(match self {
            TimeForm::Seconds => End::after_ms(number * 1000.0),
            TimeForm::Milliseconds => End::after_ms(number),
            TimeForm::EpochSeconds => End::At((number * 1000.0) as i64),
            TimeForm::EpochMilliseconds => End::At(number as i64),
            TimeForm::MillisecondsOfEither if number < EPOCH_FROM_MS => End::after_ms(number),
            TimeForm::MillisecondsOfEither => End::At(number as i64),
            TimeForm::Iso8601 => return None,
        })
    }
}

/// `9999-12-31T23:59:59Z`, by which many mean "never", is beyond the last timestamp
/// that can be told in every zone.
fn last_day(text: &str) -> Option<jiff::Timestamp> {
    let local = text.strip_suffix(['Z', 'z'])?;
    let day = local.parse::<jiff::civil::DateTime>().ok()?;
    (day.year() == 9999).then_some(jiff::Timestamp::MAX)
}

enum End {
    After(Duration),
    At(i64),
}

impl End {
    fn after_ms(ms: f64) -> End {
        End::After(Duration::from_millis(ms as u64))
    }
}

/// What is known of a credential's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialLife {
    /// What the answer says of it.
    pub said: Option<Duration>,
    /// The longest that the configuration allows.
    pub most: Option<Duration>,
}

impl CredentialLife {
    /// How long it lives, where that is known; `otherwise` where the answer does not say.
    pub fn or(self, otherwise: Option<Duration>) -> Option<Duration> {
        let life = self.said.or(otherwise);
        match (life, self.most) {
            (Some(life), Some(most)) => Some(life.min(most)),
            (life, most) => life.or(most),
        }
    }
}

/// Why no end is known.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownEnd {
    /// Where a value stands that is no time in its form.
    pub at: ValuePlace,
}

/// How long a credential lives, counted from `answer.sent`. `found` holds the values
/// that were taken from the answer. A span that is not above zero says nothing: issuers
/// write `expires_in: 0` beside a good token that they did not limit.
///
/// # Errors
/// Where a value is there and cannot be read.
pub fn life(
    expiries: &[Expiry],
    read: &ReadAnswer<'_>,
    found: &TemplateValues,
) -> Result<CredentialLife, UnknownEnd> {
    let mut life = CredentialLife::default();
    for expiry in expiries {
        let end = match expiry {
            Expiry::Fixed(most) => {
                life.most = Some(life.most.map_or(*most, |known| known.min(*most)));
                continue;
            }
            Expiry::Found(find, form) => match read.find(find) {
                Some(text) => {
                    let end = form.end(&text);
                    Some(end.ok_or_else(|| UnknownEnd { at: find.clone() })?)
                }
                None => None,
            },
            Expiry::Jwt(name) => found
                .value(name)
                .and_then(|token| jwt::expiry_ms(without_scheme(token)))
                .map(End::At),
        };
        let left = match end {
            Some(End::After(left)) if left.is_zero() => continue,
            Some(End::After(left)) => left,
            Some(End::At(ms)) => left(ms, read.answer),
            None => continue,
        };
        let left = left.min(LIFE_MOST);
        life.said = Some(life.said.map_or(left, |known| known.min(left)));
    }
    Ok(life)
}

fn left(end_ms: i64, answer: &IssuerResponse) -> Duration {
    let skew = answer.skew_ms().unwrap_or(0).max(-CORRECTION_MOST_MS);
    let issuer_ms = answer.sent.wall_ms.saturating_add(skew);
    let left = end_ms.saturating_sub(issuer_ms);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::engine::answer::tests::answered;
    use crate::credential::testing::{START_MS, answer, dated};
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    fn says(form: TimeForm, value: &str) -> Option<u64> {
        let body = serde_json::json!({ "e": value }).to_string();
        let answer = answered(START_MS, &[], &body);
        let expiries = [Expiry::Found(ValuePlace::Pointer("/e".into()), form)];
        let life = life(
            &expiries,
            &ReadAnswer::of(&answer),
            &TemplateValues::default(),
        )
        .unwrap();
        assert_eq!(life.most, None);
        life.said.map(|life| life.as_secs())
    }

    #[test]
    fn every_form_is_read_also_as_text() {
        assert_eq!(says(TimeForm::Seconds, "86400"), Some(86_400));
        assert_eq!(says(TimeForm::Milliseconds, "900000"), Some(900));
        assert_eq!(says(TimeForm::EpochSeconds, "1800003600"), Some(3600));
        assert_eq!(
            says(TimeForm::EpochMilliseconds, "1800003600000"),
            Some(3600)
        );
        assert_eq!(
            says(TimeForm::Iso8601, "2027-01-15T09:00:00.000Z"),
            Some(3600)
        );
        assert_eq!(
            says(TimeForm::Iso8601, "2027-01-15T11:00:00+02:00"),
            Some(3600)
        );
        let longest = LIFE_MOST.as_secs();
        for never in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999Z"] {
            assert_eq!(says(TimeForm::Iso8601, never), Some(longest), "{never}");
        }
        assert_eq!(says(TimeForm::MillisecondsOfEither, "900000"), Some(900));
        assert_eq!(
            says(TimeForm::MillisecondsOfEither, "1800000900000"),
            Some(900)
        );
        assert_eq!(says(TimeForm::EpochSeconds, "1700000000"), Some(0));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_place() {
        for (form, value) in [
            (TimeForm::Seconds, "soon"),
            (TimeForm::EpochSeconds, "-1"),
            (TimeForm::Seconds, "NaN"),
            (TimeForm::Seconds, "inf"),
            (TimeForm::Iso8601, "2027-01-15"),
            (TimeForm::Iso8601, "1800000900000"),
        ] {
            let body = serde_json::json!({ "e": value }).to_string();
            let answer = answered(START_MS, &[], &body);
            let at = ValuePlace::Pointer("/e".into());
            let expiries = [Expiry::Found(at.clone(), form)];
            let unread = life(
                &expiries,
                &ReadAnswer::of(&answer),
                &TemplateValues::default(),
            );
            assert_eq!(unread, Err(UnknownEnd { at }), "{value}");
        }
    }

    #[test]
    fn a_span_that_is_not_above_zero_says_nothing_and_the_default_stands_in() {
        for form in [
            TimeForm::Seconds,
            TimeForm::Milliseconds,
            TimeForm::MillisecondsOfEither,
        ] {
            for nothing in ["0", "0.0", "-1"] {
                assert_eq!(says(form, nothing), None, "{form:?} {nothing}");
            }
        }
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        let unsaid = CredentialLife {
            said: None,
            most: hours(12),
        };
        assert_eq!(unsaid.or(hours(1)), hours(1));
        assert_eq!(unsaid.or(hours(20)), hours(12));
        assert_eq!(unsaid.or(None), hours(12));
        assert_eq!(CredentialLife::default().or(hours(1)), hours(1));
        let said = CredentialLife {
            said: hours(2),
            ..unsaid
        };
        assert_eq!(said.or(hours(1)), hours(2));
    }

    #[test]
    fn the_earliest_wins_and_a_jwt_counts() {
        use base64::Engine;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .encode(format!("{{\"exp\":{}}}", START_MS / 1000 + 600));
        let mut found = TemplateValues::default();
        found.set("token", Zeroizing::new(format!("Bearer e30.{claims}.c2ln")));
        let answer = answered(START_MS, &[], r#"{"e":3600}"#);
        let read = ReadAnswer::of(&answer);
        let at = |expiries: &[Expiry]| life(expiries, &read, &found).unwrap().or(None);
        let found_at = || Expiry::Found(ValuePlace::Pointer("/e".into()), TimeForm::Seconds);
        let fixed = |secs| Expiry::Fixed(Duration::from_secs(secs));
        assert_eq!(
            at(&[found_at(), Expiry::Jwt("token"), fixed(7200)]),
            Some(Duration::from_secs(600))
        );
        assert_eq!(at(&[found_at(), fixed(60)]), Some(Duration::from_secs(60)));
        assert_eq!(at(&[Expiry::Jwt("nothing")]), None);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn a_point_in_time_is_set_against_the_issuers_clock() {
        let at = |ahead_ms: i64| {
            let date = dated(answer(200, ""), START_MS + ahead_ms);
            let date = date.headers()["date"].to_str().unwrap().to_owned();
            let answer = answered(START_MS, &[("date", &date)], r#"{"e":1800003600}"#);
            let expiries = [Expiry::Found(
                ValuePlace::Pointer("/e".into()),
                TimeForm::EpochSeconds,
            )];
            let life = life(
                &expiries,
                &ReadAnswer::of(&answer),
                &TemplateValues::default(),
            );
            life.unwrap().said.unwrap().as_secs()
        };
        assert_eq!(at(0), 3600);
        assert_eq!(at(600_000), 2999);
        assert_eq!(at(-60_000), 3659);
        assert_eq!(at(-6_000_000), 3900);
        assert_eq!(at(9_000_000), 0);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_live_for_ever(text in ".{0,40}", n in any::<f64>(), date in any::<i64>()) {
            for form in [
                TimeForm::Seconds, TimeForm::Milliseconds, TimeForm::EpochSeconds,
                TimeForm::EpochMilliseconds, TimeForm::Iso8601, TimeForm::MillisecondsOfEither,
            ] {
                for value in [text.clone(), n.to_string()] {
                    let body = serde_json::json!({ "e": value }).to_string();
                    let answer = answered(date / 2, &[], &body);
                    let expiries = [Expiry::Found(ValuePlace::Pointer("/e".into()), form)];
                    if let Ok(life) = life(&expiries, &ReadAnswer::of(&answer), &TemplateValues::default()) {
                        prop_assert!(life.said.is_none_or(|said| said <= LIFE_MOST));
                    }
                }
            }
        }
    }
}
