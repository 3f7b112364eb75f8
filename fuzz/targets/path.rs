//! The normal form of a path beside a slow reader that was written apart from it.
//!
//! Promise (docs/http.md, "Which route"): percent-decoded once, `;parameters` dropped,
//! `//` collapsed; and a path that carries no mark of an oddity has none: whatever a
//! generous server would resolve it to lies below the same first segment.

use headset::gateway::path::{is_under, normalise};

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let raw = format!("/{text}");
    let normal = normalise(&raw);
    assert_eq!(normal.path, slow(raw.as_bytes()), "{raw:?}");
    let hops = generous(raw.as_bytes());
    if normal.oddity.is_none() && !raw.contains('\0') {
        let mut first = normal.path.split(|&b| b == b'/').filter(|s| !s.is_empty());
        if let (Some(first), Some(hop)) = (first.next(), hops.first())
            && !first.contains(&b'%')
        {
            assert_eq!(first, hop, "{raw:?}");
        }
    }
    assert!(is_under(&normal.path, b"/"));
}

/// The documented form, one step at a time.
fn slow(raw: &[u8]) -> Vec<u8> {
    let decoded = decode(raw);
    let mut segments: Vec<&[u8]> = decoded.split(|&b| b == b'/').collect();
    for segment in &mut segments {
        let end = segment.iter().position(|&b| b == b';');
        *segment = &segment[..end.unwrap_or(segment.len())];
    }
    let trailing = segments.last().is_some_and(|last| last.is_empty());
    segments.retain(|segment| !segment.is_empty());
    let mut out = [b"/".as_slice(), &segments.join(&b'/')].concat();
    if trailing && out != b"/" {
        out.push(b'/');
    }
    out
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let pair = (digit(text.get(at + 1)), digit(text.get(at + 2)));
        match (text[at], pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (b, _) => {
                out.push(b);
                at += 1;
            }
        }
    }
    out
}

/// The segments as a server sees them that decodes, cuts and resolves all it can.
fn generous(raw: &[u8]) -> Vec<Vec<u8>> {
    let mut stack: Vec<Vec<u8>> = Vec::new();
    for segment in decode(raw).split(|b| matches!(b, b'/' | b'\\')) {
        match segment.split(|&b| b == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => {
                stack.pop();
            }
            other => stack.push(other.to_vec()),
        }
    }
    stack
}
