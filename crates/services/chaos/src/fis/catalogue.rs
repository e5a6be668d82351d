//! The actions there are, and what they act on. The one list.
//!
//! Actions of the `standfast:` family have no AWS counterpart: a zone's power and an instance's hardware are things that
//! a real cloud does not let its users switch off.

use standfast_api::fis::{
    Action, ActionParameter, ActionSummary, ActionTarget, GetActionInput, GetActionOutput, GetTargetResourceTypeInput,
    GetTargetResourceTypeOutput, ListActionsInput, ListActionsOutput, ListTargetResourceTypesInput,
    ListTargetResourceTypesOutput, TargetResourceType, TargetResourceTypeSummary,
};
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;

/// What an action acts on.
#[derive(Debug, PartialEq, Eq)]
pub struct TargetType {
    /// Under which name actions refer to it.
    pub name: &'static str,
    pub resource_type: &'static str,
    pub description: &'static str,
}

pub static INSTANCES: TargetType =
    TargetType { name: "Instances", resource_type: "aws:ec2:instance", description: "An EC2 instance." };
pub static SPOT_INSTANCES: TargetType =
    TargetType { name: "SpotInstances", resource_type: "aws:ec2:spot-instance", description: "An EC2 Spot Instance." };
pub static TARGETS: &[&TargetType] = &[&INSTANCES, &SPOT_INSTANCES];

/// Pages of ListActions and ListTargetResourceTypes.
const PAGE_MAX: usize = 100;

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
    InterruptSpotInstances,
    Wait,
}

pub struct ActionType {
    pub id: &'static str,
    pub effect: Effect,
    pub description: &'static str,
    /// What it acts on, which an experiment has to say.
    pub target: Option<&'static TargetType>,
    /// Name, whether it is required, description.
    pub parameters: &'static [(&'static str, bool, &'static str)],
}

pub const DURATION: &str = "duration";
pub const ZONE: &str = "availabilityZoneIdentifier";
pub const OTHER_ZONE: &str = "otherAvailabilityZoneIdentifier";
pub const LOSS: &str = "lossPercent";
pub const DELAY: &str = "delayMilliseconds";
pub const BEFORE_INTERRUPTION: &str = "durationBeforeInterruption";
pub const START_AFTER: &str = "startInstancesAfterDuration";

pub static ACTIONS: &[ActionType] = &[
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
        parameters: &[(
            BEFORE_INTERRUPTION,
            true,
            "How long until they are interrupted, as an ISO 8601 duration from PT2M to PT15M.",
        )],
    },
    ActionType {
        id: "aws:ec2:stop-instances",
        effect: Effect::StopInstances,
        description: "Stop the target instances.",
        target: Some(&INSTANCES),
        parameters: &[(START_AFTER, false, "How long until they are started again, as an ISO 8601 duration.")],
    },
    ActionType {
        id: "aws:ec2:terminate-instances",
        effect: Effect::TerminateInstances,
        description: "Terminate the target instances.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "aws:fis:wait",
        effect: Effect::Wait,
        description: "Wait for the given time.",
        target: None,
        parameters: &[(DURATION, true, "How long, as an ISO 8601 duration.")],
    },
    ActionType {
        id: "standfast:az:power-interruption",
        effect: Effect::ZonePower,
        description: "Cut the power of an availability zone: its instances, load balancer nodes and links.",
        target: None,
        parameters: &[
            (ZONE, true, "The zone's name."),
            (DURATION, false, "How long, as an ISO 8601 duration; until the experiment is stopped when not given."),
        ],
    },
    ActionType {
        id: "standfast:az:impair-link",
        effect: Effect::ImpairLink,
        description: "Lose or delay packets between two availability zones, in both directions.",
        target: None,
        parameters: &[
            (ZONE, true, "A zone's name."),
            (OTHER_ZONE, true, "The other zone's name; the same name for traffic within the zone."),
            (LOSS, false, "How many packets of a hundred are lost; 100 is a partition."),
            (DELAY, false, "How many milliseconds each packet's way takes longer, in each direction."),
            (DURATION, false, "How long, as an ISO 8601 duration; until the experiment is stopped when not given."),
        ],
    },
    ActionType {
        id: "standfast:ec2:fail-hardware",
        effect: Effect::FailHardware,
        description: "Fail the hardware below the target instances: their system status check fails until they are recovered.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
    ActionType {
        id: "standfast:ec2:kill-instances",
        effect: Effect::KillInstances,
        description: "Kill the target instances with SIGKILL, as failing hardware would.",
        target: Some(&INSTANCES),
        parameters: &[],
    },
];

/// The action of this id.
pub fn action(id: &str) -> Option<&'static ActionType> {
    ACTIONS.iter().find(|action| action.id == id)
}

/// The type of target of this name.
pub fn target_type(resource_type: &str) -> Option<&'static TargetType> {
    TARGETS.iter().copied().find(|target| target.resource_type == resource_type)
}

fn arn(cx: &Cx, action: &ActionType) -> String {
    Arn::new("fis", cx.scope(), format!("action/{}", action.id)).to_string()
}

fn targets(action: &ActionType) -> Option<std::collections::BTreeMap<String, ActionTarget>> {
    let target = action.target?;
    let shape = ActionTarget { resource_type: Some(target.resource_type.into()) };
    Some([(target.name.to_owned(), shape)].into())
}

pub async fn list_actions(cx: Cx, input: ListActionsInput) -> Result<ListActionsOutput> {
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let page = page(ACTIONS, |a| a.id.to_owned(), input.next_token.as_deref(), limit, "ValidationException")?;
    let actions = (page.items.into_iter())
        .map(|action| ActionSummary {
            id: Some(action.id.into()),
            arn: Some(arn(&cx, action)),
            description: Some(action.description.into()),
            targets: targets(action),
            tags: Some(Default::default()),
        })
        .collect();
    Ok(ListActionsOutput { actions: Some(actions), next_token: page.next })
}

pub async fn get_action(cx: Cx, input: GetActionInput) -> Result<GetActionOutput> {
    let action = action(&input.id).ok_or_else(|| {
        Error::client("ResourceNotFoundException", format!("The action '{}' does not exist.", input.id))
    })?;
    let parameters = (action.parameters.iter())
        .map(|(name, required, description)| {
            let parameter = ActionParameter { description: Some((*description).into()), required: Some(*required) };
            ((*name).to_owned(), parameter)
        })
        .collect();
    Ok(GetActionOutput {
        action: Some(Action {
            id: Some(action.id.into()),
            arn: Some(arn(&cx, action)),
            description: Some(action.description.into()),
            parameters: Some(parameters),
            targets: targets(action),
            tags: Some(Default::default()),
        }),
    })
}

pub async fn list_target_resource_types(
    _: Cx,
    _: ListTargetResourceTypesInput,
) -> Result<ListTargetResourceTypesOutput> {
    let summary = |target: &&TargetType| TargetResourceTypeSummary {
        resource_type: Some(target.resource_type.into()),
        description: Some(target.description.into()),
    };
    let types = TARGETS.iter().map(summary).collect();
    Ok(ListTargetResourceTypesOutput { target_resource_types: Some(types), next_token: None })
}

pub async fn get_target_resource_type(_: Cx, input: GetTargetResourceTypeInput) -> Result<GetTargetResourceTypeOutput> {
    let target = target_type(&input.resource_type).ok_or_else(|| {
        let message = format!("The target resource type '{}' does not exist.", input.resource_type);
        Error::client("ResourceNotFoundException", message)
    })?;
    Ok(GetTargetResourceTypeOutput {
        target_resource_type: Some(TargetResourceType {
            resource_type: Some(target.resource_type.into()),
            description: Some(target.description.into()),
            parameters: Some(Default::default()),
        }),
    })
}
