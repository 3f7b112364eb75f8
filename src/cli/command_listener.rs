//! The listener that `headset run -- COMMAND` opens for its command. Where a configuration has
//! no other, the commands that judge it judge it with this one.

/// Its name.
pub const NAME: &str = "run";

/// What it is.
pub fn own() -> Vec<(String, String, String)> {
    vec![said("bind", "127.0.0.1:0"), said("mode", "forward")]
}

/// What holds for it unless the configuration says otherwise: its command could reach all of
/// this without headset, so headset does not keep it from it.
pub fn usual() -> Vec<(String, String, String)> {
    vec![
        said(
            "private_networks",
            "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8,fc00::/7,::1/128",
        ),
        said("tunnel_ports", "*"),
    ]
}

/// A key of it as the command line has it.
pub fn said(path: &str, text: &str) -> (String, String, String) {
    let spelling = "headset run -- COMMAND".to_owned();
    (format!("listener.{NAME}.{path}"), text.to_owned(), spelling)
}
