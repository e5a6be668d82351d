//! The load balancers' data plane: obeys the last `LbSnapshot` of the control plane, forwards real HTTP/1.1 traffic,
//! decides health by itself, and shows what it sees.
//!
//! - `plane`: the real one. Event loops (`worker`, `serve`, `decide`, `relay`, `failure`) with clients (`client`) and connections to targets
//!   (`upstream`), each in its node's place in a VPC (`space`); a thread for listeners (`address`) and health checks
//!   (`probe`), the `steward`.
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
mod decide;
mod failure;
mod fingerprint;
mod head;
mod health;
mod io;
mod metrics;
mod pick;
mod plane;
mod probe;
mod relay;
mod route;
mod serve;
mod sim;
mod space;
mod steward;
mod table;
mod times;
mod tls;
mod upstream;
mod worker;

pub use choose::ATTEMPTS_MAX;
pub use plane::{Plane, PlaneConfig, WORKERS_MAX, socket_of};
pub use sim::{Backend as SimBackend, NO_NODE, SimAnswer, SimLb};
