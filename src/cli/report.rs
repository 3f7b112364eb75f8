//! What came of it, for people on a terminal and for scripts: problems of a configuration,
//! and the outcome of one attempt to obtain a credential.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::base::causes::with_causes;
use crate::base::problem::Problem;
use crate::base::spelled_out::spelled_out;
use crate::base::time::rfc3339;
use crate::cli::exit;
use crate::cli::instance::InstanceError;
use crate::credential::attempt::Obtained;
use crate::credential::{MintError, UnavailableReason};

/// A form of output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

/// Writes the `problems` of a configuration, one a line, and how many there are.
///
/// # Errors
/// Where `out` cannot be written.
pub fn problems(problems: &[Problem], out: &mut dyn Write) -> std::io::Result<()> {
    drawn(problems, |_| None, out)
}

/// The same, and below each what `draw` makes of it.
///
/// # Errors
/// Where `out` cannot be written.
pub fn drawn(
    problems: &[Problem],
    draw: impl Fn(&Problem) -> Option<String>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for problem in problems {
        writeln!(out, "{}", spelled_out(&problem.to_string()))?;
        if let Some(drawn) = draw(problem) {
            writeln!(out, "{drawn}")?;
        }
    }
    match problems.len() {
        1 => writeln!(out, "1 problem"),
        count => writeln!(out, "{count} problems"),
    }
}

/// Shows the `problems` of a configuration that no command can go on with.
pub(super) fn refuse(found: &[Problem]) -> ExitCode {
    // The exit code says it too, where stderr cannot be written.
    let _ = problems(found, &mut std::io::stderr().lock());
    ExitCode::from(exit::EX_CONFIG)
}

/// Shows that no running headset answered, and why.
///
/// # Errors
/// Where stderr cannot be written.
pub(super) fn unanswered(error: &InstanceError) -> anyhow::Result<ExitCode> {
    let told = with_causes(error);
    writeln!(std::io::stderr(), "headset: {told}")?;
    Ok(ExitCode::from(error.exit_code()))
}

/// One word for a failure.
pub fn class(error: &MintError) -> &'static str {
    match error {
        MintError::Unavailable {
            reason: UnavailableReason::Connect | UnavailableReason::Timeout,
            ..
        } => "out of reach",
        MintError::Unavailable { .. } => "try again later",
        MintError::Refused { .. } => "refused",
        MintError::Secret { .. } => "a secret cannot be used",
    }
}

/// When what was obtained ends, and what said so.
pub fn ends(obtained: &Obtained) -> String {
    match (obtained.ends_ms, &obtained.ends_by) {
        (None, _) => "never expires".into(),
        (Some(ms), None) => format!("expires {}, in {}", rfc3339(ms), span(obtained.left)),
        (Some(ms), Some(by)) => {
            format!(
                "expires {}, in {}, by {by}",
                rfc3339(ms),
                span(obtained.left)
            )
        }
    }
}

/// A span for people: the two greatest units that it has, of days, hours, minutes and
/// seconds.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [
        (seconds / 86_400, "day"),
        (seconds / 3600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let said = units.iter().skip_while(|(count, _)| *count == 0).take(2);
    let said: Vec<String> = said
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| match count {
            1 => format!("1 {unit}"),
            _ => format!("{count} {unit}s"),
        })
        .collect();
    match said.is_empty() {
        true => "0 seconds".into(),
        false => said.join(" "),
    }
}

/// What came of an attempt, as an object with `ok`.
pub fn outcome_json(outcome: &Result<Obtained, MintError>) -> Json {
    match outcome {
        Ok(obtained) => json!({
            "ok": true,
            "sets": obtained.sets.iter().map(|set| json!({
                "name": set.name,
                "value": set.value,
                "from": set.from,
            })).collect::<Vec<_>>(),
            "expires": obtained.ends_ms.map(rfc3339),
            "expires_by": obtained.ends_by,
            "clock_skew_seconds": obtained.skew_ms.map(|ms| ms as f64 / 1000.0),
            "human": obtained.human_due_ms.map(|due| json!({
                "due": rfc3339(due),
                "due_in_seconds": obtained.runway.map(|left| left.as_secs()),
                "action": obtained.action,
            })),
        }),
        Err(error) => json!({
            "ok": false,
            "exit": exit::of_attempt(outcome),
            "reason": error.labels().1,
            "detail": error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_days_and_never_in_months() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (61, "1 minute 1 second"),
            (3600, "1 hour"),
            (3605, "1 hour"),
            (31 * 86_400, "31 days"),
            (400 * 86_400 + 7200 + 59, "400 days 2 hours"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
