//! *Change*: from what runs to what runs next, and to the end.
//!
//! [`running::Running`] is a headset that serves. `reload` puts the next configuration in
//! its place, or changes nothing; `restart_only` lists what it leaves alone; `retired`
//! lets go of the credentials that it took out of use. `origin` notices a changed
//! configuration, `secrets` a changed secret. `stop` waits for what ends the process (`terminal` tells a closed
//! one), `shutdown` is the order of that end, and `supervisor` tells the service manager
//! of all three.

pub mod origin;
pub mod reload;
pub mod restart_only;
pub mod retired;
pub mod running;
pub mod secrets;
pub mod shutdown;
pub mod stop;
pub mod supervisor;
pub mod terminal;
