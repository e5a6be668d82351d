//! The loop of a group: from what it has to react to, until the instance is there that it launches because of it.

use anyhow::{Context, Result, bail};

use super::Bench;
use super::client::{ask, call, element, elements, json_id};
use super::cloud::{Cloud, LOOK, ZONE, until};
use super::machine;
use super::table::{self, Row, Target};

const GROUP: &str = "bench";
const ALARM: &str = "bench";
const INSTANCES: usize = 2;
const TARGET_MS: f64 = 1_000.0;
/// Each is short, so there is time for more of them.
const PER_ROUND: usize = 3;

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let Some(cloud) = bench.cloud("healing")? else { return Ok(Vec::new()) };
    let group = Group::new(&cloud)?;
    let (mut breach, mut death) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds * PER_ROUND {
        breach.push(group.breach_ms()?);
        death.push(group.death_ms()?);
    }
    let row =
        |what, figures| table::row(what, "ms", Target::Below(TARGET_MS), vec![("standfast", table::median(figures))]);
    Ok(vec![
        row("an alarm's change to ALARM, until RunInstances has answered", breach),
        row("an instance's SIGKILL, until its replacement is launched", death),
    ])
}

/// A group that a policy and its alarm make grow by one.
struct Group<'a> {
    cloud: &'a Cloud,
}

impl<'a> Group<'a> {
    fn new(cloud: &'a Cloud) -> Result<Self> {
        let group = Self { cloud };
        let image = &cloud.image;
        let configuration = format!("&LaunchConfigurationName={GROUP}&ImageId={image}&InstanceType=t3.micro");
        group.autoscaling("CreateLaunchConfiguration", &configuration)?;
        let settings = format!(
            "&AutoScalingGroupName={GROUP}&LaunchConfigurationName={GROUP}&MinSize=0&MaxSize=10\
             &DesiredCapacity={INSTANCES}&AvailabilityZones.member.1={ZONE}&HealthCheckGracePeriod=0"
        );
        group.autoscaling("CreateAutoScalingGroup", &settings)?;
        let policy = format!(
            "&AutoScalingGroupName={GROUP}&PolicyName=grow&AdjustmentType=ChangeInCapacity&ScalingAdjustment=1&Cooldown=0"
        );
        let policy = element(&group.autoscaling("PutScalingPolicy", &policy)?, "PolicyARN")?;
        let alarm = format!(
            "&AlarmName={ALARM}&Namespace=Bench&MetricName=Load&Statistic=Average&Period=60&EvaluationPeriods=1\
             &Threshold=1&ComparisonOperator=GreaterThanThreshold&AlarmActions.member.1={}",
            policy.replace(':', "%3A").replace('/', "%2F")
        );
        group.cloudwatch("PutMetricAlarm", &alarm)?;
        group.settled(INSTANCES)?;
        Ok(group)
    }

    /// The group's instances; all of them, or those in service.
    fn instances(&self, in_service: bool) -> Result<Vec<String>> {
        let text = self.autoscaling("DescribeAutoScalingInstances", "")?;
        let shown = text.split("<member>").skip(1).filter(|one| !in_service || one.contains(">InService<"));
        Ok(shown.flat_map(|one| elements(one, "InstanceId")).collect())
    }

    fn settled(&self, count: usize) -> Result<Vec<String>> {
        until("instances in service", LOOK, || {
            let (all, serving) = (self.instances(false)?, self.instances(true)?);
            Ok((all.len() == count && serving.len() == count).then_some(serving))
        })
    }

    /// Waits for an instance that is not one of these.
    fn another(&self, than: &[String]) -> Result<()> {
        until("another instance", LOOK, || Ok(self.instances(false)?.iter().any(|id| !than.contains(id)).then_some(())))
    }

    fn breach_ms(&self) -> Result<f64> {
        let before = self.settled(INSTANCES)?;
        let begin = machine::now();
        self.state("ALARM")?;
        self.another(&before)?;
        let time = machine::ms_since(begin);
        self.state("OK")?;
        let back = format!("&AutoScalingGroupName={GROUP}&DesiredCapacity={INSTANCES}&HonorCooldown=false");
        self.autoscaling("SetDesiredCapacity", &back)?;
        self.settled(INSTANCES)?;
        Ok(time)
    }

    fn death_ms(&self) -> Result<f64> {
        let before = self.settled(INSTANCES)?;
        let victim = before.first().context("a group without instances")?;
        let template = format!(
            r#"{{"clientToken":"{victim}","description":"death","roleArn":"arn:aws:iam::000000000000:role/b",
            "stopConditions":[{{"source":"none"}}],"targets":{{"one":{{"resourceType":"aws:ec2:instance",
            "resourceArns":["arn:aws:ec2:eu-west-1:000000000000:instance/{victim}"],"selectionMode":"ALL"}}}},
            "actions":{{"kill":{{"actionId":"standfast:ec2:kill-instances","targets":{{"Instances":"one"}}}}}}}}"#
        );
        let template = json_id(&self.cloud.fis("POST", "/experimentTemplates", &template)?)?;
        let start = format!(r#"{{"clientToken":"{template}","experimentTemplateId":"{template}"}}"#);
        let begin = machine::now();
        self.cloud.fis("POST", "/experiments", &start)?;
        self.another(&before)?;
        let time = machine::ms_since(begin);
        let after = self.settled(INSTANCES)?;
        if after.contains(victim) {
            bail!("{victim} was killed and is in service");
        }
        self.cloud.fis("DELETE", &format!("/experimentTemplates/{template}"), "")?;
        Ok(time)
    }

    fn state(&self, state: &str) -> Result<()> {
        self.cloudwatch("SetAlarmState", &format!("&AlarmName={ALARM}&StateValue={state}&StateReason=bench")).map(drop)
    }

    fn autoscaling(&self, action: &str, parameters: &str) -> Result<String> {
        let request = call("autoscaling", "2011-01-01", action, parameters);
        ask(self.cloud.server.address, &request).with_context(|| action.to_owned())
    }

    fn cloudwatch(&self, action: &str, parameters: &str) -> Result<String> {
        let request = call("monitoring", "2010-08-01", action, parameters);
        ask(self.cloud.server.address, &request).with_context(|| action.to_owned())
    }
}
