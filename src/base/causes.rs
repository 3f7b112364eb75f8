//! An error and what caused it, in one line.

use std::error::Error;

/// `error` and its causes, the nearest first, with colons between them. A cause that
/// repeats the end of what was said already, as a transparent wrapper's does, is left out.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no connection")]
    struct Outer(#[source] Transparent);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Transparent(std::io::Error);

    #[test]
    fn each_cause_is_told_once() {
        let error = Outer(Transparent(std::io::Error::other("refused")));
        assert_eq!(with_causes(&error), "no connection: refused");
    }
}
