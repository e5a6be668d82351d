//! What the server and a process of its cloud say to each other: frames of a length and a message.
//!
//! Both ends are the same build of the same program (the first frame says so), so the format needs no versions.

use std::io::{self, Read};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use standfast_core::host::{Abilities, ExecOutput, HostObservation, HostSnapshot};
use standfast_core::lb::{LbObservation, LbSnapshot, Traffic};
use standfast_core::metric::Datum;
use standfast_core::{Error, Fault, Id, Timestamp, id::Instance};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Role;
use crate::cli::Egress;

/// A frame longer than this is a mistake, not a message: 100,000 instances' state is a tenth of it.
const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;
const HEADER_BYTES: usize = 4;

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
pub enum Down<L, C> {
    /// What should be, from now on.
    Level(L),
    Call(u64, C),
}

/// To the server.
#[derive(Debug, Serialize, Deserialize)]
pub enum Up<O, A> {
    /// The first message.
    Hello(Hello),
    /// What is now.
    Observation(O),
    /// The same, when only figures have changed that nobody waits for.
    Refresh(O),
    Answer(u64, A),
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub build: String,
    pub pid: u32,
    /// The host driver's name; empty for the data plane.
    pub driver: String,
    pub egress: Egress,
    pub abilities: Abilities,
    /// What its clock shows and how fast it runs.
    pub now: Timestamp,
    pub speed: f64,
}

/// One of the two conversations.
pub trait Kind: Send + Sync + 'static {
    const ROLE: Role;
    type Level: PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    type Observation: Clone + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    type Call: Serialize + DeserializeOwned + Send + Sync + 'static;
    type Answer: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The call that ends the process.
    fn stop(grace: Duration) -> Self::Call;
    fn stops(call: &Self::Call) -> bool;
    /// How many things an observation speaks of.
    fn size(observation: &Self::Observation) -> usize;
    /// Whether two observations differ in nothing that anybody waits for.
    fn same(old: &Self::Observation, new: &Self::Observation) -> bool;
    /// What is to be shown of a process that has died, given what it showed last.
    fn lost(last: &Self::Observation) -> Self::Observation;
}

#[derive(Debug, Serialize, Deserialize)]
pub enum HostCall {
    Kill(Id<Instance>),
    Console(Id<Instance>),
    Exec { id: Id<Instance>, argv: Vec<String>, limit: Duration },
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum HostAnswer {
    Done,
    Console(Vec<u8>),
    Exec(Result<ExecOutput, Refusal>),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum LbCall {
    TakeMetrics,
    Traffic,
    Shutdown(Duration),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum LbAnswer {
    Metrics(Vec<Datum>),
    Traffic(Vec<Traffic>),
    Done,
}

/// An error as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    code: String,
    message: String,
    client: bool,
    status: Option<u16>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let Error { code, message, fault, status } = error;
        Self { code: code.into_owned(), message, client: fault == Fault::Client, status }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let fault = if refusal.client { Fault::Client } else { Fault::Server };
        Self { code: refusal.code.into(), message: refusal.message, fault, status: refusal.status }
    }
}

/// The conversation with the host.
pub struct HostKind;

impl Kind for HostKind {
    const ROLE: Role = Role::Host;
    type Level = HostSnapshot;
    type Observation = HostObservation;
    type Call = HostCall;
    type Answer = HostAnswer;

    fn stop(_: Duration) -> HostCall {
        HostCall::Shutdown
    }

    fn stops(call: &HostCall) -> bool {
        matches!(call, HostCall::Shutdown)
    }

    fn size(observation: &HostObservation) -> usize {
        observation.instances.len() + observation.volumes.len() + observation.snapshots.len()
    }

    fn same(old: &HostObservation, new: &HostObservation) -> bool {
        let instances = old.instances.len() == new.instances.len()
            && old.instances.iter().zip(&new.instances).all(|((a, old), (b, new))| {
                a == b && (&old.phase, old.boot, old.address) == (&new.phase, new.boot, new.address)
            });
        instances && (&old.volumes, &old.snapshots, &old.namespaces) == (&new.volumes, &new.snapshots, &new.namespaces)
    }

    /// A host that died is hardware that failed: nothing of it runs any more.
    fn lost(last: &HostObservation) -> HostObservation {
        use standfast_core::host::{HOST_RESTARTED, Phase};
        let mut lost = HostObservation { namespaces: Default::default(), ..last.clone() };
        for seen in lost.instances.values_mut() {
            if matches!(seen.phase, Phase::Booting | Phase::Running | Phase::ShuttingDown) {
                seen.phase = Phase::Crashed(HOST_RESTARTED.into());
            }
        }
        lost
    }
}

/// The conversation with the data plane.
pub struct LbKind;

impl Kind for LbKind {
    const ROLE: Role = Role::Dataplane;
    type Level = LbSnapshot;
    type Observation = LbObservation;
    type Call = LbCall;
    type Answer = LbAnswer;

    fn stop(grace: Duration) -> LbCall {
        LbCall::Shutdown(grace)
    }

    fn stops(call: &LbCall) -> bool {
        matches!(call, LbCall::Shutdown(_))
    }

    fn size(observation: &LbObservation) -> usize {
        observation.targets.len() + observation.listeners.len()
    }

    fn same(old: &LbObservation, new: &LbObservation) -> bool {
        old == new
    }

    /// It is back in a moment with the same listeners, and decides about health anew.
    fn lost(last: &LbObservation) -> LbObservation {
        last.clone()
    }
}

/// A message with its length before it.
pub fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; HEADER_BYTES]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - HEADER_BYTES).map_err(io::Error::other)?;
    frame[..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

fn length(header: [u8; HEADER_BYTES]) -> io::Result<usize> {
    let length = u32::from_le_bytes(header) as usize;
    match length <= FRAME_BYTES_MAX {
        true => Ok(length),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long")),
    }
}

fn message<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a message.
pub async fn write(stream: &mut OwnedWriteHalf, sent: &impl Serialize) -> io::Result<()> {
    stream.write_all(&frame(sent)?).await
}

/// Reads a message. Not to be cancelled: what was read of a frame would be lost.
pub async fn read<T: DeserializeOwned>(stream: &mut OwnedReadHalf) -> io::Result<T> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let mut bytes = vec![0; length(header)?];
    stream.read_exact(&mut bytes).await?;
    message(&bytes)
}

/// Reads a message from a socket that blocks.
pub fn read_blocking<T: DeserializeOwned>(mut stream: &std::os::unix::net::UnixStream) -> io::Result<T> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let mut bytes = vec![0; length(header)?];
    stream.read_exact(&mut bytes)?;
    message(&bytes)
}

/// What tells this program from another version or build of it.
pub fn build() -> String {
    let own = if cfg!(target_os = "linux") {
        std::fs::metadata("/proc/self/exe")
    } else {
        std::env::current_exe().and_then(std::fs::metadata)
    };
    let file = own.ok().map(|file| {
        let written = file.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        (file.len(), written.unwrap_or_default().as_nanos())
    });
    let (bytes, written) = file.unwrap_or_default();
    format!("{} {bytes} {written}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use standfast_core::host::{HOST_RESTARTED, Observed, Phase};
    use standfast_core::lb::{Health, TargetKey};

    use super::*;

    fn read_back<T: Serialize + DeserializeOwned>(sent: &T) -> T {
        message(&frame(sent).expect("it can be written")[HEADER_BYTES..]).expect("it can be read")
    }

    fn observation(count: u16, phase: &Phase) -> HostObservation {
        let seen = |n: u16| Observed {
            phase: phase.clone(),
            boot: 1,
            address: Some([127, 128, (n >> 8) as u8, n as u8].into()),
            cpu_time: Duration::from_millis(n.into()),
            traffic: None,
        };
        let instances = (0..count).map(|n| (Id::from_text(&format!("i-{n:017x}")), seen(n))).collect();
        HostObservation { instances, ..HostObservation::default() }
    }

    #[test]
    fn observations_of_both_planes_travel() {
        let host = observation(1000, &Phase::Crashed("why".into()));
        assert_eq!(read_back(&host), host);
        let key = TargetKey { target_group_arn: "arn".into(), id: "i-1".into(), port: 80 };
        let ill = Health::Unhealthy { reason: "Target.Timeout", description: "Request timed out".into() };
        let listener = (("arn".to_owned(), "a".to_owned(), 80), ([127, 64, 0, 1], 80).into());
        let lb = LbObservation { targets: BTreeMap::from([(key, ill)]), listeners: BTreeMap::from([listener]) };
        assert_eq!(read_back(&lb), lb);
    }

    #[test]
    fn what_ran_on_a_lost_host_has_crashed_and_what_was_off_is_off() {
        let lost = HostKind::lost(&observation(1, &Phase::Running));
        assert!(lost.instances.values().all(|seen| seen.phase == Phase::Crashed(HOST_RESTARTED.into())));
        let off = observation(1, &Phase::Off);
        assert_eq!(HostKind::lost(&off), off);
    }

    #[test]
    fn cpu_time_alone_wakes_nobody() {
        let old = observation(3, &Phase::Running);
        let mut new = old.clone();
        new.instances.values_mut().for_each(|seen| seen.cpu_time += Duration::from_secs(1));
        assert!(HostKind::same(&old, &new));
        assert!(!HostKind::same(&old, &observation(2, &Phase::Running)));
        assert!(!HostKind::same(&old, &observation(3, &Phase::Off)));
    }
}
