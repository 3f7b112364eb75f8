//! One node of the tree, read by the type of its key into one value.
//!
//! Text from the environment and from flags may be read by any type; in a file,
//! TOML's own types must fit, so that `count = "4"` is not taken for a number. A
//! message shows what was written only where that cannot be a secret.

use std::time::Duration;

use crate::base::problem::{Place, Problem};
use crate::config::fault::{ValueFault, fault, near};
use crate::config::key::{ConfigKey, Fallback, ValueType};
use crate::config::listener::Bind;
use crate::config::read_resolve;
use crate::config::read_secret::{bearer, secret, secret_headers};
use crate::config::text::{path, plain, unquoted};
use crate::config::tree::{Node, ScalarForm, Shape};
use crate::config::url::{HttpUrl, shown};
use crate::config::values::Value;

/// Longer times are refused: none is meant, and sums with them could overflow.
const MAX_TIME: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `node`, which stands at the key path `at`, as `key` says.
pub fn value(key: &ConfigKey, node: &Node, at: &str) -> Result<Value, Vec<Problem>> {
    let one =
        |place: &Place, (why, fix): ValueFault| vec![Problem::new(place.clone(), at, why, fix)];
    let value = match (key.ty, &node.shape) {
        (ValueType::Secret, _) => Value::Secret(secret(node, at, false)?),
        (ValueType::OwnSecret, _) => Value::Secret(secret(node, at, true)?),
        (ValueType::Bearer, _) => bearer(node, at)?,
        (ValueType::SecretHeaders, _) => Value::SecretHeaders(secret_headers(node, at)?),
        (ValueType::Resolve, _) => Value::Resolve(read_resolve::read(node, at)?),
        (ValueType::List, Shape::List(items)) => Value::List(list(items, at)?),
        (ValueType::List, Shape::Scalar(text, ScalarForm::Loose)) => {
            Value::List(split(text).map_err(|fault| one(&node.place, fault))?)
        }
        (ty, Shape::Scalar(text, written)) => {
            scalar(ty, text, *written).map_err(|fault| one(&node.place, fault))?
        }
        (ty, _) => {
            let fault = (
                format!(
                    "this is {} where {} is expected",
                    node.what(),
                    ty.in_words()
                ),
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
    let Fallback::Text(text) = key.default else {
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

fn last(at: &str) -> &str {
    at.rsplit('.').next().unwrap_or(at)
}

fn scalar(ty: ValueType, text: &str, written: ScalarForm) -> Result<Value, ValueFault> {
    let loose = written == ScalarForm::Loose;
    if loose {
        unquoted(text)?;
    }
    let words = loose || written == ScalarForm::Text;
    let wrong = |fix: &str| fault(format!("{} is expected here", ty.in_words()), fix);
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
        ValueType::Share => {
            let is_number = loose || matches!(written, ScalarForm::Integer | ScalarForm::Float);
            let share = text.parse::<f64>().ok().filter(|_| is_number);
            match share.filter(|share| (0.0..=1.0).contains(share)) {
                Some(share) => Ok(Value::Integer((share * 1e6).round() as u64)),
                None => wrong("write a share such as 0.01, without quotes in a file"),
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
            let fix = match meant(text, choices) {
                Some(word) => format!("did you mean {word:?}?"),
                None => format!("write {}", ty.in_words()),
            };
            fault(format!("{text:?} is not a choice here"), fix)
        }
        ValueType::Url if words => match HttpUrl::parse(plain(text)?) {
            Ok(url) => Ok(Value::Url(url)),
            // The URL itself stays unsaid: it may carry a password before its host.
            Err(why) => fault(
                format!("this URL cannot be used: {why}"),
                "write it as \"https://host:port/path\"",
            ),
        },
        ValueType::Bind if words => bind(plain(text)?),
        ValueType::List => wrong("write a list in brackets, such as [\"a\", \"b\"]"),
        _ => wrong("write it in quotes"),
    }
}

/// The choice that was most likely meant: a near one, or one that `text` lengthens or cuts
/// short, as `warning` and `err` do.
fn meant(text: &str, choices: &[&'static str]) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    let alike = |word: &&&str| text.starts_with(**word) || word.starts_with(&*text);
    let near = near(&text, choices.iter().copied());
    near.or_else(|| {
        choices
            .iter()
            .find(alike)
            .copied()
            .filter(|_| text.len() > 2)
    })
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

#[cfg(test)]
mod tests;
