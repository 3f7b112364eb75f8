//! What a request target *means*, as opposed to how it is spelled. Pure.
//!
//! headset sends the raw target on, byte for byte, but decides on its normal form:
//! percent-decoded once (RFC 3986 §2.1), `;parameters` of segments dropped
//! (RFC 3986 §3.3), empty segments collapsed. A spelling that an upstream might
//! read otherwise is named by [`Oddity`], and routes with a credential refuse it.
//!
//! The common path, one without any of `% ; \ // /.`, is its own normal form and
//! costs one scan and no allocation.

use std::borrow::Cow;

/// A spelling by which two readers may see two different paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// `.` or `..` as a segment, however spelled (`%2e%2e`, `..;x`, `%252e%252e`).
    DotSegment,
    /// `%2f`, also doubly encoded.
    EncodedSlash,
    /// `\` or `%5c`, which some servers take for a slash.
    Backslash,
    /// `%00`, at which some servers stop reading.
    Nul,
    /// `%u0062`, which some servers read as one character.
    UnicodeEscape,
    /// `%c0%af`: more bytes than UTF-8 allows for a character (RFC 3629 §3), which
    /// lax readers take for it.
    Overlong,
}

impl Oddity {
    /// What to say about it.
    pub fn describe(self) -> &'static str {
        match self {
            Oddity::DotSegment => "a dot segment",
            Oddity::EncodedSlash => "an encoded slash",
            Oddity::Backslash => "a backslash",
            Oddity::Nul => "an encoded NUL",
            Oddity::UnicodeEscape => "a %u escape",
            Oddity::Overlong => "an overlong UTF-8 form",
        }
    }
}

/// A path in its normal form, and the first oddity in its spelling.
#[derive(Debug)]
pub struct Normal<'a> {
    /// The normal form; not necessarily UTF-8.
    pub path: Cow<'a, [u8]>,
    /// The first spelling that another reader may take differently.
    pub oddity: Option<Oddity>,
}

/// How often a target is decoded in search of hidden dots and slashes: twice is an
/// attack seen in the wild, more is paranoia with a bound.
const DECODINGS: usize = 4;

/// Reads the path of a request target (without its query).
pub fn normalise(raw: &str) -> Normal<'_> {
    if is_plain(raw.as_bytes()) {
        return Normal {
            path: Cow::Borrowed(raw.as_bytes()),
            oddity: None,
        };
    }
    let decoded = decode(raw.as_bytes());
    let mut oddity = find_oddity(raw.as_bytes(), &decoded);
    let mut deeper = decoded.clone();
    for _ in 1..DECODINGS {
        if oddity.is_some() || !deeper.contains(&b'%') {
            break;
        }
        let next = decode(&deeper);
        oddity = find_oddity(&deeper, &next);
        deeper = next;
    }
    Normal {
        path: Cow::Owned(join(decoded.split(|&b| b == b'/').map(without_parameters))),
        oddity,
    }
}

/// Whether `path` lies under `prefix` on segment boundaries: `/v1` holds `/v1` and
/// `/v1/x`, not `/v10`.
pub fn is_under(path: &[u8], prefix: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The last two segments of a URL at which credentials are issued, lower case: the
/// mark by which a target that leads there is known, whatever a gateway puts
/// before it (`/cms/configuration/basicauth`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerMark(Vec<Vec<u8>>);

impl IssuerMark {
    /// The mark of an issue URL's path; `None` for the root, which marks nothing.
    pub fn of(path: &str) -> Option<IssuerMark> {
        let segments = resolve(path.as_bytes());
        let from = segments.len().saturating_sub(2);
        let tail = segments[from..].to_vec();
        (!tail.is_empty()).then_some(IssuerMark(tail))
    }

    /// Whether `path`, read as generously as any server might, passes through the
    /// marked URL.
    pub fn is_on(&self, path: &str) -> bool {
        let run = self.0.len();
        if is_plain(path.as_bytes()) {
            let mut rest = path.as_bytes();
            // Every start of a segment, without building a list of them.
            while let Some(at) = rest.iter().position(|&b| b == b'/') {
                rest = &rest[at + 1..];
                let mut segments = rest.split(|&b| b == b'/');
                if self.fits(|| segments.next()) {
                    return true;
                }
            }
            return false;
        }
        resolve(path.as_bytes()).windows(run).any(|window| {
            let mut segments = window.iter().map(Vec::as_slice);
            self.fits(|| segments.next())
        })
    }

    /// Whether the segments that `next` yields are the marked ones. The last may have
    /// an extension (`basicauth.json`): suffix patterns of Java servers drop it.
    fn fits<'a>(&self, mut next: impl FnMut() -> Option<&'a [u8]>) -> bool {
        let last = self.0.len() - 1;
        self.0.iter().enumerate().all(|(index, mark)| {
            next().is_some_and(|segment| {
                let (name, rest) = segment.split_at(mark.len().min(segment.len()));
                name.eq_ignore_ascii_case(mark)
                    && (rest.is_empty() || (index == last && rest[0] == b'.'))
            })
        })
    }
}

/// Segments as the most generous reader sees them: decoded until nothing changes,
/// backslashes as slashes, parameters dropped, dot segments resolved, lower case,
/// trailing blanks and controls cut.
fn resolve(path: &[u8]) -> Vec<Vec<u8>> {
    let mut text = path.to_vec();
    for _ in 0..DECODINGS {
        if !text.contains(&b'%') {
            break;
        }
        text = decode(&text);
    }
    let mut out: Vec<Vec<u8>> = Vec::new();
    for segment in text.split(|b| matches!(b, b'/' | b'\\')) {
        let segment = segment.split(|&b| b == 0).next().unwrap_or_default();
        let segment = without_parameters(segment);
        match trim(segment) {
            b"" | b"." => {}
            b".." => {
                out.pop();
            }
            other => out.push(other.to_ascii_lowercase()),
        }
    }
    out
}

fn trim(segment: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b <= b' ' || *b == 0x7f;
    let start = segment
        .iter()
        .position(|b| !blank(b))
        .unwrap_or(segment.len());
    let end = segment
        .iter()
        .rposition(|b| !blank(b))
        .map_or(start, |i| i + 1);
    &segment[start..end]
}

/// Whether the path is its own normal form.
fn is_plain(path: &[u8]) -> bool {
    let mut before = 0u8;
    for &b in path {
        match b {
            b'%' | b';' | b'\\' | 0 => return false,
            b'/' | b'.' if before == b'/' => return false,
            _ => {}
        }
        before = b;
    }
    true
}

fn decode(path: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(path).collect()
}

fn find_oddity(encoded: &[u8], decoded: &[u8]) -> Option<Oddity> {
    let slashes = |bytes: &[u8]| bytes.iter().filter(|&&b| b == b'/').count();
    if decoded.contains(&0) {
        Some(Oddity::Nul)
    } else if decoded.contains(&b'\\') {
        Some(Oddity::Backslash)
    } else if slashes(decoded) != slashes(encoded) {
        Some(Oddity::EncodedSlash)
    } else if has_unicode_escape(encoded) {
        Some(Oddity::UnicodeEscape)
    } else if has_overlong(decoded) {
        Some(Oddity::Overlong)
    } else if decoded
        .split(|&b| b == b'/')
        .any(|segment| matches!(trim(without_parameters(segment)), b"." | b".."))
    {
        Some(Oddity::DotSegment)
    } else {
        None
    }
}

fn has_unicode_escape(path: &[u8]) -> bool {
    path.windows(6).any(|window| {
        let (mark, digits) = window.split_at(2);
        mark.eq_ignore_ascii_case(b"%u") && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

fn has_overlong(path: &[u8]) -> bool {
    path.windows(2).any(|pair| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    })
}

fn without_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|&b| b == b';').next().unwrap_or_default()
}

fn join<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut trailing = false;
    for segment in segments {
        trailing = segment.is_empty();
        if !trailing {
            out.push(b'/');
            out.extend_from_slice(segment);
        }
    }
    if trailing || out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(raw: &str) -> String {
        String::from_utf8_lossy(&normalise(raw).path).into_owned()
    }

    #[test]
    fn a_plain_path_is_its_own_normal_form_and_is_not_copied() {
        for raw in ["/", "/v1/cc-list/1", "/a.b/c..d", "/a/b/"] {
            let normal = normalise(raw);
            assert!(matches!(normal.path, Cow::Borrowed(_)), "{raw}");
            assert_eq!(normal.oddity, None, "{raw}");
        }
    }

    #[test]
    fn the_normal_form_is_decoded_once_without_parameters_or_empty_segments() {
        assert_eq!(text("/v1;x=1/%63c"), "/v1/cc");
        assert_eq!(text("//v1///cc"), "/v1/cc");
        assert_eq!(text("/v1/"), "/v1/");
        assert_eq!(text("/a%20b"), "/a b");
        assert_eq!(text("/%zz"), "/%zz");
    }

    #[test]
    fn every_spelling_that_another_reader_may_take_differently_is_named() {
        use Oddity::*;
        for (raw, oddity) in [
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/%2e%2e/b", DotSegment),
            ("/a/%2E./b", DotSegment),
            ("/a/..;x/b", DotSegment),
            ("/a/..%20/b", DotSegment),
            ("/a/%252e%252e/b", DotSegment),
            ("/a/%25252e%25252e/b", DotSegment),
            ("/a/..", DotSegment),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a%252fb", EncodedSlash),
            ("/a%5cb", Backslash),
            ("/a%5C..%5Cb", Backslash),
            ("/a%00b", Nul),
            ("/a%u0062", UnicodeEscape),
            ("/a%U002e%U002e/b", UnicodeEscape),
            ("/a%25u0062", UnicodeEscape),
            ("/a%c0%afb", Overlong),
            ("/a/%c0%ae%c0%ae/b", Overlong),
            ("/a%e0%80%afb", Overlong),
            ("/a%f0%80%80%afb", Overlong),
        ] {
            assert_eq!(normalise(raw).oddity, Some(oddity), "{raw}");
        }
        for raw in [
            "/a/...",
            "/a/b..",
            "/a/%zz",
            "/a;..",
            "/a%20",
            "/%C3%A9",
            "/%C0",
            "/%E0%A4%A0",
            "/a%u00",
        ] {
            assert_eq!(normalise(raw).oddity, None, "{raw}");
        }
    }

    #[test]
    fn a_prefix_ends_on_a_segment_boundary() {
        assert!(is_under(b"/v1", b"/v1"));
        assert!(is_under(b"/v1/x", b"/v1"));
        assert!(is_under(b"/v1/x", b"/v1/"));
        assert!(is_under(b"/anything", b"/"));
        assert!(!is_under(b"/v10", b"/v1"));
        assert!(!is_under(b"/v", b"/v1"));
    }

    #[test]
    fn an_issuer_is_known_however_it_is_spelled() {
        let mark = IssuerMark::of("/configuration/basicauth").unwrap();
        for spelling in [
            "/configuration/basicauth",
            "/configuration/basicauth/",
            "/configuration/basicauth/17",
            "/cms/configuration/basicauth",
            "/CONFIGURATION/BasicAuth",
            "//configuration//basicauth",
            "/configuration/./basicauth",
            "/x/../configuration/basicauth",
            "/configuration%2fbasicauth",
            "/configuration%5cbasicauth",
            "/configuration;a=b/basicauth;c",
            "/%63onfiguration/basicaut%68",
            "/%2563onfiguration/basicauth",
            "/configuration/x/%2e%2e/basicauth",
            "/configuration/x/..;/basicauth",
            "/configuration/basicauth%00.json",
            "/configuration/basicauth%20",
            "/configuration/basicauth%09/1",
            "/configuration/basicauth.json",
            "/configuration/BASICAUTH.do/1",
            "/%63onfiguration/basicauth.json",
        ] {
            assert!(mark.is_on(spelling), "{spelling}");
        }
        for other in [
            "/configuration/basicauths",
            "/configuration",
            "/basicauth",
            "/configuration/cc/1/process",
            "/configuration/x/basicauth",
            "/configuration.x/basicauth",
            "/configuration/basicauth-x",
            "/",
        ] {
            assert!(!mark.is_on(other), "{other}");
        }
        assert_eq!(IssuerMark::of("/"), None);
    }

    proptest! {
        #[test]
        fn plain_and_generous_reading_agree_on_plain_paths(path in "(/[a-z.]{0,12}){1,6}") {
            let mark = IssuerMark::of("/configuration/basicauth").unwrap();
            let spelled = path.replace('a', "%61");
            let odd = normalise(&path).oddity.is_some();
            prop_assert!(odd || mark.is_on(&path) == mark.is_on(&spelled));
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,64}") {
            let _ = normalise(&path);
            let _ = IssuerMark::of(&path);
        }
    }
}
