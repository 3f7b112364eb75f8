//! Traces: which one a call belongs to (W3C Trace Context), and what is told of its parts.
//!
//! Plain data. Who makes spans hands them to a [`SpanSink`], which never waits; without one
//! nobody makes any. Names of attributes are those of OpenTelemetry's semantic conventions.

use std::borrow::Cow;
use std::fmt;

/// Which trace, in 16 bytes of which one is not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// Which span of it, in 8 bytes of which one is not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// What a caller says of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span that called.
    pub span: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl TraceId {
    /// A new one.
    pub fn random() -> TraceId {
        TraceId((fastrand::u128(..) | 1).to_be_bytes())
    }
}

impl SpanId {
    /// A new one.
    pub fn random() -> SpanId {
        SpanId((fastrand::u64(..) | 1).to_be_bytes())
    }
}

impl Parent {
    /// What the one `traceparent` of a call says; `None` where it says nothing that can be
    /// used. A later version is read as far as this one goes (W3C Trace Context §3.2.2).
    pub fn parse(text: &[u8]) -> Option<Parent> {
        let byte = |at: usize| {
            let digit = |byte: u8| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            };
            Some(digit(*text.get(at)?)? << 4 | digit(*text.get(at + 1)?)?)
        };
        let dash = |at: usize| text.get(at) == Some(&b'-');
        let version = byte(0)?;
        let ends = text.len() == 55 || (version > 0 && dash(55));
        if version == 0xff || !ends || !dash(2) || !dash(35) || !dash(52) {
            return None;
        }
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        for (index, to) in trace.iter_mut().enumerate() {
            *to = byte(3 + 2 * index)?;
        }
        for (index, to) in span.iter_mut().enumerate() {
            *to = byte(36 + 2 * index)?;
        }
        let known = trace != [0; 16] && span != [0; 8];
        known.then_some(Parent {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: byte(53)? & 1 == 1,
        })
    }

    /// The `traceparent` that says this.
    pub fn header(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

/// At most 16 bytes, written at once: a trace is told of often.
fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'0'; 32];
    for (two, byte) in text.chunks_exact_mut(2).zip(bytes) {
        two[0] = DIGITS[usize::from(byte >> 4)];
        two[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(std::str::from_utf8(&text[..2 * bytes.len()]).unwrap_or_default())
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// Which side of something a span is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Neither.
    Internal,
    /// The one that was called.
    Server,
    /// The one that calls.
    Client,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// Something that took time, once it is over. It holds no secret, no query and no body.
#[derive(Clone, Debug)]
pub struct TraceSpan {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// What it is, in few words.
    pub name: Cow<'static, str>,
    /// On which side of it headset is.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since the epoch.
    pub began_ns: u64,
    /// When it ended, in nanoseconds since the epoch.
    pub ended_ns: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Whether it failed.
    pub failed: bool,
}

/// Takes spans.
pub trait SpanSink: Send + Sync + fmt::Debug {
    /// Whether `trace` is recorded, whose parent says this of it, where it has one.
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool;

    /// Takes `span`. Never waits; where there is no room it is lost, and counted.
    fn take(&self, span: TraceSpan);
}

impl From<&'static str> for SpanValue {
    fn from(text: &'static str) -> SpanValue {
        SpanValue::Text(Cow::Borrowed(text))
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> SpanValue {
        SpanValue::Text(Cow::Owned(text))
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> SpanValue {
        SpanValue::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_THE_STANDARD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_a_caller_says_is_read_and_written_as_the_standard_does() {
        let parent = Parent::parse(OF_THE_STANDARD.as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled);
        assert_eq!(parent.header(), OF_THE_STANDARD);
        let off = OF_THE_STANDARD.replace("-01", "-00");
        assert!(!Parent::parse(off.as_bytes()).unwrap().sampled);
    }

    #[test]
    fn what_breaks_the_standard_is_no_parent() {
        let later = OF_THE_STANDARD.replacen("00", "cc", 1) + "-what-comes-then";
        assert!(Parent::parse(later.as_bytes()).is_some(), "a later version");
        for broken in [
            "",
            "00",
            &OF_THE_STANDARD.to_uppercase(),
            &OF_THE_STANDARD.replacen("00", "ff", 1),
            &format!("{OF_THE_STANDARD}-"),
            &format!("{OF_THE_STANDARD} "),
            &OF_THE_STANDARD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &OF_THE_STANDARD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &OF_THE_STANDARD.replace('-', "_"),
            &OF_THE_STANDARD[..54],
        ] {
            assert_eq!(Parent::parse(broken.as_bytes()), None, "{broken}");
        }
    }
}
