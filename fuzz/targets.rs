//! ** THE LIST of fuzz targets **
//!
//! One file per target, which says at its head which promise it checks. A target is a
//! function of the input's bytes that panics where the promise is broken. Both
//! binaries read this list: `replay.rs` (in `cargo test`: every seed and every kept
//! crash) and `guided.rs` (libFuzzer: new inputs).

mod answer;
mod config;
mod forward_head;
mod path;
mod proxy_header;
mod recipe;
mod request;
mod request_head;
mod response;
mod structured;

/// A target by its name, which is also the folder of its inputs.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
}

/// Every target.
pub const ALL: &[Target] = &[
    Target {
        name: "request_head",
        check: request_head::check,
    },
    Target {
        name: "structured",
        check: structured::check,
    },
    Target {
        name: "answer",
        check: answer::check,
    },
    Target {
        name: "request",
        check: request::check,
    },
    Target {
        name: "forward_head",
        check: forward_head::check,
    },
    Target {
        name: "response",
        check: response::check,
    },
    Target {
        name: "config",
        check: config::check,
    },
    Target {
        name: "recipe",
        check: recipe::check,
    },
    Target {
        name: "path",
        check: path::check,
    },
    Target {
        name: "proxy_header",
        check: proxy_header::check,
    },
];

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
