//! What each type takes and refuses, beyond what the tests of `load.rs` show.

use super::*;

fn time(text: &str) -> Option<Duration> {
    match scalar(ValueType::Duration, text, ScalarForm::Loose) {
        Ok(Value::Duration(time)) => Some(time),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<u64> {
    match scalar(ValueType::Size, text, ScalarForm::Loose) {
        Ok(Value::Integer(bytes)) => Some(bytes),
        _ => None,
    }
}

#[test]
fn a_time_has_a_unit_and_an_end() {
    assert_eq!(time("30s"), Some(Duration::from_secs(30)));
    assert_eq!(time("30d"), Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(time("1h 30m"), Some(Duration::from_secs(5400)));
    assert_eq!(time("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(time("0"), Some(Duration::ZERO));
    for bad in [
        "30",
        "s",
        "-1s",
        "",
        "200years",
        // Adding these up is where humantime 2.4 panics.
        "18446744073709551615s 1000000000ns",
    ] {
        assert_eq!(time(bad), None, "{bad}");
    }
}

#[test]
fn a_size_is_bytes_with_or_without_a_unit() {
    assert_eq!(bytes("64KiB"), Some(65_536));
    assert_eq!(bytes("1KB"), Some(1000));
    assert_eq!(bytes("100"), Some(100));
    for bad in ["", "KiB", "-1", "+1", "1 2", "1XB"] {
        assert_eq!(bytes(bad), None, "{bad}");
    }
}

#[test]
fn an_address_is_never_a_name() {
    for good in ["127.0.0.1:80", "[::1]:80", "unix:/run/a.sock"] {
        assert!(bind(good).is_ok(), "{good}");
    }
    for (bad, fix) in [
        ("localhost:80", "127.0.0.1:80"),
        (":80", "0.0.0.0:80"),
        ("80", "unix:"),
        ("unix:", "unix:/"),
    ] {
        let (_, said) = bind(bad).expect_err(bad);
        assert!(said.contains(fix), "{said}");
    }
}

#[test]
fn a_url_with_a_password_is_refused_without_showing_it() {
    let (why, fix) = scalar(ValueType::Url, "https://u:hunter2@h/", ScalarForm::Text).unwrap_err();
    assert!(!format!("{why}{fix}").contains("hunter2"));
}

#[test]
fn what_was_meant_is_close_to_what_was_written() {
    let words = ["upstream", "effect", "idle"];
    assert_eq!(near("upstrem", words.into_iter()), Some("upstream"));
    assert_eq!(near("efect", words.into_iter()), Some("effect"));
    assert_eq!(near("banana", words.into_iter()), None);
}
