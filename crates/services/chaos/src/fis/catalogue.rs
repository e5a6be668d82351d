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

pub const INSTANCE: &str = "aws:ec2:instance";
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
    Wait,
}

pub struct ActionType {
    pub id: &'static str,
    pub effect: Effect,
    pub description: &'static str,
    /// Whether it needs a target named `Instances`.
    pub instances: bool,
    /// Name, whether it is required, description.
    pub parameters: &'static [(&'static str, bool, &'static str)],
}

pub const DURATION: &str = "duration";
pub const ZONE: &str = "availabilityZoneIdentifier";
pub const OTHER_ZONE: &str = "otherAvailabilityZoneIdentifier";
pub const LOSS: &str = "lossPercent";
pub const DELAY: &str = "delayMilliseconds";
pub const START_AFTER: &str = "startInstancesAfterDuration";

pub static ACTIONS: &[ActionType] = &[
    ActionType {
        id: "aws:ec2:reboot-instances",
        effect: Effect::RebootInstances,
        description: "Reboot the target instances.",
        instances: true,
        parameters: &[],
    },
    ActionType {
        id: "aws:ec2:stop-instances",
        effect: Effect::StopInstances,
        description: "Stop the target instances.",
        instances: true,
        parameters: &[(START_AFTER, false, "How long until they are started again, as an ISO 8601 duration.")],
    },
    ActionType {
        id: "aws:ec2:terminate-instances",
        effect: Effect::TerminateInstances,
        description: "Terminate the target instances.",
        instances: true,
        parameters: &[],
    },
    ActionType {
        id: "aws:fis:wait",
        effect: Effect::Wait,
        description: "Wait for the given time.",
        instances: false,
        parameters: &[(DURATION, true, "How long, as an ISO 8601 duration.")],
    },
    ActionType {
        id: "standfast:az:power-interruption",
        effect: Effect::ZonePower,
        description: "Cut the power of an availability zone: its instances, load balancer nodes and links.",
        instances: false,
        parameters: &[
            (ZONE, true, "The zone's name."),
            (DURATION, false, "How long, as an ISO 8601 duration; until the experiment is stopped when not given."),
        ],
    },
    ActionType {
        id: "standfast:az:impair-link",
        effect: Effect::ImpairLink,
        description: "Lose or delay packets between two availability zones, in both directions.",
        instances: false,
        parameters: &[
            (ZONE, true, "A zone's name."),
            (OTHER_ZONE, true, "The other zone's name; the same name for traffic within the zone."),
            (LOSS, false, "How many packets of a hundred are lost; 100 is a partition."),
            (DELAY, false, "How many milliseconds later each packet arrives."),
            (DURATION, false, "How long, as an ISO 8601 duration; until the experiment is stopped when not given."),
        ],
    },
    ActionType {
        id: "standfast:ec2:fail-hardware",
        effect: Effect::FailHardware,
        description: "Fail the hardware below the target instances: their system status check fails until they are recovered.",
        instances: true,
        parameters: &[],
    },
    ActionType {
        id: "standfast:ec2:kill-instances",
        effect: Effect::KillInstances,
        description: "Kill the target instances with SIGKILL, as failing hardware would.",
        instances: true,
        parameters: &[],
    },
];

/// The action of this id.
pub fn action(id: &str) -> Option<&'static ActionType> {
    ACTIONS.iter().find(|action| action.id == id)
}

fn arn(cx: &Cx, action: &ActionType) -> String {
    Arn::new("fis", cx.scope(), format!("action/{}", action.id)).to_string()
}

fn targets(action: &ActionType) -> Option<std::collections::BTreeMap<String, ActionTarget>> {
    let target = ActionTarget { resource_type: Some(INSTANCE.into()) };
    action.instances.then(|| [("Instances".to_owned(), target)].into())
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

const INSTANCE_DESCRIPTION: &str = "An EC2 instance.";

pub async fn list_target_resource_types(
    _: Cx,
    _: ListTargetResourceTypesInput,
) -> Result<ListTargetResourceTypesOutput> {
    let instance = TargetResourceTypeSummary {
        resource_type: Some(INSTANCE.into()),
        description: Some(INSTANCE_DESCRIPTION.into()),
    };
    Ok(ListTargetResourceTypesOutput { target_resource_types: Some(vec![instance]), next_token: None })
}

pub async fn get_target_resource_type(_: Cx, input: GetTargetResourceTypeInput) -> Result<GetTargetResourceTypeOutput> {
    if input.resource_type != INSTANCE {
        let message = format!("The target resource type '{}' does not exist.", input.resource_type);
        return Err(Error::client("ResourceNotFoundException", message));
    }
    Ok(GetTargetResourceTypeOutput {
        target_resource_type: Some(TargetResourceType {
            resource_type: Some(INSTANCE.into()),
            description: Some(INSTANCE_DESCRIPTION.into()),
            parameters: Some(Default::default()),
        }),
    })
}
