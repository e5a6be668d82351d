//! CloudFormation's own types: handles that do nothing.

use serde_json::json;
use standfast_core::Arn;

use super::ec2_network::ready;
use super::{BASE, ResourceType};

pub static TYPES: &[ResourceType] = &[ResourceType {
    name: "AWS::CloudFormation::WaitConditionHandle",
    attributes: &["Id"],
    create: |job| {
        Box::pin(async {
            let resource = format!("waithandle/{}/{}", job.stack_name, job.spec.suffix);
            Ok(Arn::new("cloudformation", job.cx.scope(), resource).to_string())
        })
    },
    read: |job| Box::pin(async { Ok(ready(json!({"Id": job.id()}))) }),
    ..BASE
}];
