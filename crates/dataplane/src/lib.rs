//! The load balancers' data plane: obeys the last `LbSnapshot` of the control plane, forwards real HTTP/1.1 traffic,
//! decides health by itself, and shows what it sees.
//!
//! - `plane`: the real one. Event loops (`worker`, `serve`, `relay`) with clients (`client`) and connections to targets
//!   (`upstream`); a thread for listeners (`address`) and health checks (`probe`), the `steward`.
//! - `sim`: the same decisions on virtual time, without sockets.
//! - Pure parts, used by both: `route`, `choose`, `pick`, `health`, `metrics`, `table`; and of HTTP: `head`, `body`,
//!   `answer`.
//!
//! It knows nothing of Standfast but `standfast-core`: no control plane has to run for it to serve.

mod address;
mod answer;
mod body;
mod choose;
mod client;
mod fingerprint;
mod head;
pub mod health;
mod io;
pub mod metrics;
pub mod pick;
pub mod plane;
mod probe;
mod relay;
pub mod route;
mod serve;
pub mod sim;
mod steward;
mod table;
mod upstream;
mod worker;

pub use plane::{Plane, PlaneConfig, socket_of};
pub use sim::{SimAnswer, SimLb};
