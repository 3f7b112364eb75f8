//! `/status` as tables for people.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::cli::report::span;

/// Everything: a line about the process, the credentials, the routes.
pub(super) fn overview(all: &Json) -> String {
    let mut text = String::new();
    let ready = match all["ready"].as_bool() {
        Some(true) => "ready",
        _ => "NOT READY",
    };
    let (version, config) = (word(&all["version"]), word(&all["config"]));
    let _ = writeln!(text, "headset {version}: {ready}, configuration {config}");
    if let Some(false) = all["last_reload"]["successful"].as_bool() {
        let at = word(&all["last_reload"]["at"]);
        let _ = writeln!(text, "the configuration was changed at {at} and refused:");
        for problem in list(&all["last_reload"]["problems"]) {
            let _ = writeln!(text, "  {}", word(problem));
        }
    }
    if let Some(until) = all["log"]["until"].as_str() {
        let _ = writeln!(
            text,
            "the log is at level {} until {until}",
            word(&all["log"]["level"])
        );
    }
    if all["fleet"].is_object() {
        text.push_str(&fleet(&all["fleet"], &all["now"]));
    }
    let credentials = list(&all["credentials"]);
    if !credentials.is_empty() {
        let mut rows = Rows::of(["CREDENTIAL", "KIND", "STATE", "EXPIRES", "RENEWS"]);
        for credential in credentials {
            slots(credential, &all["now"], &mut rows);
        }
        let _ = write!(text, "\n{}", rows.lay_out());
    }
    let listeners = list(&all["listeners"]);
    if !listeners.is_empty() {
        let mut rows = Rows::of(["LISTENER", "MODE", "BIND", "TLS", "ELSEWHERE", "LOCAL CA"]);
        for listener in listeners {
            let tls = listener["tls"].as_bool() == Some(true);
            rows.push([
                word(&listener["name"]),
                word(&listener["mode"]),
                word(&listener["bind"]),
                if tls { "yes" } else { "no" }.to_owned(),
                word(&listener["elsewhere"]),
                word(&listener["local_ca"]),
            ]);
        }
        let _ = write!(text, "\n{}", rows.lay_out());
    }
    let authorities = list(&all["local_cas"]);
    if !authorities.is_empty() {
        let mut rows = Rows::of(["LOCAL CA", "LISTENER", "HOSTS", "EXPIRES", "KEY"]);
        for authority in authorities {
            let hosts: Vec<String> = list(&authority["hosts"]).iter().map(word).collect();
            let of_run = authority["of_this_run"].as_bool() == Some(true);
            rows.push([
                word(&authority["subject"]),
                word(&authority["listener"]),
                match hosts.is_empty() {
                    true => "any".to_owned(),
                    false => hosts.join(", "),
                },
                in_time(&authority["expires"], &all["now"]),
                if of_run { "in memory" } else { "kept" }.to_owned(),
            ]);
        }
        let _ = write!(text, "\n{}", rows.lay_out());
    }
    let routes = list(&all["routes"]);
    if !routes.is_empty() {
        let mut rows = Rows::of(["ROUTE", "MATCH", "UPSTREAM", "CREDENTIAL", "PACE", "QUOTA"]);
        for route in routes {
            let (host, path) = (&route["match"]["host"], word(&route["match"]["path"]));
            let matched = host
                .as_str()
                .map_or(path.clone(), |host| format!("{host}{path}"));
            let credential = word(&route["credential"]);
            rows.push([
                word(&route["name"]),
                matched,
                word(&route["upstream"]),
                credential,
                pace(&route["pace"]),
                quota(&route["quota"], &all["now"]),
            ]);
        }
        let _ = write!(text, "\n{}", rows.lay_out());
    }
    text
}

/// The line about the fleet and its store, and one about the store's last error while it is down.
fn fleet(fleet: &Json, now: &Json) -> String {
    let (role, store) = (word(&fleet["role"]), word(&fleet["store"]));
    let since = at(&fleet["since"], now);
    let mut text = match fleet["up"].as_bool() {
        Some(true) => format!("a {role} of a fleet; {store} is up since {since}\n"),
        Some(false) => format!("a {role} of a fleet; {store} is DOWN since {since}\n"),
        None => format!("a {role} of a fleet; {store} was not asked anything yet\n"),
    };
    if let (Some(false), Some(error)) = (fleet["up"].as_bool(), fleet["last_error"].as_str()) {
        let _ = writeln!(text, "  last error: {error}");
    }
    text
}

/// How fast a route's calls may leave.
fn pace(pace: &Json) -> String {
    let (Some(calls), Some(per)) = (pace["calls"].as_u64(), pace["per_seconds"].as_f64()) else {
        return "-".to_owned();
    };
    let per = humantime::format_duration(Duration::from_secs_f64(per));
    let mut text = match pace["burst"].as_u64() {
        Some(burst) if burst > 1 => format!("{calls} in {per}, {burst} at once"),
        _ => format!("{calls} in {per}"),
    };
    if pace["shared"].as_bool() == Some(true) {
        text.push_str(", shared");
    }
    text
}

/// What an upstream says of its quota.
fn quota(quota: &Json, now: &Json) -> String {
    let left = match (quota["remaining"].as_i64(), quota["limit"].as_i64()) {
        (Some(left), Some(limit)) => format!("{left} of {limit} left"),
        (Some(left), None) => format!("{left} left"),
        (None, _) => "-".to_owned(),
    };
    let wait = in_time(&quota["retry_after"], now);
    match wait.strip_prefix("in ") {
        Some(wait) => format!("{left}, wait {wait}"),
        None => left,
    }
}

/// All that is known of one credential.
pub(super) fn credential(one: &Json, now: &Json) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} ({})", word(&one["name"]), word(&one["kind"]));
    let each = match one["tenants"].as_array() {
        Some(tenants) => tenants.iter().collect(),
        None => vec![one],
    };
    for slot in each {
        if let Some(tenant) = slot["tenant"].as_str() {
            let _ = writeln!(text, "tenant {tenant}");
        }
        let mut put = |name: &str, value: String| {
            if value != "-" {
                let _ = writeln!(text, "  {name:<14}{value}");
            }
        };
        put("state", word(&slot["state"]));
        put("generation", word(&slot["generation"]));
        put("issued", at(&slot["issued"], now));
        put("expires", at(&slot["expires"], now));
        put("renews", at(&slot["renews"], now));
        put("last error", word(&slot["last_error"]));
        put("tried again", at(&slot["retries"], now));
        put("last rejected", at(&slot["last_rejected"], now));
        let shared = &slot["shared"];
        put("in the fleet", word(&shared["generation"]));
        put("published", word(&shared["published"]));
        put("rejected", word(&shared["rejected"]));
        if let Some(replica) = shared["lease"]["replica"].as_str() {
            put(
                "lease",
                format!("{replica} until {}", at(&shared["lease"]["until"], now)),
            );
        }
        let human = &slot["human"];
        put("action due", at(&human["due"], now));
        put("action", word(&human["action"]));
    }
    text
}

/// The row of a credential, or one for each tenant, and below it what is wrong.
fn slots(credential: &Json, now: &Json, rows: &mut Rows<5>) {
    let name = word(&credential["name"]);
    let kind = word(&credential["kind"]);
    let mut row = |name: String, slot: &Json| {
        let state = word(&slot["state"]);
        let expires = match slot["expires"].as_str() {
            None if state == "live" => "never".to_owned(),
            None => "-".to_owned(),
            Some(_) => in_time(&slot["expires"], now),
        };
        rows.push([
            name,
            kind.clone(),
            state,
            expires,
            in_time(&slot["renews"], now),
        ]);
        if let Some(error) = slot["last_error"].as_str() {
            rows.note(format!("  last error: {error}"));
        }
        let human = &slot["human"];
        if let Some(action) = human["action"].as_str() {
            let due = at(&human["due"], now);
            rows.note(format!("  manual action by {due}: {action}"));
        }
    };
    match credential["tenants"].as_array() {
        Some(tenants) if tenants.is_empty() => {
            row(
                name.clone(),
                &serde_json::json!({ "state": "no tenant yet" }),
            );
        }
        Some(tenants) => {
            for slot in tenants {
                row(format!("{name} {}", word(&slot["tenant"])), slot);
            }
        }
        None => row(name.clone(), credential),
    }
}

/// Rows of `N` columns, some with notes below them.
struct Rows<const N: usize>(Vec<Result<[String; N], String>>);

impl<const N: usize> Rows<N> {
    fn of(head: [&str; N]) -> Rows<N> {
        Rows(vec![Ok(head.map(str::to_owned))])
    }

    fn push(&mut self, row: [String; N]) {
        self.0.push(Ok(row));
    }

    fn note(&mut self, text: String) {
        self.0.push(Err(text));
    }

    /// Each column as wide as its widest cell, two spaces between them, none at the end.
    fn lay_out(&self) -> String {
        let mut widths = [0; N];
        for row in self.0.iter().flatten() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.0 {
            let line = match row {
                Err(note) => note.clone(),
                Ok(row) => {
                    let cells = row.iter().zip(widths);
                    let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
                    cells.collect::<Vec<_>>().join("  ")
                }
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A value as text; `-` where there is none.
fn word(value: &Json) -> String {
    match value {
        Json::Null => "-".into(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How far `time` is from `now`: `in 3 days`, `2 hours ago`; `-` where there is none.
fn in_time(time: &Json, now: &Json) -> String {
    let parse = |value: &Json| value.as_str()?.parse::<Timestamp>().ok();
    let (Some(time), Some(now)) = (parse(time), parse(now)) else {
        return "-".into();
    };
    let ms = time.as_millisecond().saturating_sub(now.as_millisecond());
    let far = span(Duration::from_millis(ms.unsigned_abs()));
    match ms {
        ..0 => format!("{far} ago"),
        _ => format!("in {far}"),
    }
}

/// The time with how far it is from now.
fn at(time: &Json, now: &Json) -> String {
    match time.as_str() {
        Some(text) => format!("{text} ({})", in_time(time, now)),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_stands_below_its_row_and_times_are_told_from_now() {
        let all = json!({
            "version": "1.2.3", "config": "abc", "ready": true, "now": "2026-11-29T12:00:00Z",
            "credentials": [
                {"name": "cms_key", "kind": "basicauth", "state": "live",
                 "expires": "2026-12-29T12:00:00Z", "renews": "2026-12-28T00:00:00Z"},
                {"name": "key", "kind": "static", "state": "live", "expires": null},
                {"name": "pbx", "kind": "ameyo_jwt", "state": "refused",
                 "last_error": "the account is locked", "human": {
                    "due": "2026-11-29T11:00:00Z", "action": "unlock the account"}},
                {"name": "many", "kind": "ccm_token", "tenants": [
                    {"tenant": "7", "state": "expired", "expires": "2026-11-29T11:59:00Z"}]},
            ],
            "listeners": [
                {"name": "app", "mode": "reverse", "bind": "127.0.0.1:8080", "tls": false,
                 "elsewhere": null, "local_ca": null},
                {"name": "proxy", "mode": "forward", "bind": "127.0.0.1:3128", "tls": false,
                 "elsewhere": "pass", "local_ca": "headset local CA"}],
            "routes": [{"name": "contacts", "match": {"host": null, "path": "/v1"},
                        "upstream": "https://cms.example.com", "credential": "cms_key",
                        "pace": {"calls": 200, "per_seconds": 60.0, "burst": 5, "wait_seconds": 5.0},
                        "quota": {"limit": 200, "remaining": 3,
                                  "retry_after": "2026-11-29T12:00:30Z"}}],
        });
        assert_eq!(
            overview(&all),
            "headset 1.2.3: ready, configuration abc\n\
             \n\
             CREDENTIAL  KIND       STATE    EXPIRES       RENEWS\n\
             cms_key     basicauth  live     in 30 days    in 28 days 12 hours\n\
             key         static     live     never         -\n\
             pbx         ameyo_jwt  refused  -             -\n\
             \x20 last error: the account is locked\n\
             \x20 manual action by 2026-11-29T11:00:00Z (1 hour ago): unlock the account\n\
             many 7      ccm_token  expired  1 minute ago  -\n\
             \n\
             LISTENER  MODE     BIND            TLS  ELSEWHERE  LOCAL CA\n\
             app       reverse  127.0.0.1:8080  no   -          -\n\
             proxy     forward  127.0.0.1:3128  no   pass       headset local CA\n\
             \n\
             ROUTE     MATCH  UPSTREAM                 CREDENTIAL  PACE                  QUOTA\n\
             contacts  /v1    https://cms.example.com  cms_key     200 in 1m, 5 at once  3 of 200 left, wait 30 seconds\n"
        );
    }

    #[test]
    fn a_pace_says_whether_all_replicas_keep_it_together() {
        let mut told = json!({"calls": 50, "per_seconds": 60.0, "burst": 1, "shared": true});
        assert_eq!(pace(&told), "50 in 1m, shared");
        told["shared"] = false.into();
        assert_eq!(pace(&told), "50 in 1m");
    }

    #[test]
    fn a_replica_tells_its_role_its_store_and_who_mints() {
        let mut all = json!({
            "version": "1", "config": "abc", "ready": true, "now": "2026-11-29T12:00:00Z",
            "fleet": {"role": "keeper", "store": "redis://r:6379", "up": true,
                      "since": "2026-11-29T11:00:00Z", "last_error": "it did not answer"},
        });
        assert_eq!(
            overview(&all),
            "headset 1: ready, configuration abc\n\
             a keeper of a fleet; redis://r:6379 is up since 2026-11-29T11:00:00Z (1 hour ago)\n"
        );
        all["fleet"]["up"] = false.into();
        let told = overview(&all);
        assert!(told.contains("redis://r:6379 is DOWN since"), "{told}");
        assert!(
            told.contains("\n  last error: it did not answer\n"),
            "{told}"
        );
        let one = json!({"name": "cms_key", "kind": "basicauth", "state": "live", "generation": 2,
            "shared": {"generation": 1800, "published": 1801,
                       "lease": {"replica": "pod-1:7", "until": "2026-11-29T12:00:20Z"}}});
        let told = credential(&one, &all["now"]);
        for line in [
            "  generation    2\n",
            "  in the fleet  1800\n",
            "  published     1801\n",
            "  lease         pod-1:7 until 2026-11-29T12:00:20Z (in 20 seconds)\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_refused_configuration_and_another_log_level_are_told_first() {
        let all = json!({
            "version": "1", "config": "abc", "ready": false, "now": "2026-11-29T12:00:00Z",
            "last_reload": {"at": "2026-11-29T11:00:00Z", "successful": false, "problems": ["x: y"]},
            "log": {"level": "debug", "until": "2026-11-29T12:15:00Z"},
        });
        assert_eq!(
            overview(&all),
            "headset 1: NOT READY, configuration abc\n\
             the configuration was changed at 2026-11-29T11:00:00Z and refused:\n  x: y\n\
             the log is at level debug until 2026-11-29T12:15:00Z\n"
        );
    }
}
