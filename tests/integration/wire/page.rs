//! docs/http.md makes no promise without a case: every line of its lists and tables
//! has an anchor, and every anchor a case in these tables or a story that is named here.

use std::collections::BTreeSet;

use super::{answers, bodies, fields, http2, targets};

/// Sections that are held to it; the others have stories of their own.
const SECTIONS: [&str; 7] = [
    "Passed unchanged",
    "Changed in requests",
    "Changed in responses",
    "Invalid and incomplete responses",
    "Which route",
    "Refused",
    "Tolerated",
];

/// Promises kept by a story: anchor, file, test.
const STORIES: &[(&str, &str, &str)] = &[
    ("host", "wire/run", "compare"),
    (
        "base-path",
        "stories/passes_through",
        "the_upstreams_own_path_goes_before_and_the_prefix_can_go_away",
    ),
    (
        "location",
        "stories/passes_through",
        "a_redirect_is_not_followed_and_leads_back_to_the_listener",
    ),
    (
        "drain-close",
        "stories/drains",
        "a_drain_takes_new_calls_finishes_old_ones_and_ends",
    ),
    (
        "early-answer",
        "wire/early",
        "an_early_413_reaches_the_caller_although_the_upstream_closes",
    ),
    (
        "odd-names",
        "wire/fields",
        "odd_names_go_where_the_route_says_so",
    ),
    (
        "issuer",
        "stories/refuses",
        "no_spelling_of_an_issuer_or_a_dot_segment_reaches_anything",
    ),
    (
        "foreign",
        "wire/targets",
        "a_credential_goes_nowhere_but_to_its_origins",
    ),
    (
        "in-flight",
        "stories/limits",
        "over_the_limit_a_call_is_answered_at_once_and_all_recovers",
    ),
    (
        "paced",
        "stories/paces",
        "a_call_without_a_place_in_time_is_told_when_to_come_and_reaches_nobody",
    ),
    (
        "request-id",
        "stories/access_log",
        "an_id_is_sent_upstream_where_the_route_asks_for_it_and_never_in_place_of_the_callers",
    ),
    (
        "trace-context",
        "stories/traces",
        "a_trace_begins_where_the_caller_has_none_and_is_not_recorded_where_he_does_not",
    ),
    ("connections", "stories/limits", "connections_are_capped"),
    (
        "slow-head",
        "stories/limits",
        "a_head_that_does_not_end_is_cut_and_counted_and_rest_is_not",
    ),
    (
        "unread-body",
        "stories/early_answers",
        "an_upstreams_413_reaches_two_hundred_callers_that_still_send",
    ),
    (
        "slow-body",
        "stories/limits",
        "a_body_that_comes_too_slowly_is_given_up_and_counted",
    ),
    (
        "slow-reader",
        "stories/limits",
        "a_caller_that_takes_nothing_of_its_answer_is_cut_and_counted",
    ),
    (
        "handshake",
        "stories/upgrades",
        "a_handshake_passes_with_the_credential_and_becomes_a_tunnel",
    ),
    (
        "over-http2",
        "stories/http2_upstream/messages",
        "the_head_becomes_one_of_http2",
    ),
    (
        "early-final",
        "stories/expects",
        "a_final_answer_before_the_100_passes_and_the_body_is_never_asked_for",
    ),
    (
        "caller-token",
        "stories/caller_token",
        "whoever_does_not_show_it_once_is_refused_and_reaches_nothing",
    ),
    (
        "caller-user",
        "stories/unix_listener",
        "only_the_users_that_are_listed_may_call_and_a_reload_changes_who",
    ),
    (
        "proxy-peer",
        "stories/proxy_protocol",
        "what_comes_without_one_or_from_elsewhere_is_closed_and_counted_and_told_once",
    ),
    (
        "proxy-header",
        "stories/proxy_protocol",
        "one_that_says_nothing_is_closed_in_the_time_for_a_head",
    ),
    (
        "no-tls",
        "stories/listener_tls",
        "http_to_a_tls_port_and_tls_to_a_plain_port_are_refused_and_counted",
    ),
    (
        "tls-unasked",
        "stories/listener_tls",
        "http_to_a_tls_port_and_tls_to_a_plain_port_are_refused_and_counted",
    ),
    (
        "slow-handshake",
        "stories/listener_tls",
        "a_handshake_that_does_not_end_is_cut_and_keeps_nobody_waiting",
    ),
    (
        "client-certificate",
        "stories/listener_tls",
        "only_callers_with_a_certificate_of_the_right_authority_are_let_in",
    ),
];

fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of list items and table rows, without the heads and rules of tables.
fn promises(section: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = section.lines().collect();
    let is_head = |at: usize| {
        lines
            .get(at + 1)
            .is_some_and(|next| next.starts_with("|---"))
    };
    let kept: Vec<&str> = (0..lines.len())
        .filter(|&at| {
            let row = lines[at].starts_with('|') && !lines[at].starts_with("|---");
            (row && !is_head(at)) || lines[at].starts_with("- ")
        })
        .map(|at| lines[at])
        .collect();
    kept.into_iter()
}

#[test]
fn every_promise_of_the_http_page_has_a_case_and_every_case_a_promise() {
    let page = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    let mut anchors = BTreeSet::new();
    for title in SECTIONS {
        let (_, rest) = page.split_once(&format!("\n## {title}\n")).expect(title);
        let section = rest.split("\n## ").next().unwrap();
        for line in promises(section) {
            let text = line.trim_start_matches(['|', '-', ' ']);
            let anchor = text
                .strip_prefix("<a id=\"")
                .and_then(|rest| rest.split_once("\"></a>"))
                .map(|(anchor, _)| anchor);
            let anchor = anchor.unwrap_or_else(|| panic!("no anchor before {text:?}"));
            assert!(anchors.insert(anchor), "{anchor} stands twice");
        }
    }

    let mut covered = BTreeSet::new();
    let mut count = 0;
    let mut case = |covers: &[&'static str]| {
        covered.extend(covers.iter().copied());
        count += 1;
    };
    for table in [targets::table(), fields::table(), bodies::table()] {
        table.iter().for_each(|asked| case(asked.covers));
    }
    answers::table()
        .iter()
        .for_each(|answered| case(answered.covers));
    http2::table().iter().for_each(|framed| case(framed.covers));
    assert!(count > 400, "{count} cases");

    for (anchor, file, test) in STORIES {
        let path = root().join(format!("tests/integration/{file}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("fn {test}")), "{file} has no {test}");
        covered.insert(anchor);
    }
    let list = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(", ");
    let promised: BTreeSet<&str> = anchors.clone();
    assert_eq!(
        list(promised.difference(&covered).copied().collect()),
        "",
        "without a case"
    );
    assert_eq!(
        list(covered.difference(&promised).copied().collect()),
        "",
        "without a line"
    );
}
