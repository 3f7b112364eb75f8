//! One node of the tree, read by the type of its key into one value.
//!
//! Text from the environment and from flags may be read by any type; in a file,
//! TOML's own types must fit, so that `count = "4"` is not taken for a number. A
//! message shows what was written only where that cannot be a secret.

use std::time::Duration;

use crate::base::problem::{Place, Problem};
use crate::config::Bind;
use crate::config::keys::{ConfigKey, Value, ValueType};
use crate::config::read_secret::{bearer, secret, secret_headers};
use crate::config::tree::{Node, ScalarForm, Shape};
use crate::config::url::{HttpUrl, shown};

/// Longer times are refused: none is meant, and sums with them could overflow.
const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why a value will not do, and how to mend it.
pub(super) type ValueFault = (String, String);

pub(super) fn fault<T>(why: impl Into<String>, fix: impl Into<String>) -> Result<T, ValueFault> {
    Err((why.into(), fix.into()))
}

/// Reads `node`, which stands at the key path `at`, as `key` says.
pub fn value(key: &ConfigKey, node: &Node, at: &str) -> Result<Value, Vec<Problem>> {
    let one =
        |place: &Place, (why, fix): ValueFault| vec![Problem::new(place.clone(), at, why, fix)];
    let value = match (key.ty, &node.shape) {
        (ValueType::Secret, _) => Value::Secret(secret(node, at, false)?),
        (ValueType::OwnSecret, _) => Value::Secret(secret(node, at, true)?),
        (ValueType::Bearer, _) => bearer(node, at)?,
        (ValueType::SecretHeaders, _) => Value::SecretHeaders(secret_headers(node, at)?),
        (ValueType::List, Shape::List(items)) => Value::List(list(items, at)?),
        (ValueType::List, Shape::Scalar(text, ScalarForm::Loose)) => {
            Value::List(split(text).map_err(|fault| one(&node.place, fault))?)
        }
        (ty, Shape::Scalar(text, written)) => {
            scalar(ty, text, *written).map_err(|fault| one(&node.place, fault))?
        }
        (ty, _) => {
            let fault = (
                format!("this is {} where {} is expected", node.what(), wants(ty)),
                format!("write {} = {}", last(at), key.example),
            );
            return Err(one(&node.place, fault));
        }
    };
    match key.check.map_or(Ok(()), |check| check(&value)) {
        Ok(()) => Ok(value),
        Err(fault) => Err(one(&node.place, fault)),
    }
}

/// Reads the default of a key; `None` where it has none.
///
/// # Panics
/// Where a row's own default does not fit its type, which a test rules out.
pub fn default(key: &ConfigKey) -> Option<Value> {
    let crate::config::keys::Fallback::Text(text) = key.default else {
        return None;
    };
    let node = Node {
        shape: Shape::Scalar(text.to_owned(), ScalarForm::Loose),
        place: Place::Default,
    };
    match value(key, &node, key.path) {
        Ok(value) => Some(value),
        Err(problems) => panic!("the default of {} is wrong: {problems:?}", key.path),
    }
}

/// A type in words.
pub fn wants(ty: ValueType) -> String {
    match ty {
        ValueType::Text => "text".into(),
        ValueType::Bool => "true or false".into(),
        ValueType::Integer { min, max } => format!("a whole number from {min} to {max}"),
        ValueType::Duration => "a time".into(),
        ValueType::Size => "a size".into(),
        ValueType::Url => "a URL".into(),
        ValueType::Path => "a path".into(),
        ValueType::List => "a list of texts".into(),
        ValueType::Choice([word]) => format!("{word:?}, the only choice"),
        ValueType::Choice(words) => format!("one of {}", words.join(", ")),
        ValueType::Bind => "an address".into(),
        ValueType::Secret | ValueType::OwnSecret => "a reference to a secret".into(),
        ValueType::Bearer => "a reference to a secret or a credential".into(),
        ValueType::SecretHeaders => "a table of headers".into(),
    }
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

/// The first curly quote (U+2018 to U+201F) in `text`: its one-based place, counted
/// in characters, and itself.
pub fn curly(text: &str) -> Option<(usize, char)> {
    text.chars()
        .enumerate()
        .find(|(_, c)| ('\u{2018}'..='\u{201f}').contains(c))
        .map(|(at, c)| (at + 1, c))
}

fn last(at: &str) -> &str {
    at.rsplit('.').next().unwrap_or(at)
}

fn scalar(ty: ValueType, text: &str, written: ScalarForm) -> Result<Value, ValueFault> {
    let loose = written == ScalarForm::Loose;
    if loose {
        unquoted(text)?;
    }
    let words = loose || written == ScalarForm::Text;
    let wrong = |fix: &str| fault(format!("{} is expected here", wants(ty)), fix);
    match ty {
        ValueType::Bool => match text {
            "true" if loose || written == ScalarForm::Bool => Ok(Value::Bool(true)),
            "false" if loose || written == ScalarForm::Bool => Ok(Value::Bool(false)),
            _ => wrong("write true or false, without quotes in a file"),
        },
        ValueType::Integer { min, max } => {
            let digits = text.replace('_', "");
            let number = digits.parse::<u64>().ok();
            let number = number.filter(|_| loose || written == ScalarForm::Integer);
            match number.filter(|number| (min..=max).contains(number)) {
                Some(number) => Ok(Value::Integer(number)),
                None => wrong("write it in digits, without quotes in a file"),
            }
        }
        ValueType::Size if words || written == ScalarForm::Integer => size(text),
        ValueType::Duration if words => duration(text),
        ValueType::Duration if written == ScalarForm::Integer => {
            wrong("write a number with a unit in quotes, such as \"30s\"")
        }
        ValueType::Text | ValueType::Path if words => {
            let text = plain(text)?;
            Ok(match ty {
                ValueType::Path => Value::Path(path(text)?.into()),
                _ => Value::Text(text.to_owned()),
            })
        }
        ValueType::Text if written == ScalarForm::Integer => {
            // Only a spelling that survives as it is; 0x10 or 1_000 might be meant otherwise.
            let same = text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
            if same {
                Ok(Value::Text(text.to_owned()))
            } else {
                wrong("write it in quotes, exactly as it is meant")
            }
        }
        ValueType::Choice(choices) if words => {
            plain(text)?;
            let mut known = choices.iter();
            if let Some(word) = known.find(|word| word.eq_ignore_ascii_case(text)) {
                return Ok(Value::Text((*word).to_owned()));
            }
            let fix = match near(text, choices.iter().copied()) {
                Some(word) => format!("did you mean {word:?}?"),
                None => format!("write {}", wants(ty)),
            };
            fault(format!("{text:?} is not {}", wants(ty)), fix)
        }
        ValueType::Url if words => match HttpUrl::parse(plain(text)?) {
            Ok(url) => Ok(Value::Url(url)),
            // The URL itself stays unsaid: it may carry a password before its host.
            Err(why) => fault(
                format!("this URL will not do: {why}"),
                "write it as \"https://host:port/path\"",
            ),
        },
        ValueType::Bind if words => bind(plain(text)?),
        ValueType::List => wrong("write a list in brackets, such as [\"a\", \"b\"]"),
        _ => wrong("write it in quotes"),
    }
}

/// Text without what an editor or a copy slips in.
pub(super) fn plain(text: &str) -> Result<&str, ValueFault> {
    if let Some((at, quote)) = curly(text) {
        return fault(
            format!("a curly quote ({quote}) stands at character {at}"),
            "write straight quotes, or remove it",
        );
    }
    if let Some(at) = text.chars().position(char::is_control) {
        return fault(
            format!("a control character stands at character {}", at + 1),
            "remove it",
        );
    }
    if let Some(at) = text.chars().position(|c| c == '\u{fffd}') {
        return fault(
            format!("it is not UTF-8 at character {}", at + 1),
            "write it in UTF-8",
        );
    }
    if text.is_empty() {
        return fault("it is empty", "write a value, or remove it");
    }
    Ok(text)
}

/// Text from outside a file, where quotes are no syntax: a `.env` file or a manifest
/// that quotes twice hands them over as a part of the value.
pub(super) fn unquoted(text: &str) -> Result<&str, ValueFault> {
    let mut inner = text.trim().chars();
    match (inner.next(), inner.next_back()) {
        (Some(first @ ('"' | '\'')), Some(last)) if first == last => fault(
            format!("the quotes ({first}) around it are a part of the value here"),
            "write it without quotes",
        ),
        _ => Ok(text),
    }
}

/// A path as the kernel takes it: no shell reads it, so nothing in it is expanded.
pub(super) fn path(text: &str) -> Result<&str, ValueFault> {
    let variable = |at: usize| {
        let next = text[at + 1..].chars().next();
        next.is_some_and(|c| matches!(c, '{' | '(' | '_') || c.is_ascii_alphabetic())
    };
    let found = match text.find('$') {
        Some(at) if variable(at) => Some("a $ and the name after it are"),
        _ if text == "~" || text.starts_with('~') && text.contains('/') => Some("a ~ is"),
        _ => None,
    };
    match found {
        Some(what) => fault(
            format!("nothing in a path is expanded: {what} taken as written"),
            "write the whole path, such as \"/etc/headset/password\"",
        ),
        None => Ok(text),
    }
}

fn duration(text: &str) -> Result<Value, ValueFault> {
    let text = plain(text)?;
    if text == "0" {
        return Ok(Value::Duration(Duration::ZERO));
    }
    let bad = |why: String| fault(why, "write a number and a unit, such as \"30s\" or \"12h\"");
    // humantime adds up without bounds and panics at the end of u64 seconds.
    let long_number = text
        .split(|c: char| !c.is_ascii_digit())
        .any(|digits| digits.len() > 10);
    if long_number || text.len() > 64 {
        return bad("this time is too long".into());
    }
    match humantime::parse_duration(text) {
        Ok(time) if time > MAX_TIME => bad("no time is longer than 100 years".into()),
        Ok(time) => Ok(Value::Duration(time)),
        Err(error) => bad(format!("this is not a time ({error})")),
    }
}

fn size(text: &str) -> Result<Value, ValueFault> {
    let text = plain(text)?;
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if !text.starts_with('+') => Ok(Value::Integer(size.as_u64())),
        _ => fault(
            "this is not a size",
            "write a number and a unit, such as \"64KiB\"",
        ),
    }
}

fn bind(text: &str) -> Result<Value, ValueFault> {
    if let Some(socket) = text.strip_prefix("unix:") {
        let path = path(socket)?;
        // sun_path holds 108 bytes with its end (unix(7)).
        if path.is_empty() || path.len() > 107 {
            return fault(
                "a Unix socket's path has 1 to 107 bytes",
                "write \"unix:/run/headset/app.sock\"",
            );
        }
        return Ok(Value::Bind(Bind::Unix(path.into())));
    }
    if let Ok(address) = text.parse() {
        return Ok(Value::Bind(Bind::Tcp(address)));
    }
    let fix = match text.rsplit_once(':') {
        Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
        Some(("" | "*", port)) => {
            format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every interface")
        }
        _ => "write \"127.0.0.1:8080\" or \"unix:/run/headset/app.sock\"".into(),
    };
    fault(
        format!("{} is not an IP address and a port", shown(text)),
        fix,
    )
}

fn split(text: &str) -> Result<Vec<String>, ValueFault> {
    if text.trim_start().starts_with('[') && text.contains(['"', '\'']) {
        return fault(
            "brackets and quotes are a part of the value here",
            "write the items with commas between them, without brackets and quotes",
        );
    }
    unquoted(text)?
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| unquoted(item).and_then(plain).map(str::to_owned))
        .collect()
}

fn list(items: &[Node], at: &str) -> Result<Vec<String>, Vec<Problem>> {
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for item in items {
        let read = match &item.shape {
            Shape::Scalar(text, ScalarForm::Text) => plain(text).map(str::to_owned),
            _ => fault(
                format!("this is {} in a list of texts", item.what()),
                "write it in quotes",
            ),
        };
        match read {
            Ok(text) => texts.push(text),
            Err((why, fix)) => problems.push(Problem::new(item.place.clone(), at, why, fix)),
        }
    }
    if problems.is_empty() {
        Ok(texts)
    } else {
        Err(problems)
    }
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

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
