//! References to secrets, as a configuration writes them.
//!
//! A secret itself is never written there. Where one is, the message shows nothing of
//! it: nor of what might be one, such as a variable's name that is none.

use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::config::keys::Value;
use crate::config::read::{fault, key_path, plain};
use crate::config::tree::{Node, Shape, Written};
use crate::secret::Source;

/// Reads a reference to a secret. Nothing that was written is ever shown but the
/// names of keys.
pub(super) fn secret(node: &Node, at: &str) -> Result<Source, Vec<Problem>> {
    let one = |place: &Place, key: String, why: String, fix: String| {
        Err(vec![Problem::new(place.clone(), key, why, fix)])
    };
    let Some(children) = node.children() else {
        let fix = match &node.place {
            Place::Variable(name) => {
                format!("set {name}__FILE to a path or {name}__ENV to a variable's name instead")
            }
            _ => "write { file = \"/path\" } or { env = \"VARIABLE\" } instead".into(),
        };
        let why = "a secret is written by reference only, and this is not one".into();
        return one(&node.place, at.into(), why, fix);
    };
    let mut problems = Vec::new();
    for (name, child) in children {
        if name != "file" && name != "env" {
            problems.push(Problem::new(
                child.place.clone(),
                format!("{at}.{}", key_path([name.as_str()].into_iter())),
                "a secret has no such source",
                "write { file = \"/path\" } or { env = \"VARIABLE\" }",
            ));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    match (children.get("file"), children.get("env")) {
        (Some(file), Some(env)) => one(
            &env.place,
            at.into(),
            format!(
                "both file ({}) and env ({}) are set, and a secret has one source",
                file.place, env.place
            ),
            "remove one of the two".into(),
        ),
        (Some(file), None) => {
            let text = reference(file, &format!("{at}.file"))?;
            Ok(Source::File(text.into()))
        }
        (None, Some(env)) => {
            let name = reference(env, &format!("{at}.env"))?;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
                // It may well be the secret itself, so it stays unsaid.
                return one(
                    &env.place,
                    format!("{at}.env"),
                    "this is not the name of a variable".into(),
                    "write the variable's name, never its value".into(),
                );
            }
            Ok(Source::Env(name.to_owned()))
        }
        (None, None) => one(
            &node.place,
            at.into(),
            "it names no source".into(),
            "write { file = \"/path\" } or { env = \"VARIABLE\" }".into(),
        ),
    }
}

fn reference<'a>(node: &'a Node, at: &str) -> Result<&'a str, Vec<Problem>> {
    let read = match &node.shape {
        Shape::Scalar(text, Written::Loose | Written::Text) => plain(text),
        _ => fault(format!("this is {}", node.what()), "write it in quotes"),
    };
    read.map_err(|(why, fix)| vec![Problem::new(node.place.clone(), at, why, fix)])
}

/// Reads a bearer: a secret, or the name of a credential that yields one.
pub(super) fn bearer(node: &Node, at: &str) -> Result<Value, Vec<Problem>> {
    let Some(name) = node.at(["credential"].into_iter()) else {
        return secret(node, at).map(Value::Secret);
    };
    let key = format!("{at}.credential");
    let one = |place: &Place, why: &str, fix: &str| {
        vec![Problem::new(place.clone(), key.clone(), why, fix)]
    };
    if node.children().is_some_and(|children| children.len() > 1) {
        return Err(one(
            &name.place,
            "a credential and a secret are set, and a bearer has one source",
            "remove one of the two",
        ));
    }
    let text = reference(name, &key)?;
    Name::parse(text).map(Value::Credential).ok_or_else(|| {
        one(
            &name.place,
            "this is not the name of a credential",
            "write the NAME of a table [credential.NAME]",
        )
    })
}

/// Reads a table of header names, each with a reference to a secret.
pub(super) fn secret_headers(node: &Node, at: &str) -> Result<Vec<(String, Source)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut headers: Vec<(String, Source)> = Vec::new();
    let Some(children) = node.children().filter(|children| !children.is_empty()) else {
        return Err(vec![Problem::new(
            node.place.clone(),
            at,
            "a table of header names is expected here",
            "write { \"x-key\" = { file = \"/path\" } }",
        )]);
    };
    for (name, child) in children {
        let path = format!("{at}.{}", key_path([name.as_str()].into_iter()));
        let Ok(header) = http::HeaderName::from_bytes(name.as_bytes()) else {
            problems.push(Problem::new(
                child.place.clone(),
                path,
                "this is not the name of a header",
                "write letters, digits and dashes",
            ));
            continue;
        };
        if headers.iter().any(|(seen, _)| seen == header.as_str()) {
            problems.push(Problem::new(
                child.place.clone(),
                path,
                "this header is set twice, and case does not tell headers apart",
                "remove one of the two",
            ));
            continue;
        }
        match secret(child, &path) {
            Ok(source) => headers.push((header.as_str().to_owned(), source)),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() {
        Ok(headers)
    } else {
        Err(problems)
    }
}
