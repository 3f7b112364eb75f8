//! What an upstream says of its quota: how many calls it takes, how many are left, until when.
//!
//! Read from each response of a route (the vendor's `X-RateLimit-Limit`, `-Remaining` and
//! `-Reset`; `Retry-After` of a 429 or 503, RFC 9110 §10.2.3), exported, and shown in
//! `/status`. What was never said is absent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::base::name::Name;
use crate::base::time;
use crate::gateway::fields::Seen;
use crate::gateway::gcra::LONGEST_PAUSE;
use crate::gateway::pacer::Pacer;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A `Reset` below this is a span in seconds, as some upstreams send it; the vendor's are
/// seconds since the epoch.
const EARLIEST: i64 = 100_000_000;

/// The last second of the year 9999. A number beyond it, or below zero, is none that an
/// upstream can mean.
const MOST: i64 = 253_402_207_200;

/// The families.
#[derive(Clone, Debug)]
pub struct QuotaFamilies {
    families: [IntGaugeVec; 4],
    /// What each route has heard of, which a reload does not make unheard.
    known: Arc<Mutex<HashMap<Name, KnownGauges>>>,
}

/// Each made when the upstream first says: a 0 before would fire alerts.
type KnownGauges = Arc<[OnceLock<IntGauge>; 4]>;

impl QuotaFamilies {
    /// Declares them in `registry`.
    ///
    /// # Errors
    /// Where it has one of them already.
    pub fn register(registry: &Registry) -> Result<QuotaFamilies, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &["route"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let families = [
            gauge(
                "headset_ratelimit_limit",
                "The upstream's last X-RateLimit-Limit; absent until there is one.",
            )?,
            gauge(
                "headset_ratelimit_remaining",
                "The upstream's last X-RateLimit-Remaining; absent until there is one.",
            )?,
            gauge(
                "headset_ratelimit_reset_timestamp_seconds",
                "When the upstream's quota begins anew; absent until it says.",
            )?,
            gauge(
                "headset_ratelimit_retry_after_timestamp_seconds",
                "Until when the upstream last asked to wait (Retry-After of a 429 or 503); absent until it did.",
            )?,
        ];
        Ok(QuotaFamilies {
            families,
            known: Arc::default(),
        })
    }

    /// The quota of one route: what is known of it already, as it may be there before a
    /// reload.
    pub fn route(&self, name: &Name) -> Quota {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Quota {
            families: self.families.clone(),
            route: name.clone(),
            known: known.entry(name.clone()).or_default().clone(),
            pacer: None,
        }
    }

    /// Removes the series of a route that is gone.
    pub fn remove(&self, name: &Name) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
        for family in &self.families {
            let _ = family.remove_label_values(&[name.as_str()]);
        }
    }
}

/// The quota of one route, shared by all workers.
#[derive(Debug)]
pub struct Quota {
    families: [IntGaugeVec; 4],
    route: Name,
    known: KnownGauges,
    /// Who pauses where the upstream asks to wait.
    pacer: Option<Arc<Pacer>>,
}

/// What is known of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaSeen {
    /// How many calls the upstream takes in its window.
    pub limit: Option<i64>,
    /// How many are left in it.
    pub remaining: Option<i64>,
    /// When the next window begins, in seconds since the epoch.
    pub resets: Option<i64>,
    /// Until when it asked to wait, in seconds since the epoch.
    pub retry_after: Option<i64>,
}

impl Quota {
    /// Learns from the head of a response, in which these names were `seen`.
    pub fn learn(&self, status: StatusCode, headers: &HeaderMap, seen: Seen) {
        if seen.has(Seen::QUOTA)
            && let Some(remaining) = number(headers, &REMAINING)
        {
            self.set(1, remaining);
            if let Some(limit) = number(headers, &LIMIT) {
                self.set(0, limit);
            }
            if let Some(reset) = number(headers, &RESET) {
                let since = if reset < EARLIEST { now() } else { 0 };
                self.set(2, since.saturating_add(reset).min(MOST));
            }
        }
        if let Some(wait) = asked_to_wait(status, headers) {
            if let Some(pacer) = &self.pacer {
                pacer.pause(wait.min(LONGEST_PAUSE));
            }
            let wait = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
            self.set(3, now().saturating_add(wait).min(MOST));
        }
    }

    /// Where the upstream asks to wait, `pacer` pauses.
    pub fn pauses(&mut self, pacer: Option<Arc<Pacer>>) {
        self.pacer = pacer;
    }

    fn set(&self, which: usize, value: i64) {
        let made = || self.families[which].with_label_values(&[self.route.as_str()]);
        self.known[which].get_or_init(made).set(value);
    }

    /// What is known.
    pub fn seen(&self) -> QuotaSeen {
        let get = |which: usize| self.known[which].get().map(IntGauge::get);
        QuotaSeen {
            limit: get(0),
            remaining: get(1),
            resets: get(2),
            retry_after: get(3),
        }
    }
}

/// How long a response asks to wait: `Retry-After` of a 429 or 503, in seconds or as a date.
pub fn asked_to_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let asks = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if !asks.contains(&status) {
        return None;
    }
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let until = until.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(Duration::from_nanos(time::unix_nanos())))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let number: i64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    (0..=MOST).contains(&number).then_some(number)
}

fn now() -> i64 {
    i64::try_from(time::unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn learn(quota: &Quota, status: StatusCode, headers: &HeaderMap) {
        quota.learn(status, headers, Seen::of(headers));
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    fn quota() -> Quota {
        let families = QuotaFamilies::register(&Registry::new()).unwrap();
        families.route(&Name::parse("contacts").unwrap())
    }

    #[test]
    fn what_the_vendor_says_is_known_and_what_it_does_not_say_is_absent() {
        let quota = quota();
        learn(&quota, StatusCode::OK, &headers(&[]));
        assert_eq!(quota.seen(), QuotaSeen::default());
        let fields = [
            ("x-ratelimit-limit", "200"),
            ("x-ratelimit-remaining", "180"),
            ("x-ratelimit-reset", "1780000060"),
        ];
        learn(&quota, StatusCode::OK, &headers(&fields));
        let seen = QuotaSeen {
            limit: Some(200),
            remaining: Some(180),
            resets: Some(1_780_000_060),
            retry_after: None,
        };
        assert_eq!(quota.seen(), seen);
        for nonsense in ["many", "-1", "9223372036854775807"] {
            let fields = [("x-ratelimit-remaining", nonsense)];
            learn(&quota, StatusCode::OK, &headers(&fields));
            assert_eq!(quota.seen(), seen, "{nonsense} changes nothing");
        }
    }

    #[test]
    fn a_reload_forgets_nothing_of_a_route_that_stays() {
        let families = QuotaFamilies::register(&Registry::new()).unwrap();
        let name = Name::parse("contacts").unwrap();
        let fields = headers(&[("x-ratelimit-remaining", "7")]);
        learn(&families.route(&name), StatusCode::OK, &fields);
        assert_eq!(families.route(&name).seen().remaining, Some(7));
        let other = families.route(&Name::parse("other").unwrap());
        assert_eq!(other.seen(), QuotaSeen::default());
        families.remove(&name);
        assert_eq!(families.route(&name).seen(), QuotaSeen::default());
    }

    #[test]
    fn spans_are_turned_to_times() {
        let quota = quota();
        let before = now();
        let fields = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")];
        learn(&quota, StatusCode::OK, &headers(&fields));
        let wait = headers(&[("retry-after", "30")]);
        learn(&quota, StatusCode::TOO_MANY_REQUESTS, &wait);
        let seen = quota.seen();
        assert!((before + 60..=now() + 60).contains(&seen.resets.unwrap()));
        assert!((before + 30..=now() + 30).contains(&seen.retry_after.unwrap()));
    }

    #[test]
    fn only_a_429_or_503_asks_to_wait() {
        let wait = headers(&[("retry-after", "30")]);
        let asked = |status| asked_to_wait(status, &wait);
        assert_eq!(
            asked(StatusCode::SERVICE_UNAVAILABLE),
            Some(Duration::from_secs(30))
        );
        assert_eq!(asked(StatusCode::MOVED_PERMANENTLY), None);
        let date = headers(&[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")]);
        let past = asked_to_wait(StatusCode::TOO_MANY_REQUESTS, &date);
        assert_eq!(past, Some(Duration::ZERO));
        let odd = headers(&[("retry-after", "soon")]);
        assert_eq!(asked_to_wait(StatusCode::TOO_MANY_REQUESTS, &odd), None);
    }
}
