//! Finds a secret in a text, however it is spelled there.
//!
//! Whoever repeats a secret seldom repeats it as it is: it comes back in capitals, in
//! either alphabet of Base64 (RFC 4648 §4, §5) with or without padding, alone or as the
//! password of a Basic pair, percent-encoded (RFC 3986 §2.1) or escaped as in JSON. So a
//! text is first folded (letters of either case are one, and so are the characters that
//! those alphabets write differently) and its escapes are undone; then a handful of
//! spellings, made once, are looked for in it.
//!
//! [`Finder`] stands on the hot path: a text that holds nothing costs a look at one in
//! every few bytes. Own code, because what is looked for must be zeroed when it is
//! dropped, which the automata of the usual crates are not.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

/// No secret that is shorter is looked for, in bytes: it stands in other texts by chance.
pub const LEAST: usize = 6;

/// Bytes of a long secret that are looked for together.
const WINDOW: usize = 24;

/// Escapes in escapes that are undone.
const DEPTH: usize = 3;

/// The most texts that one with escapes is made into, itself among them: a bound to what
/// a text costs that mixes them.
const LEVELS: usize = 10;

/// Bytes that are looked at together.
const GRAM: usize = 3;

const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match octet as u8 {
            b'-' | b' ' => b'+',
            b'_' => b'/',
            other => other.to_ascii_lowercase(),
        };
        octet += 1;
    }
    table
};

/// `octet`, with what differs between spellings taken out: case, the two characters by
/// which the alphabets of Base64 differ, and the `+` that stands for a blank in a form.
pub fn folded(octet: u8) -> u8 {
    FOLDED[usize::from(octet)]
}

/// The folded spellings of `secret`: as it is, and as Base64 writes it wherever it
/// stands in what is encoded. Percent-encoding is undone in the text instead.
pub fn spellings(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let fold = |bytes: &[u8]| Zeroizing::new(bytes.iter().copied().map(folded).collect());
    let mut all = vec![fold(secret)];
    // Capitals beyond ASCII are other bytes.
    if let Ok(text) = std::str::from_utf8(secret)
        && !text.is_ascii()
    {
        let cased = [text.to_uppercase(), text.to_lowercase()];
        all.extend(cased.map(|text| fold(Zeroizing::new(text).as_bytes())));
    }
    for before in 0..3 {
        let mut bytes = Zeroizing::new(Vec::with_capacity(before + secret.len()));
        bytes.resize(before, 0);
        bytes.extend_from_slice(secret);
        let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&bytes));
        // The first and the last character may hold bits of what stands beside it.
        let start = (before * 8).div_ceil(6);
        let end = bytes.len() * 8 / 6;
        if let Some(own) = encoded.as_bytes().get(start..end) {
            all.push(fold(own));
        }
    }
    all
}

/// A text without its escapes: bytes, and from where in the text each was taken.
pub struct Unescaped {
    bytes: Zeroizing<Vec<u8>>,
    from: Vec<(usize, usize)>,
}

impl Unescaped {
    /// `text` as it is.
    pub fn plain(text: &[u8]) -> Unescaped {
        Unescaped {
            bytes: Zeroizing::new(text.to_vec()),
            from: (0..text.len()).map(|at| (at, at + 1)).collect(),
        }
    }

    /// `text` and what it says with one level of escapes after the other undone, as long
    /// as there are any. Where both kinds stand in it, both are undone at once and each
    /// alone: what looks like an escape of the other kind may be part of a secret.
    pub fn all(text: &[u8]) -> Vec<Unescaped> {
        let mut all = vec![Unescaped::plain(text)];
        let mut done = 0;
        for _ in 0..DEPTH {
            let level = done..all.len();
            done = all.len();
            for at in level {
                for kinds in all[at].kinds() {
                    if all.len() < LEVELS
                        && let Some(next) = all[at].undone(kinds)
                        && !all.iter().any(|known| known.bytes == next.bytes)
                    {
                        all.push(next);
                    }
                }
            }
        }
        all
    }

    /// Its letters and digits only.
    pub fn squeezed(&self) -> Unescaped {
        let bytes = self.bytes.iter().zip(&self.from);
        let kept = bytes.filter(|(octet, _)| !octet.is_ascii() || octet.is_ascii_alphanumeric());
        let mut squeezed = Unescaped {
            bytes: Zeroizing::new(Vec::with_capacity(self.bytes.len())),
            from: Vec::with_capacity(self.bytes.len()),
        };
        for (octet, from) in kept {
            squeezed.bytes.push(*octet);
            squeezed.from.push(*from);
        }
        squeezed
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in the text the bytes from `start` to before `end` stood.
    pub fn place(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        self.from[start].0..self.from[end - 1].1
    }

    /// What the escapes in it begin with: all of them, then each where there are several.
    fn kinds(&self) -> Vec<&'static [u8]> {
        let [percent, backslash] = [b'%', b'\\'].map(|kind| self.bytes.contains(&kind));
        match (percent, backslash) {
            (true, true) => vec![b"%\\", b"%", b"\\"],
            (true, false) => vec![b"%"],
            (false, true) => vec![b"\\"],
            (false, false) => vec![],
        }
    }

    /// With the escapes undone that begin with one of `kinds`, if there is any.
    fn undone(&self, kinds: &[u8]) -> Option<Unescaped> {
        let mut next = Unescaped {
            bytes: Zeroizing::new(Vec::with_capacity(self.bytes.len())),
            from: Vec::with_capacity(self.bytes.len()),
        };
        let mut at = 0;
        while at < self.bytes.len() {
            let octet = self.bytes[at];
            let escape = kinds.contains(&octet).then(|| escape(&self.bytes[at..]));
            let (size, said) = escape.flatten().unwrap_or((1, SpelledByte::Octet(octet)));
            let mut room = [0; 4];
            let bytes = match said {
                SpelledByte::Octet(octet) => {
                    room[0] = octet;
                    &room[..1]
                }
                SpelledByte::Char(c) => c.encode_utf8(&mut room).as_bytes(),
            };
            for octet in bytes {
                next.bytes.push(*octet);
                next.from
                    .push((self.from[at].0, self.from[at + size - 1].1));
            }
            at += size;
        }
        (next.bytes.len() < self.bytes.len()).then_some(next)
    }
}

enum SpelledByte {
    Octet(u8),
    Char(char),
}

/// The escape that `bytes` begins with: how long it is and what it stands for.
fn escape(bytes: &[u8]) -> Option<(usize, SpelledByte)> {
    let number = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    match bytes {
        [b'%', rest @ ..] => {
            let octet = number(rest.get(..2)?)?;
            Some((3, SpelledByte::Octet(u8::try_from(octet).ok()?)))
        }
        [b'\\', b'u', rest @ ..] => {
            let c = char::from_u32(number(rest.get(..4)?)?)?;
            Some((6, SpelledByte::Char(c)))
        }
        [b'\\', other, ..] => Some((2, SpelledByte::Octet(*other))),
        _ => None,
    }
}

/// The parts of `secret` that are looked for, so that it is found without its first or
/// its last character too. Of a long one they lie at its end, which is what tells tokens
/// apart: all JWTs of one issuer begin alike.
fn parts(secret: &str) -> Vec<&str> {
    let last = |size| &secret[secret.floor_char_boundary(secret.len().saturating_sub(size))..];
    if secret.len() > WINDOW {
        let end = last(2 * WINDOW);
        let start = end.floor_char_boundary((end.len() - WINDOW) / 2);
        let middle = &end[start..end.floor_char_boundary(start + WINDOW)];
        vec![last(WINDOW), middle]
    } else if secret.len() >= 2 * LEAST {
        let mut inner = secret.chars();
        inner.next();
        inner.next_back();
        vec![inner.as_str()]
    } else {
        vec![secret]
    }
}

/// Looks for a set of secrets. What it looks for is zeroed when it is dropped.
pub struct Finder {
    needles: Vec<Zeroizing<Vec<u8>>>,
    /// The shortest needle; no text that is shorter holds one.
    shortest: usize,
    /// Which grams stand in the first `shortest` bytes of the needles, two bits each: as
    /// `shortest` bytes in a row hold a gram at every `stride`, so does a text.
    grams: Zeroizing<[u64; 64]>,
    stride: usize,
}

impl Finder {
    /// Looks for `secrets`, but for those shorter than [`LEAST`].
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Finder {
        let mut needles: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= LEAST);
        for part in secrets.flat_map(parts) {
            for spelling in spellings(part.as_bytes()) {
                if spelling.len() >= LEAST && !needles.contains(&spelling) {
                    needles.push(spelling);
                }
            }
        }
        let shortest = needles.iter().map(|needle| needle.len()).min();
        let shortest = shortest.unwrap_or(usize::MAX);
        let mut grams = Zeroizing::new([0; 64]);
        for needle in &needles {
            for gram in needle[..shortest].windows(GRAM) {
                for place in places([gram[0], gram[1], gram[2]]) {
                    grams[place / 64] |= 1 << (place % 64);
                }
            }
        }
        Finder {
            needles,
            shortest,
            grams,
            stride: shortest - (GRAM - 1),
        }
    }

    /// Whether one of the secrets stands in `text`, in whatever spelling.
    #[inline]
    pub fn finds(&self, text: &[u8]) -> bool {
        if text.len() < self.shortest {
            return false;
        }
        if self.may_hold(text) && self.holds(text) {
            return true;
        }
        memchr::memchr2(b'%', b'\\', text).is_some() && self.finds_escaped(text)
    }

    /// False for most texts that hold nothing, and never for one that holds something.
    #[inline]
    fn may_hold(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while let Some(&[a, b, c]) = text.get(at..at + GRAM) {
            let is_set = |place: usize| self.grams[place / 64] & 1 << (place % 64) != 0;
            let [one, other] = places([folded(a), folded(b), folded(c)]);
            if is_set(one) && is_set(other) {
                return true;
            }
            at += self.stride;
        }
        false
    }

    #[cold]
    fn holds(&self, text: &[u8]) -> bool {
        let stands_at = |needle: &[u8], window: &[u8]| {
            let mut pairs = window.iter().zip(needle);
            pairs.all(|(octet, wanted)| folded(*octet) == *wanted)
        };
        let mut needles = self.needles.iter();
        needles.any(|needle| {
            let mut windows = text.windows(needle.len());
            windows.any(|window| stands_at(needle, window))
        })
    }

    #[cold]
    fn finds_escaped(&self, text: &[u8]) -> bool {
        let levels = Unescaped::all(text);
        levels[1..].iter().any(|level| self.holds(level.bytes()))
    }
}

/// A gram's two bits, out of 4,096: with one, a response has a gram of some needle's by
/// chance, and then each needle is looked for.
#[inline]
fn places([a, b, c]: [u8; GRAM]) -> [usize; 2] {
    // The golden ratio scatters what is alike (Knuth, TAOCP 3, §6.4).
    let hash = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1);
    [(hash >> 20) as usize, (hash >> 8 & 4095) as usize]
}

impl Default for Finder {
    /// Finds nothing.
    fn default() -> Finder {
        Finder::new([])
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finder({} spellings)", self.needles.len())
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// What an echo may make of `secret`.
    fn echoes(secret: &str) -> Vec<String> {
        let mut all = vec![
            secret.to_owned(),
            secret.to_uppercase(),
            secret.to_lowercase(),
            serde_json::to_string(secret).unwrap(),
        ];
        for before in ["", "u", "us", "crm_sync:", "Bearer "] {
            for after in ["", ".", "xy"] {
                let text = format!("{before}{secret}{after}");
                all.push(STANDARD.encode(&text));
                all.push(STANDARD_NO_PAD.encode(&text));
                all.push(URL_SAFE.encode(&text));
                all.push(URL_SAFE_NO_PAD.encode(&text));
            }
        }
        let percent = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let once: Vec<String> = all.iter().map(percent).collect();
        let twice: Vec<String> = once.iter().map(percent).collect();
        let capitals: Vec<String> = all.iter().map(|text| text.to_uppercase()).collect();
        all.extend(once);
        all.extend(twice);
        all.extend(capitals);
        all
    }

    #[test]
    fn a_secret_is_found_in_every_spelling_and_wherever_it_stands() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjV9.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw";
        for secret in [
            "hunter2",
            "pa$$w0rd/+?>",
            "p\"a\\s/s w&rd=",
            "pässwörd-ß",
            jwt,
        ] {
            let finder = Finder::new([secret]);
            for echo in echoes(secret) {
                for text in [echo.clone(), format!("x={echo};"), format!("/a/{echo}?b")] {
                    assert!(finder.finds(text.as_bytes()), "{secret} in {text}");
                }
            }
        }
    }

    #[test]
    fn escapes_of_one_kind_are_undone_without_those_of_the_other() {
        for secret in ["p%41ss\"w", "p%41s\\w", "p%2541\"w\\r%d"] {
            let finder = Finder::new([secret]);
            let json = serde_json::to_string(secret).unwrap();
            let percent = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            for text in [
                serde_json::to_string(&json).unwrap(),
                percent(&json),
                serde_json::to_string(&percent(secret)).unwrap(),
                json,
                percent(secret),
            ] {
                assert!(finder.finds(text.as_bytes()), "{secret} in {text}");
            }
        }
    }

    #[test]
    fn a_text_has_few_levels_whatever_it_holds() {
        let text = "%25%5C%5C5C\\\\u0025\\u005c5c%2525\\\\\\".repeat(20);
        let levels = Unescaped::all(text.as_bytes());
        assert_eq!(levels.len(), LEVELS);
        assert_eq!(Unescaped::all(b"plain").len(), 1);
    }

    #[test]
    fn a_secret_short_of_a_character_is_found() {
        let token = "d898-690087a3-ses-supervisor-1373.eyJleHAiOjV9.c2lnbmF0dXJlLXRoYXQtaXM";
        for size in [12, 13, 24, 25, 26, 33, 48, 49, token.len()] {
            let secret = &token[..size];
            let finder = Finder::new([secret]);
            for short in [&secret[1..], &secret[..size - 1]] {
                assert!(finder.finds(short.as_bytes()), "{short}");
                let encoded = STANDARD_NO_PAD.encode(short);
                assert!(finder.finds(encoded.as_bytes()), "{short} in {encoded}");
            }
        }
        let finder = Finder::new([token]);
        assert!(finder.finds(&token.as_bytes()[..token.len() - 12]));
    }

    #[test]
    fn what_is_no_echo_is_left_alone() {
        let finder = Finder::new(["hunter2!", "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjV9.c2lnbmF0dXJl"]);
        for text in [
            "",
            "hunter",
            "Sun, 29 Nov 2026 07:28:00 GMT",
            "application/json; charset=utf-8",
            "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjV9.YW5vdGhlciBzaWduYXR1cmU",
            "https://cms.example.com/a%20b?c=%zz\\",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        ] {
            assert!(!finder.finds(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        for secrets in [&["1", "abcde"][..], &[]] {
            let finder = Finder::new(secrets.iter().copied());
            assert!(!finder.finds(b"1 abcde and much more text than that"));
        }
    }

    #[test]
    fn debug_shows_none_of_it() {
        assert_eq!(
            format!("{:?}", Finder::new(["hunter2"])),
            "Finder(4 spellings)"
        );
    }

    proptest! {
        #[test]
        fn any_secret_is_found_in_any_text(
            secret in "[ -~]{6,60}",
            before in "[ -~]{0,40}",
            after in "[ -~]{0,40}",
        ) {
            let finder = Finder::new([secret.as_str()]);
            let text = format!("{before}{secret}{after}");
            prop_assert!(finder.finds(text.as_bytes()));
            let encoded = URL_SAFE_NO_PAD.encode(&text);
            prop_assert!(finder.finds(encoded.as_bytes()));
        }
    }
}
