//! What vigild and the service manager say to each other, and giving up the rights it was started with.
//!
//! Outside systemd all of it is quiet: without `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `LISTEN_FDS` in the environment nothing
//! is sent and nothing is taken over. The units stand in `deploy/systemd/`.

pub mod notify;
pub mod privileges;
pub mod progress;
pub mod sockets;

pub use privileges::drop_to;
pub use progress::{Progress, Stage};
pub use sockets::{Inherited, inherited};
