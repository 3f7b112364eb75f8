//! One binary of stories: headset as its users meet it, over real sockets, against
//! the simulated contact center or an upstream that records every byte.

mod support;

mod stories {
    mod access_log;
    mod admin;
    mod announces;
    mod caller_token;
    mod changed_password;
    mod changes_in_place;
    mod commands;
    mod connections;
    #[cfg(target_os = "linux")]
    mod descriptors;
    mod dials;
    mod drains;
    mod early_answers;
    mod expects;
    mod first_file;
    mod floods;
    mod http2_upstream;
    mod human;
    mod injects;
    mod interim;
    mod keeps_secrets;
    mod leaves;
    mod lies;
    mod limits;
    mod listener_tls;
    mod log_lines;
    mod logins;
    mod operator;
    mod paces;
    mod page;
    mod passes_through;
    mod process;
    mod proxy_protocol;
    // The simulator of the examples is a part of `demo`.
    mod refuses;
    mod reload;
    mod reloads_credentials;
    mod removed;
    mod replays;
    mod resolves;
    mod restart;
    mod rotation;
    mod run_command;
    mod session_auth;
    mod single_flight;
    #[cfg(target_os = "linux")]
    mod stalls;
    mod streams;
    mod tenants;
    mod transparent;
    mod troubleshooting;
    // Without the feature there are none.
    #[cfg(feature = "otlp")]
    mod traces;
    mod trusts;
    #[cfg(feature = "demo")]
    mod tutorial;
    mod unauthorized;
    mod unix_listener;
    mod unix_upstream;
    mod upgrades;
    mod upstream_restarts;
}

/// docs/http.md, line by line, over raw sockets.
mod wire {
    mod answers;
    mod bodies;
    mod early;
    mod fields;
    mod http2;
    mod mutations;
    mod page;
    mod rig;
    mod run;
    mod targets;
}

/// What every entry of a list must do.
mod contracts {
    mod issuer;
    mod kinds;
    mod options;
}

mod forwarding;

mod broken;
#[cfg(feature = "demo")]
mod commands;
mod documents;
mod house;
