//! The table of keys as a JSON Schema (draft 7, which editors of TOML read), so that an
//! editor completes keys, shows what they are for and marks what headset would refuse.
//!
//! It holds the shape: which keys there are, where, and of which type. What only headset
//! can see, such as a route that names no credential of the file, `headset check` says.

use serde_json::{Map, Value as Json, json};

use crate::config::key::{ConfigKey, Fallback, KindKeys, ValueType};
use crate::config::keys;

/// The key that says which kind a credential is.
const KIND: &str = "kind";

/// A name below a table such as `[route.NAME]`, as `base/name.rs` reads it.
const NAME: &str = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$";

/// Renders the schema of a whole configuration file, for these kinds of credential.
pub fn schema(kinds: &[KindKeys]) -> Json {
    let mut tables = Map::new();
    for (table, named) in keys::tables() {
        let common = keys::of_table(table);
        let one = match table {
            "credential" => {
                let of_kind = kinds.iter().map(|kind| credential(kind, &common));
                json!({ "oneOf": of_kind.collect::<Vec<_>>() })
            }
            _ => object(common.into_iter(), None),
        };
        let whole = match named {
            true => json!({
                "type": "object",
                "patternProperties": { NAME: one },
                "additionalProperties": false,
            }),
            false => one,
        };
        tables.insert(table.to_owned(), whole);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "headset's configuration",
        "type": "object",
        "properties": tables,
        "additionalProperties": false,
    })
}

fn credential(kind: &KindKeys, common: &[(&'static str, &'static ConfigKey)]) -> Json {
    let own = kind.keys.iter().map(|key| (key.path, key));
    let common = common.iter().copied().filter(|(path, _)| *path != KIND);
    object(common.chain(own), Some(kind))
}

/// An object with these keys, whose paths may be dotted, and with the `kind` that it is of.
fn object(
    keys: impl Iterator<Item = (&'static str, &'static ConfigKey)>,
    kind: Option<&KindKeys>,
) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(kind) = kind {
        let word = json!({ "const": kind.kind, "description": kind.summary });
        properties.insert(KIND.to_owned(), word);
        required.push(KIND);
    }
    for (path, key) in keys {
        match path.split_once('.') {
            None => {
                properties.insert(path.to_owned(), value(key));
                if key.default == Fallback::Required {
                    required.push(path);
                }
            }
            Some((table, _)) if properties.contains_key(table) => {
                let below = &mut properties[table]["properties"];
                insert(below, &path[table.len() + 1..], key);
            }
            Some((table, rest)) => {
                let mut below = json!({});
                insert(&mut below, rest, key);
                properties.insert(table.to_owned(), table_of(below));
            }
        }
    }
    // What a variable or a flag sets need not stand in the file: so nothing but the kind,
    // which decides what the others mean, is demanded here.
    required.retain(|key| *key == KIND);
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn table_of(properties: Json) -> Json {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Puts `key` below `properties`, at its dotted `path`.
fn insert(properties: &mut Json, path: &str, key: &ConfigKey) {
    match path.split_once('.') {
        None => properties[path] = value(key),
        Some((table, rest)) => {
            if properties.get(table).is_none() {
                properties[table] = table_of(json!({}));
            }
            insert(&mut properties[table]["properties"], rest, key);
        }
    }
}

fn value(key: &ConfigKey) -> Json {
    let mut schema = typed(key.ty);
    schema["description"] = json!(key.doc);
    if let Fallback::Text(text) = key.default {
        schema["default"] = match key.ty {
            ValueType::Bool => json!(text == "true"),
            ValueType::Integer { .. } => json!(text.parse::<u64>().unwrap_or_default()),
            ValueType::List => {
                let items = text.split(',').map(str::trim);
                json!(items.filter(|item| !item.is_empty()).collect::<Vec<_>>())
            }
            _ => json!(text),
        };
    }
    schema
}

fn typed(ty: ValueType) -> Json {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let one_key = |name: &str, of: Json| {
        json!({
            "type": "object",
            "properties": { name: of },
            "required": [name],
            "additionalProperties": false,
        })
    };
    let command = json!({
        "type": "object",
        "properties": { "command": texts.clone(), "env": texts.clone() },
        "required": ["command"],
        "additionalProperties": false,
    });
    let secret = || {
        let sources = vec![
            one_key("file", text.clone()),
            one_key("env", text.clone()),
            command.clone(),
        ];
        sources
    };
    match ty {
        ValueType::Bool => json!({ "type": "boolean" }),
        ValueType::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        ValueType::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        ValueType::Choice(words) => json!({ "enum": words }),
        ValueType::List => texts,
        ValueType::Text
        | ValueType::Duration
        | ValueType::Size
        | ValueType::Url
        | ValueType::Path
        | ValueType::Bind => text,
        ValueType::Secret => json!({ "oneOf": secret() }),
        ValueType::OwnSecret => {
            let mut sources = secret();
            sources.push(one_key("generate", json!({ "const": true })));
            json!({ "oneOf": sources })
        }
        ValueType::Bearer => {
            let mut sources = secret();
            sources.push(one_key("credential", text.clone()));
            json!({ "oneOf": sources })
        }
        ValueType::SecretHeaders => {
            json!({ "type": "object", "additionalProperties": { "oneOf": secret() } })
        }
        ValueType::Resolve => {
            json!({ "type": "object", "additionalProperties": { "oneOf": [text, texts] } })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::KINDS;

    #[test]
    fn every_key_stands_at_its_path_with_what_it_is_for() {
        let schema = schema(KINDS);
        for key in keys::KEYS {
            let (table, named, rest) = keys::split(key.path);
            let mut at = &schema["properties"][table];
            if named {
                at = &at["patternProperties"][NAME];
            }
            if table == "credential" {
                at = &at["oneOf"][0];
            }
            for part in rest.split('.') {
                at = &at["properties"][part];
            }
            if rest != KIND {
                assert_eq!(at["description"], key.doc, "{}", key.path);
            }
        }
    }

    #[test]
    fn each_kind_has_its_own_keys() {
        let schema = schema(KINDS);
        let kinds = &schema["properties"]["credential"]["patternProperties"][NAME]["oneOf"];
        for (kind, of_kind) in KINDS.iter().zip(kinds.as_array().unwrap()) {
            assert_eq!(of_kind["properties"]["kind"]["const"], kind.kind);
            assert_eq!(of_kind["required"], json!(["kind"]));
            for key in kind.keys {
                let pointer = key.path.replace('.', "/properties/");
                let found = of_kind.pointer(&format!("/properties/{pointer}"));
                assert!(found.is_some(), "{}: {}", kind.kind, key.path);
            }
        }
    }
}
