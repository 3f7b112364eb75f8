//! What is trimmed from a secret that was read, and what a copy or an editor brings along
//! with one and an issuer would not know.

use zeroize::Zeroizing;

use super::fault::{MAX_BYTES, SecretFault};

/// Trims and checks what was read. The buffer that came in is zeroed in any case.
pub(super) fn clean(bytes: Zeroizing<Vec<u8>>) -> Result<String, SecretFault> {
    if bytes.len() > MAX_BYTES {
        return Err(SecretFault::TooLong);
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_end_matches(['\r', '\n']),
        Err(error) => return Err(SecretFault::NotUtf8(error.valid_up_to())),
    };
    if text.is_empty() {
        return Err(SecretFault::Empty);
    }
    for (at, c) in text.char_indices() {
        match c {
            '\u{2018}'..='\u{201f}' => return Err(SecretFault::CurlyQuote(at)),
            '\u{feff}' => return Err(SecretFault::ByteOrderMark(at)),
            // Unicode's zero-width, joining and direction marks, and the soft hyphen.
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => {
                return Err(SecretFault::Invisible { at, character: c });
            }
            c if c.is_control() => return Err(SecretFault::Control(at)),
            _ => {}
        }
    }
    wrapped(text)?;
    // Exactly as long as it is, so that growing never leaves a copy behind.
    Ok(text.to_owned())
}

/// Checks what was read and takes it as it is: what its lines mean is for its reader to say.
/// The buffer that came in is zeroed in any case.
pub(super) fn lines(bytes: Zeroizing<Vec<u8>>) -> Result<String, SecretFault> {
    if bytes.len() > MAX_BYTES {
        return Err(SecretFault::TooLong);
    }
    match std::str::from_utf8(&bytes) {
        Ok("") => Err(SecretFault::Empty),
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(SecretFault::NotUtf8(error.valid_up_to())),
    }
}

/// Refuses what a copy brings along with a secret, which no issuer would know.
fn wrapped(text: &str) -> Result<(), SecretFault> {
    let mut inner = text.trim().chars();
    if let (Some(first @ ('"' | '\'' | '`')), Some(last)) = (inner.next(), inner.next_back())
        && first == last
    {
        return Err(SecretFault::Quoted(first));
    }
    let begins = |word: &str| {
        let start = text.trim_start().get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    for name in ["Authorization", "Proxy-Authorization", "Cookie"] {
        if begins(&format!("{name}:")) {
            return Err(SecretFault::HeaderName(name));
        }
    }
    // Any other = may well be a part of a password; that of a padded Base64 text ends it.
    let name = text.trim_start().split_once('=').map(|(name, _)| name);
    let name = name.unwrap_or("").to_ascii_uppercase();
    let name = name.strip_prefix("EXPORT ").unwrap_or(&name);
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let says = [
        "PASSWORD", "PASSWD", "TOKEN", "SECRET", "BEARER", "API_KEY", "APIKEY",
    ];
    if is_name && says.iter().any(|word| name.contains(word)) {
        return Err(SecretFault::Assignment);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(bytes: &[u8]) -> Result<String, SecretFault> {
        clean(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn an_end_of_line_is_trimmed_and_nothing_else() {
        assert_eq!(cleaned(b"pw\r\n").unwrap(), "pw");
        assert_eq!(cleaned(b"pw\n\n").unwrap(), "pw");
        assert_eq!(cleaned(b" p w ").unwrap(), " p w ");
        assert_eq!(
            cleaned(b"$HOME ${x} %41 ~ \\n").unwrap(),
            "$HOME ${x} %41 ~ \\n"
        );
    }

    #[test]
    fn what_no_secret_should_hold_is_refused_with_its_offset() {
        for (bytes, shown) in [
            (b"\r\n".as_slice(), "it is empty"),
            (b"", "it is empty"),
            (b"ab\tc", "a control character at byte 2"),
            (b"ab\ncd", "a control character at byte 2"),
            (b"ab\0", "a control character at byte 2"),
            ("a\u{201c}b".as_bytes(), "a curly quote at byte 1"),
            ("\u{feff}ab".as_bytes(), "a byte order mark at byte 0"),
            (b"abc\xff", "not UTF-8 at byte 3"),
            (
                "a\u{200b}b".as_bytes(),
                "an invisible character (U+200B) at byte 1",
            ),
            (
                "\u{2060}ab".as_bytes(),
                "an invisible character (U+2060) at byte 0",
            ),
            (
                "ab\u{ad}".as_bytes(),
                "an invisible character (U+00AD) at byte 2",
            ),
            (
                b"\"hunter2\"\n",
                "it stands in quotes (\"), which would be a part of it",
            ),
            (
                b"'hunter2'",
                "it stands in quotes ('), which would be a part of it",
            ),
            (
                b"`hunter2`",
                "it stands in quotes (`), which would be a part of it",
            ),
            (
                b"Authorization: Bearer hunter2",
                "it begins with a header's name (Authorization:)",
            ),
            (
                b"authorization:hunter2",
                "it begins with a header's name (Authorization:)",
            ),
            (b"ADMIN_BEARER=hunter2", "the name of a variable and ="),
            (
                b"export CRM_PASSWORD=hunter2",
                "the name of a variable and =",
            ),
            (b"password=hunter2", "the name of a variable and ="),
        ] {
            let fault = cleaned(bytes).expect_err(shown);
            assert!(fault.to_string().contains(shown), "{fault}");
            let all = format!("{fault}; {}", fault.fix());
            assert!(!all.contains("hunter2"), "{all}");
        }
        for good in [
            "a=b",
            "QUJDRA==",
            "\"",
            "it's",
            "\"a\" b",
            "x:y",
            "p\u{e4}ss",
            "=TOKEN",
        ] {
            assert_eq!(cleaned(good.as_bytes()).unwrap(), good);
        }
        let long = vec![b'a'; MAX_BYTES + 1];
        assert!(matches!(cleaned(&long), Err(SecretFault::TooLong)));
        assert!(cleaned(&long[1..]).is_ok());
    }
}
