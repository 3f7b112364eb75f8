//! The entry point: read the command line, run the command, turn the outcome into an exit
//! code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use headset::app::telemetry;
use headset::cli::{self, Cli, exit};

/// musl's own maps a page or more and unmaps it again at nearly every call, and takes its lock by
/// atomic operations; on glibc the system's is as quick as any.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

// Its `memcpy` and `memmove` are used in place of musl's.
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
use headset_memcpy as _;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(exit::EX_USAGE),
            };
        }
    };
    let outcome = cli::execute(cli);
    telemetry::finish();
    match outcome {
        Ok(code) => code,
        // Whoever read our output has enough of it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "headset: {error:#}");
            ExitCode::from(exit::of_error(&error))
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
