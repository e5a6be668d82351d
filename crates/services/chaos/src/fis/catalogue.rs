//! The actions there are: what each acts on, what it is told, and what it does. The one list.
//!
//! Actions of the `standfast:` family have no AWS counterpart: a zone's power, an instance's hardware and everybody's
//! requests are things that a real cloud does not let its users break.

use standfast_kernel::faults::ApiFailure;

use super::targets::{GROUPS, INSTANCES, ROLES, SPOT_INSTANCES, SUBNETS, TARGET_GROUPS, TargetType, VOLUMES};

/// What an action does. The name on the wire stands in `ACTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    TerminateInstances,
    StopInstances,
    RebootInstances,
    KillInstances,
    ZonePower,
    FailHardware,
    ImpairLink,
    ImpairPackets,
    InterruptSpotInstances,
    SendCommand,
    CutOffSubnets,
    PauseVolumes,
    NoCapacity(Whose),
    Api(ApiFailure),
    FailTargets,
    AssertAlarms,
    Wait,
}

/// Whose launches find no capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Roles,
    Groups,
    Everybody,
}

/// What a parameter's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Text,
    Duration,
    /// A duration between bounds in seconds.
    DurationWithin(u64, u64),
    /// A number up to this.
    Number(u32),
    /// 1 to 100.
    Percent,
    Zone,
    /// Names or ids of zones, with commas.
    Zones,
    Bool,
    OneOf(&'static [&'static str]),
}

pub struct Parameter {
    pub name: &'static str,
    pub required: bool,
    pub value: Value,
    pub description: &'static str,
}

pub struct ActionType {
    pub id: &'static str,
    pub effect: Effect,
    pub description: &'static str,
    /// What it acts on, which an experiment has to say.
    pub target: Option<&'static TargetType>,
    pub parameters: &'static [Parameter],
}

const fn needs(name: &'static str, value: Value, description: &'static str) -> Parameter {
    Parameter { name, required: true, value, description }
}

const fn takes(name: &'static str, value: Value, description: &'static str) -> Parameter {
    Parameter { name, required: false, value, description }
}

pub const DURATION: &str = "duration";
pub const ZONE: &str = "availabilityZoneIdentifier";
pub const OTHER_ZONE: &str = "otherAvailabilityZoneIdentifier";
pub const ZONES: &str = "availabilityZoneIdentifiers";
pub const LOSS: &str = "lossPercent";
pub const DELAY: &str = "delayMilliseconds";
pub const CORRUPT: &str = "corruptPercent";
pub const JITTER: &str = "jitterMilliseconds";
pub const BEFORE_INTERRUPTION: &str = "durationBeforeInterruption";
pub const START_AFTER: &str = "startInstancesAfterDuration";
pub const IF_TERMINATED: &str = "completeIfInstancesTerminated";
pub const SCOPE: &str = "scope";
pub const PREFIX_LIST: &str = "prefixListIdentifier";
pub const SERVICE: &str = "service";
pub const OPERATIONS: &str = "operations";
pub const PERCENTAGE: &str = "percentage";
pub const DOCUMENT: &str = "documentArn";
pub const DOCUMENT_PARAMETERS: &str = "documentParameters";
pub const ALARMS: &str = "alarmArns";
pub const ALARM_STATES: &str = "alarmStates";

/// The longest delay of a packet.
pub const DELAY_MS_MAX: u32 = 60_000;

const LASTS: Parameter = needs(DURATION, Value::Duration, "How long, as an ISO 8601 duration.");
const MAY_LAST: Parameter = takes(
    DURATION,
    Value::Duration,
    "How long, as an ISO 8601 duration; until the experiment is stopped when not given.",
);
const OF_SERVICE: Parameter = needs(SERVICE, Value::Text, "The service, as in IAM's policies: ec2.");
const OF_OPERATIONS: Parameter = needs(OPERATIONS, Value::Text, "Names of operations, with commas.");
const ALL_OR_OPERATIONS: Parameter =
    takes(OPERATIONS, Value::Text, "Names of operations, with commas; all of the service when not given.");
const SHARE: Parameter = takes(PERCENTAGE, Value::Percent, "How many requests of a hundred; 100 when not given.");
const IN_ZONES: Parameter = needs(ZONES, Value::Zones, "Names or ids of zones, with commas.");

pub static ACTIONS: &[ActionType] = &[
    ActionType {
        id: "aws:cloudwatch:assert-alarm-state",
        effect: Effect::AssertAlarms,
        description: "Fail unless the alarms are in one of the states.",
        target: None,
        parameters: &[
            needs(ALARMS, Value::Text, "ARNs of alarms, with commas."),
            needs(ALARM_STATES, Value::Text, "OK, ALARM or INSUFFICIENT_DATA, with commas."),
        ],
    },
    ActionType {
        id: "aws:ebs:pause-volume-io",
        effect: Effect::PauseVolumes,
        // AWS-DIFF: not of root volumes; and what is read goes on where the machine has no control of I/O (see `doctor`).
        description: "Let writes to the target volumes hang, and what is read from them and not in memory.",
        target: Some(&VOLUMES),
        parameters: &[LASTS],
    },
    ActionType {
        id: "aws:ec2:api-insufficient-instance-capacity-error",
        effect: Effect::NoCapacity(Whose::Roles),
        description: "Answer launches by the target roles with InsufficientInstanceCapacity.",
        target: Some(&ROLES),
        parameters: &[LASTS, IN_ZONES, SHARE],
    },
    ActionType {
        id: "aws:ec2:asg-insufficient-instance-capacity-error",
        effect: Effect::NoCapacity(Whose::Groups),
        description: "Answer launches by the target Auto Scaling groups with InsufficientInstanceCapacity.",
        target: Some(&GROUPS),
        parameters: &[LASTS, IN_ZONES, SHARE],
    },
    ActionType {
        id: "aws:ec2:reboot-instances",
        effect: Effect::RebootInstances,
        description: "Reboot the target instances.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "aws:ec2:send-spot-instance-interruptions",
        effect: Effect::InterruptSpotInstances,
        description: "Interrupt the target Spot Instances, with a notice two minutes before.",
        target: Some(&SPOT_INSTANCES),
        parameters: &[needs(
            BEFORE_INTERRUPTION,
            Value::DurationWithin(120, 900),
            "How long until they are interrupted, as an ISO 8601 duration from PT2M to PT15M.",
        )],
    },
    ActionType {
        id: "aws:ec2:stop-instances",
        effect: Effect::StopInstances,
        description: "Stop the target instances.",
        target: Some(&INSTANCES),
        parameters: &[
            takes(START_AFTER, Value::Duration, "How long until they are started again, as an ISO 8601 duration."),
            takes(IF_TERMINATED, Value::Bool, "Whether it is no failure when they have been terminated meanwhile."),
        ],
    },
    ActionType {
        id: "aws:ec2:terminate-instances",
        effect: Effect::TerminateInstances,
        description: "Terminate the target instances.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "aws:fis:inject-api-internal-error",
        effect: Effect::Api(ApiFailure::InternalError),
        description: "Answer requests by the target roles with internal errors.",
        target: Some(&ROLES),
        parameters: &[LASTS, OF_SERVICE, OF_OPERATIONS, SHARE],
    },
    ActionType {
        id: "aws:fis:inject-api-throttle-error",
        effect: Effect::Api(ApiFailure::Throttling),
        description: "Throttle requests by the target roles.",
        target: Some(&ROLES),
        parameters: &[LASTS, OF_SERVICE, OF_OPERATIONS, SHARE],
    },
    ActionType {
        id: "aws:fis:inject-api-unavailable-error",
        effect: Effect::Api(ApiFailure::Unavailable),
        description: "Answer requests by the target roles with unavailability.",
        target: Some(&ROLES),
        parameters: &[LASTS, OF_SERVICE, OF_OPERATIONS, SHARE],
    },
    ActionType {
        id: "aws:fis:wait",
        effect: Effect::Wait,
        description: "Wait for the given time.",
        target: None,
        parameters: &[LASTS],
    },
    ActionType {
        id: "aws:network:disrupt-connectivity",
        effect: Effect::CutOffSubnets,
        description: "Cut the target subnets off; what is within a subnet goes on.",
        target: Some(&SUBNETS),
        parameters: &[
            LASTS,
            needs(
                SCOPE,
                Value::OneOf(&["all", "availability-zone", "dynamodb", "prefix-list", "s3", "vpc"]),
                "all: from everything; availability-zone: from other zones of the VPC; vpc: from outside the VPC; \
                 prefix-list: from the blocks of a prefix list.",
            ),
            takes(PREFIX_LIST, Value::Text, "The prefix list, for the scope prefix-list."),
        ],
    },
    ActionType {
        id: "aws:ssm:send-command",
        effect: Effect::SendCommand,
        description: "Run a document of Systems Manager on the target instances.",
        target: Some(&INSTANCES),
        parameters: &[
            needs(DOCUMENT, Value::Text, "arn:aws:ssm:REGION::document/AWSFIS-Run-CPU-Stress, for example."),
            takes(
                "documentVersion",
                Value::OneOf(&["$DEFAULT", "$LATEST", "1"]),
                "The document's version: $DEFAULT, $LATEST or 1, as there is one.",
            ),
            takes(DOCUMENT_PARAMETERS, Value::Text, "The document's parameters, as JSON."),
            LASTS,
        ],
    },
    ActionType {
        id: "standfast:api:internal-error",
        effect: Effect::Api(ApiFailure::InternalError),
        description: "Answer everybody's requests to a service with internal errors.",
        target: None,
        parameters: &[MAY_LAST, OF_SERVICE, ALL_OR_OPERATIONS, SHARE],
    },
    ActionType {
        id: "standfast:api:throttle-error",
        effect: Effect::Api(ApiFailure::Throttling),
        description: "Throttle everybody's requests to a service.",
        target: None,
        parameters: &[MAY_LAST, OF_SERVICE, ALL_OR_OPERATIONS, SHARE],
    },
    ActionType {
        id: "standfast:api:unavailable-error",
        effect: Effect::Api(ApiFailure::Unavailable),
        description: "Answer everybody's requests to a service with unavailability.",
        target: None,
        parameters: &[MAY_LAST, OF_SERVICE, ALL_OR_OPERATIONS, SHARE],
    },
    ActionType {
        id: "standfast:az:impair-link",
        effect: Effect::ImpairLink,
        description: "Lose or delay packets between two availability zones, in both directions.",
        target: None,
        parameters: &[
            needs(ZONE, Value::Zone, "A zone's name."),
            needs(OTHER_ZONE, Value::Zone, "The other zone's name; the same name for traffic within the zone."),
            takes(LOSS, Value::Number(100), "How many packets of a hundred are lost; 100 is a partition."),
            takes(
                DELAY,
                Value::Number(DELAY_MS_MAX),
                "How many milliseconds each packet's way takes longer, in each direction.",
            ),
            MAY_LAST,
        ],
    },
    ActionType {
        id: "standfast:az:insufficient-capacity",
        effect: Effect::NoCapacity(Whose::Everybody),
        description: "Answer everybody's launches with InsufficientInstanceCapacity, and those of groups.",
        target: None,
        parameters: &[MAY_LAST, IN_ZONES, SHARE],
    },
    ActionType {
        id: "standfast:az:power-interruption",
        effect: Effect::ZonePower,
        description: "Cut the power of an availability zone: its instances, load balancer nodes and links.",
        target: None,
        parameters: &[needs(ZONE, Value::Zone, "The zone's name."), MAY_LAST],
    },
    ActionType {
        id: "standfast:ec2:fail-hardware",
        effect: Effect::FailHardware,
        description: "Fail the hardware below the target instances: their system status check fails until they are recovered.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "standfast:ec2:impair-network",
        effect: Effect::ImpairPackets,
        description: "Lose what the target instances send; delay or damage what they get.",
        target: Some(&INSTANCES),
        parameters: &[
            takes(LOSS, Value::Number(100), "How many packets of a hundred that they send are lost."),
            takes(DELAY, Value::Number(DELAY_MS_MAX), "How many milliseconds later packets reach them."),
            takes(
                JITTER,
                Value::Number(DELAY_MS_MAX),
                "How many milliseconds each is earlier or later than that, at most.",
            ),
            takes(CORRUPT, Value::Number(100), "How many packets of a hundred that they get have a wrong bit."),
            MAY_LAST,
        ],
    },
    ActionType {
        id: "standfast:ec2:kill-instances",
        effect: Effect::KillInstances,
        description: "Kill the target instances with SIGKILL, as failing hardware would.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "standfast:elbv2:fail-targets",
        effect: Effect::FailTargets,
        description: "Let the targets of the target groups fail their health checks, whatever they answer.",
        target: Some(&TARGET_GROUPS),
        parameters: &[MAY_LAST],
    },
];

/// What AWS has beside, by what its names begin with: the services that they act on are not here, or not what they need.
const ELSEWHERE: &[&str] = &[
    "aws:arc:",
    "aws:directconnect:",
    "aws:dsql:",
    "aws:dynamodb:",
    "aws:ebs:volume-io-latency",
    "aws:ecs:",
    "aws:eks:",
    "aws:elasticache:",
    "aws:kinesis:",
    "aws:lambda:",
    "aws:memorydb:",
    "aws:network:disrupt-vpc-endpoint",
    "aws:network:route-table-disrupt-cross-region-connectivity",
    "aws:network:transit-gateway-disrupt-cross-region-connectivity",
    "aws:rds:",
    "aws:s3:",
    "aws:ssm:start-automation-execution",
];

/// The action of this id.
pub fn action(id: &str) -> Option<&'static ActionType> {
    ACTIONS.iter().find(|action| action.id == id)
}

/// Whether it is an action that AWS has and Standfast has not.
pub fn is_elsewhere(id: &str) -> bool {
    ELSEWHERE.iter().any(|known| id.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_stand_in_the_order_of_their_names() {
        let names: Vec<_> = ACTIONS.iter().map(|action| action.id).collect();
        assert!(names.is_sorted_by(|one, other| one < other), "pages of ListActions are cut by name");
    }
}
