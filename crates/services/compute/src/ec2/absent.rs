//! Listings of resources that this project does not have yet. There are none, so a listing is empty and an id is not
//! found; clients look here when they make sure that nothing is in the way of a deletion.

use standfast_api::ec2 as api;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

/// Refuses ids: none of them exists.
fn none_named(ids: Option<&Vec<String>>, code: &'static str, noun: &str) -> Result<()> {
    match ids.and_then(|ids| ids.first()) {
        None => Ok(()),
        Some(id) => Err(Error::client(code, format!("The {noun} '{id}' does not exist"))),
    }
}

macro_rules! absent {
    ($($name:ident $input:ident $output:ident $member:ident $([$ids:ident $code:literal $noun:literal])*;)*) => {$(
        #[allow(unused_variables, clippy::needless_update)] // Some have no ids, some have no token.
        pub async fn $name(_: Cx, input: api::$input) -> Result<api::$output> {
            $(none_named(input.$ids.as_ref(), $code, $noun)?;)*
            Ok(api::$output { $member: Some(Vec::new()), ..Default::default() })
        }
    )*};
}

absent! {
    flow_logs DescribeFlowLogsInput DescribeFlowLogsOutput flow_logs
        [flow_log_ids "InvalidFlowLogId.NotFound" "flow log ID"];
    instance_connect_endpoints DescribeInstanceConnectEndpointsInput DescribeInstanceConnectEndpointsOutput
        instance_connect_endpoints;
    stale_security_groups DescribeStaleSecurityGroupsInput DescribeStaleSecurityGroupsOutput stale_security_group_set;
    instance_event_windows DescribeInstanceEventWindowsInput DescribeInstanceEventWindowsOutput instance_event_windows;
    reserved_instances DescribeReservedInstancesInput DescribeReservedInstancesOutput reserved_instances;
    security_group_references DescribeSecurityGroupReferencesInput DescribeSecurityGroupReferencesOutput
        security_group_reference_set;
}
