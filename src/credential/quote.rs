//! What may be told of an error answer: its E1 code and message, and nothing else.
//!
//! The message is the server's, so it is bounded, its control characters are
//! escaped, and whatever it repeats of our own secrets is cut out, whole or in part, in
//! any spelling (`secret/spelling.rs`). So is a long run of letters and digits that looks
//! like a token, since it may be somebody else's. Of JSON keys only those are told that
//! look like names: some issuers write a session's id where others have a name.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::text::Text;
use crate::secret::spelling::{LEAST, Unescaped, folded, spellings};

/// The most characters of a message that are told.
const MESSAGE_LIMIT: usize = 200;

/// This many bytes in a row of a secret are a part of it, not chance.
const PART: usize = 8;

/// A word of letters and digits that is as long as this is a token, but for a UUID, which
/// people look for in logs. 36 characters are a UUID.
const TOKEN: usize = 32;

#[derive(Deserialize)]
struct ExceptionBody<'a> {
    #[serde(borrow, rename = "errorCode")]
    code: Option<Text<'a>>,
    #[serde(borrow, rename = "errorMessage")]
    message: Option<Text<'a>>,
}

/// ` (CODE: message)` of an E1 body, without `secrets`; empty for any other body.
pub(super) fn quote(body: &[u8], secrets: &[&str]) -> String {
    let Ok(said) = serde_json::from_slice::<ExceptionBody<'_>>(body) else {
        return String::new();
    };
    let parts: Vec<String> = [said.code, said.message]
        .iter()
        .flatten()
        .map(|text| clean(text.as_str(), secrets))
        .filter(|text| !text.is_empty())
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(" ({})", parts.join(": "))
}

/// `text`, bounded, on one line and without `secrets`.
pub(super) fn clean(text: &str, secrets: &[&str]) -> String {
    // Looked through before it is cut, so that no cut hides a secret from us; a
    // longer message than this is not worth the look.
    let mut end = text.len().min(4 * 1024);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    let mut hidden = hidden(text.as_bytes(), secrets);
    hide_tokens(text, &mut hidden);
    let mut told = String::new();
    let mut count = 0;
    let mut in_secret = false;
    for (at, c) in text.char_indices() {
        if hidden[at..at + c.len_utf8()].contains(&true) {
            if !in_secret {
                told.push_str("[secret]");
            }
            in_secret = true;
            continue;
        }
        in_secret = false;
        if count == MESSAGE_LIMIT {
            told.push('…');
            break;
        }
        count += 1;
        if c.is_control() || is_invisible(c) {
            told.extend(c.escape_default());
        } else {
            told.push(c);
        }
    }
    told
}

/// Marks every byte of `text` that repeats a secret, or [`PART`] or more in a row of one,
/// in whatever spelling, or spaced out: then letters and digits alone count.
fn hidden(text: &[u8], secrets: &[&str]) -> Vec<bool> {
    let mut hidden = vec![false; text.len()];
    let is_sought = |(number, spelling): &(usize, Zeroizing<Vec<u8>>)| {
        !spelling.is_empty() && (*number == 0 || spelling.len() >= LEAST)
    };
    let sought: Vec<Zeroizing<Vec<u8>>> = secrets
        .iter()
        .flat_map(|secret| spellings(secret.as_bytes()).into_iter().enumerate())
        .filter(is_sought)
        .map(|(_, spelling)| spelling)
        .collect();
    let levels = Unescaped::all(text);
    for level in &levels {
        mark(level, &sought, &mut hidden);
    }
    let squeezed: Vec<Zeroizing<Vec<u8>>> = secrets
        .iter()
        .map(|secret| fold(Unescaped::plain(secret.as_bytes()).squeezed().bytes()))
        .filter(|secret| secret.len() >= LEAST)
        .collect();
    mark(&levels[0].squeezed(), &squeezed, &mut hidden);
    hidden
}

/// Marks what of `level` is one of `sought`, or [`PART`] bytes in a row of one.
fn mark(level: &Unescaped, sought: &[Zeroizing<Vec<u8>>], hidden: &mut [bool]) {
    let bytes = fold(level.bytes());
    for secret in sought {
        let size = secret.len().min(PART);
        for (at, window) in bytes.windows(size).enumerate() {
            if secret.windows(size).any(|part| part == window) {
                hidden[level.place(at, at + size)].fill(true);
            }
        }
    }
}

fn fold(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.iter().copied().map(folded).collect())
}

/// Marks every word that looks like a token: long, with letters and digits, and neither
/// a path nor a UUID.
fn hide_tokens(text: &str, hidden: &mut [bool]) {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-_.=+/~%".contains(&b);
    let mut start = 0;
    for word in text.as_bytes().split(|b| !is_part(*b)) {
        let end = start + word.len();
        let is_uuid = word.len() == 36
            && word.iter().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => *b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        let has = |is: fn(&u8) -> bool| word.iter().any(is);
        if word.len() >= TOKEN
            && word[0] != b'/'
            && !is_uuid
            && has(u8::is_ascii_digit)
            && has(u8::is_ascii_alphabetic)
        {
            hidden[start..end].fill(true);
        }
        start = end + 1;
    }
}

/// Whether `key` is what somebody called a place, rather than what stands in it: a few
/// words of a few letters, with two digits at most.
pub(super) fn looks_like_a_name(key: &str) -> bool {
    const LONGEST: usize = 40;
    const DIGITS: usize = 2;
    const SHORT: usize = 8;
    let bytes = key.as_bytes();
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || b"_-.:$~".contains(b);
    if !(1..=LONGEST).contains(&bytes.len()) || !bytes.iter().all(is_part) {
        return false;
    }
    if bytes.iter().filter(|b| b.is_ascii_digit()).count() > DIGITS {
        return false;
    }
    // A word begins after what is no letter, with the first capital, and with the last
    // one of several.
    let letter = |at: usize| bytes.get(at).filter(|b| b.is_ascii_alphabetic());
    let begins = |at: usize| {
        let before = at.checked_sub(1).and_then(letter);
        match (before, letter(at)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(before), Some(this)) => {
                let after = letter(at + 1).is_some_and(u8::is_ascii_lowercase);
                this.is_ascii_uppercase() && (before.is_ascii_lowercase() || after)
            }
        }
    };
    let words = (0..bytes.len()).filter(|at| begins(*at)).count();
    bytes.len() <= SHORT || words * 3 <= bytes.len()
}

/// Characters that turn a line around or hide in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    fn body(code: &str, message: &str) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({
            "statusCode": 401, "status": "x", "errorCode": code, "errorMessage": message,
        }))
        .unwrap()
    }

    #[test]
    fn code_and_message_are_told_and_other_bodies_are_not() {
        assert_eq!(
            quote(&body("CONF-1001", "Invalid token"), &[]),
            " (CONF-1001: Invalid token)"
        );
        for other in ["", "<html>no</html>", "null", "[]", "{\"message\":\"x\"}"] {
            assert_eq!(quote(other.as_bytes(), &[]), "", "{other}");
        }
        assert_eq!(quote(br#"{"errorCode":1001}"#, &[]), " (1001)");
    }

    #[test]
    fn a_message_is_bounded_and_cannot_break_a_line() {
        let told = quote(&body("c", &"é".repeat(5000)), &[]);
        assert!(told.chars().count() < 220, "{told}");
        let told = quote(&body("c", "a\nb\u{1b}[31m\u{202e}c"), &[]);
        assert_eq!(told, " (c: a\\nb\\u{1b}[31m\\u{202e}c)");
    }

    #[test]
    fn our_own_secrets_are_cut_out_whole_or_in_part() {
        let secrets = ["eyJhbGciOiJSUzUxMiJ9.eyJpc3MiOiJhIn0.c2ln", "p$ss"];
        let told = quote(
            &body(
                "p$ss",
                "token eyJhbGciOiJSUzUxMiJ9.eyJ… for p$ss, p$sp$ss bad",
            ),
            &secrets,
        );
        assert_eq!(
            told,
            " ([secret]: token [secret]… for [secret], p$s[secret] bad)"
        );
        // A cut must not leave the head of one behind.
        let long = format!("{}{}", "x".repeat(195), secrets[0]);
        assert!(!quote(&body("c", &long), &secrets).contains("eyJ"));
    }

    #[test]
    fn a_secret_is_cut_out_in_every_spelling() {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let secret = "pa$$w0rd-\u{e4}";
        let pair = format!("crm:{secret}");
        let encoded = STANDARD.encode(&pair);
        let percent = utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string();
        for echo in [
            secret.to_uppercase(),
            encoded.to_uppercase(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(format!("x{secret}")),
            encoded,
            percent.to_lowercase(),
            percent,
            "p\\u0061$$w0rd-\\u00e4".into(),
        ] {
            let told = clean(&format!("bad {echo} !"), &[secret]);
            let rest = told.replace("[secret]", "");
            // What is left of it holds no part that could be used.
            assert!(told.contains("[secret]") && rest.len() <= 5 + 10, "{told}");
        }
    }

    #[test]
    fn a_secret_that_is_spaced_out_is_cut_out() {
        let secret = "S3cr3t-pa$$w0rd";
        for echo in [
            "S 3 c r 3 t - p a $ $ w 0 r d",
            "S.3.c.r.3.t.p.a.w.0.r.d",
            "s3cr3t pa w0rd",
        ] {
            let told = clean(&format!("bad {echo} !"), &[secret]);
            assert_eq!(told, "bad [secret] !", "{echo}");
        }
    }

    #[test]
    fn only_keys_that_look_like_names_are_told() {
        for name in [
            "sessionId",
            "userSessionInfo",
            "access_token",
            "jwtTokenExpiryMs",
            "a.b",
            "oauth2_token",
            "Code",
            "X-Auth-Token",
            "RestException",
        ] {
            assert!(looks_like_a_name(name), "{name}");
        }
        for token in [
            "d898-690087a3-ses-supervisor-1373",
            "hK3j9Qw2Lz",
            "xKqWzRtYbNmPaSdF",
            "0b9c8f0e-6d1e-4b47-9c53-1f3f4a1c9d10",
            "eyJhbGciOiJIUzI1NiJ9",
            "",
            "n\u{e4}me",
            "a key with words in it that go on and on",
        ] {
            assert!(!looks_like_a_name(token), "{token}");
        }
    }

    #[test]
    fn a_secret_is_cut_out_as_json_and_a_form_write_it_too() {
        let secret = "a\"b\"c\"d\"e\"f\\g+h/i&j=k";
        let json = serde_json::to_string(secret).unwrap();
        let form = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        for told in [json.trim_matches('"'), &form, secret] {
            assert_eq!(clean(&format!("bad {told} !"), &[secret]), "bad [secret] !");
        }
    }

    #[test]
    fn what_looks_like_a_token_is_cut_out_whosever_it_is() {
        for token in [
            "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjV9.c2lnbmF0dXJl",
            "d898-690087a3-ses-supervisor-1373-and-so-on",
            "eyJwYXNzd29yZCI6Imh1bnRlcjIifQ==",
        ] {
            let told = clean(&format!("logged in as {token}."), &[]);
            assert!(told.starts_with("logged in as [secret]"), "{told}");
        }
        for plain in [
            "request 0b9c8f0e-6d1e-4b47-9c53-1f3f4a1c9d10 failed",
            "no resource at /v2/accounts/acme1/configuration/basicauth",
            "java.lang.IllegalStateException: invalid.authentication.token",
        ] {
            assert_eq!(clean(plain, &[]), plain);
        }
    }
}
