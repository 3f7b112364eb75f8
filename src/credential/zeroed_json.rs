//! JSON that may hold secrets: its texts are zeroed when it is dropped.
//!
//! Keys are not: a name is no secret. Numbers and truth values cannot be.

use std::ops::Deref;

use serde_json::Value;
use zeroize::Zeroize;

/// A parsed body.
#[derive(Default)]
pub(super) struct ZeroedJson(Value);

impl ZeroedJson {
    /// `None` where `body` is no JSON.
    pub(super) fn parse(body: &[u8]) -> Option<ZeroedJson> {
        serde_json::from_slice(body).ok().map(ZeroedJson)
    }
}

impl Deref for ZeroedJson {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for ZeroedJson {
    fn drop(&mut self) {
        zero(&mut self.0);
    }
}

fn zero(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(zero),
        Value::Object(members) => members.values_mut().for_each(zero),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_zeroed_and_no_key() {
        let mut value = serde_json::json!({"a": ["s3cret", {"b": "s3cret"}], "c": 1});
        zero(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["", {"b": ""}], "c": 1}));
    }
}
