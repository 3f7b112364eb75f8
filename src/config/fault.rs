//! Why a value cannot be used and what to write instead: the parts of such a message
//! that rules and readers share.

/// Why a value cannot be used, and what to write instead.
pub type ValueFault = (String, String);

/// What a rule says of a value.
pub type Verdict = Result<(), ValueFault>;

/// A fault of these two parts.
pub(super) fn fault<T>(why: impl Into<String>, fix: impl Into<String>) -> Result<T, ValueFault> {
    Err((why.into(), fix.into()))
}

/// The candidate that was most likely meant by `word`.
pub fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in length, and no key is this long.
    if word.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A dotted path for people; parts that TOML would have to quote are quoted.
pub fn key_path<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let bare = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let shown: Vec<String> = parts
        .map(|part| {
            if bare(part) {
                part.to_owned()
            } else {
                format!("{part:?}")
            }
        })
        .collect();
    shown.join(".")
}
