//! Instances.

use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use standfast_core::Timestamp;
use standfast_core::id::{self, Id};
use standfast_store::Record;

use crate::ec2::errors::Keyed;

/// An instance. What it was launched with stays; `state` and what goes with it is moved by requests and the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub reservation: Id<id::Reservation>,
    pub launch_index: i32,
    pub image: String,
    pub instance_type: String,
    pub key_name: Option<String>,
    pub vpc: Id<id::Vpc>,
    pub subnet: Id<id::Subnet>,
    pub zone: String,
    pub private_ip: Ipv4Addr,
    /// Whether it is reachable from outside its VPC.
    pub public: bool,
    /// Where it is reachable from outside, while it runs.
    pub public_ip: Option<Ipv4Addr>,
    /// By device index, the primary one first. Empty when terminated.
    pub interfaces: Vec<Id<id::NetworkInterface>>,
    /// The root volume first. Empty when terminated.
    pub devices: Vec<BlockDevice>,
    pub root_device: String,
    pub launched: Timestamp,
    pub state: State,
    pub reason: Option<StateReason>,
    /// The text of StateTransitionReason.
    pub transition: String,
    /// When the state was last changed.
    pub changed: Timestamp,
    /// Counts boots (see `core::host::InstanceSpec::boot`).
    pub boot: u64,
    /// It stopped because its zone lost power: it starts again when the power is back.
    pub resume: bool,
    pub user_data: UserData,
    pub iam_profile: Option<IamProfile>,
    pub options: Options,
    pub client_token: Option<ClientToken>,
    /// It does not pass its checks: its host keeps it off while this is set, and its state stays what it is.
    #[serde(default)]
    pub impaired: Option<Impaired>,
    /// When it was last recovered from an impaired system.
    #[serde(default)]
    pub recovered: Option<Timestamp>,
}

/// Which of its checks an instance fails, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impaired {
    pub check: Check,
    pub since: Timestamp,
}

/// The status checks of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Of what is under it. Who fails it is recovered, unless that is disabled.
    System,
    /// Of what is in it.
    Instance,
}

/// What ModifyInstanceAttribute and its kin change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub monitoring: bool,
    pub ebs_optimized: bool,
    pub api_termination_disabled: bool,
    pub api_stop_disabled: bool,
    pub terminate_on_shutdown: bool,
    pub hibernation: bool,
    pub enclave: bool,
    pub tenancy: String,
    pub placement_group: Option<String>,
    /// `standard` or `unlimited`, for burstable types.
    pub cpu_credits: Option<String>,
    pub metadata: MetadataOptions,
    pub auto_recovery: Option<String>,
    pub hostname_type: String,
    pub dns_a_record: bool,
    pub dns_aaaa_record: bool,
    /// `spot` for spot instances.
    pub lifecycle: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    pub tokens: String,
    pub hop_limit: i32,
    pub endpoint: String,
    pub ipv6: String,
    pub tags: String,
}

impl MetadataOptions {
    /// What instances of an image get: of one that asks for version 2, tokens, also for containers inside.
    pub fn of(requires_tokens: bool) -> Self {
        match requires_tokens {
            true => Self { tokens: "required".into(), hop_limit: 2, ..Self::default() },
            false => Self::default(),
        }
    }
}

impl Default for MetadataOptions {
    /// What an account without defaults of its own gets for images that ask for no particular version.
    fn default() -> Self {
        Self {
            tokens: "optional".into(),
            hop_limit: 1,
            endpoint: "enabled".into(),
            ipv6: "disabled".into(),
            tags: "disabled".into(),
        }
    }
}

/// The instance profile that an instance has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IamProfile {
    pub arn: String,
    /// `AIPA` and more.
    pub id: String,
    /// `iip-assoc-` and 17 hexadecimal digits.
    pub association: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    pub token: String,
    /// A digest of the request's parameters: another request with the same token is refused.
    pub digest: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockDevice {
    pub device: String,
    pub volume: Id<id::Volume>,
    pub attached: Timestamp,
    pub delete_on_termination: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReason {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::ShuttingDown => "shutting-down",
            State::Terminated => "terminated",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
        }
    }

    pub fn code(self) -> i32 {
        match self {
            State::Pending => 0,
            State::Running => 16,
            State::ShuttingDown => 32,
            State::Terminated => 48,
            State::Stopping => 64,
            State::Stopped => 80,
        }
    }

    /// Whether it is on its way out or gone.
    pub fn is_ending(self) -> bool {
        matches!(self, State::ShuttingDown | State::Terminated)
    }

    /// Whether its host should run it.
    pub fn has_power(self) -> bool {
        matches!(self, State::Pending | State::Running)
    }
}

impl Record for Instance {
    const TABLE: &'static str = "ec2.instances";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let token = self.client_token.iter().map(|token| ("token", token.token.clone()));
        token.chain(self.iam_profile.iter().map(|profile| ("profile", profile.association.clone()))).collect()
    }
}
impl Keyed for Instance {
    type Kind = id::Instance;
}

/// The temporary keys of an instance's role, keyed by the instance's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleCredentials {
    /// The ARN of the instance profile through which the role was found.
    pub profile: String,
    /// The role's name.
    pub role: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub token: String,
    pub updated: Timestamp,
    pub expires: Timestamp,
}

impl Record for RoleCredentials {
    const TABLE: &'static str = "ec2.role_credentials";
}

/// Decoded user data; base64 in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserData(pub std::sync::Arc<[u8]>);

impl Serialize for UserData {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.base64())
    }
}

impl<'de> Deserialize<'de> for UserData {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("user data is not base64"))
    }
}

impl UserData {
    pub fn parse(base64: &str) -> Option<Self> {
        use base64::Engine;
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        let plain: String = base64.split_ascii_whitespace().collect();
        engine.decode(plain).ok().map(|bytes| Self(bytes.into()))
    }

    pub fn base64(&self) -> String {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD.encode(&self.0)
    }
}
