//! What a game day's file says. `docs/game-day.md` describes the format.
//!
//! Invariant: a parsed game day is well-formed; whether it can be run in a cloud is `plan`'s question.

mod fields;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use self::fields::{Fields, items, text};
use crate::probe::Kind;
use crate::yaml::{self, Mistake, Node, Value};

pub use steps::Step;

/// Where templates declare probes: in their Metadata.
pub const METADATA: &str = "Standfast::Probes";
/// Requests a second, unless the file says otherwise, and at most.
const RATE: u64 = 50;
const RATE_MAX: u64 = 20_000;
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long the steady state is looked at, and what it has to be, unless the file says otherwise.
const STEADY: Duration = Duration::from_secs(10);
const STEADY_RATE: f64 = 0.999;
/// How long the site is watched after the last fault's end, unless the file says otherwise.
const WATCH_AFTER: Duration = Duration::from_secs(30);
/// How long the site may take to settle, before and after.
const SETTLE: Duration = Duration::from_secs(300);

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct GameDay {
    pub name: String,
    pub description: String,
    pub stack: Stack,
    pub probes: Vec<Probe>,
    pub steady: Steady,
    pub faults: Vec<Fault>,
    pub steps: Vec<Step>,
    pub hypothesis: Hypothesis,
    /// From the first moment at which something may break until all is healed.
    pub watch: Duration,
    pub settle: Duration,
    /// Alarms, by logical id or name, that stop every fault.
    pub stop_alarms: Vec<String>,
}

/// The stack that the game is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// Relative to the file; a stack that is there already needs none.
    pub template: Option<String>,
    pub name: Option<String>,
    pub parameters: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub name: String,
    /// With `${Output}` for outputs of the stack.
    pub url: String,
    pub rate: u32,
    pub timeout: Duration,
}

/// What is so when nothing is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Steady {
    pub time: Duration,
    pub success_rate: f64,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub name: String,
    /// After the beginning of the watch.
    pub at: Duration,
    pub action: String,
    pub parameters: BTreeMap<String, String>,
    pub targets: Option<Targets>,
    pub lasts: Option<Duration>,
    pub line: usize,
}

/// What a fault hits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// Instances of this group, by logical id or name.
    pub group: Option<String>,
    /// Resources of the stack, by logical id.
    pub resources: Vec<String>,
    pub arns: Vec<String>,
    /// Instances with all these tags.
    pub tags: Vec<(String, String)>,
    /// Only those in this zone.
    pub zone: Option<String>,
    pub pick: Pick,
}

/// How many of what fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    #[default]
    All,
    Count(usize),
    Percent(usize),
}

standfast_core::names! {
    /// Where something shows.
    Layer {
        Users "users", LoadBalancer "load_balancer", Group "group", Instance "instance", Alarm "alarm", Fault "fault",
        Stack "stack",
    }
}

standfast_core::names! {
    /// What is timed, from a fault's beginning: the first sign of it; no more requests to what it hit; the first
    /// replacement in service; everything as before.
    Measure { Detect "detect", Eject "eject", Replace "replace", Recover "recover" }
}

impl Measure {
    /// In which layers it can be taken.
    pub fn layers(self) -> &'static [Layer] {
        match self {
            Self::Detect => &[Layer::Users, Layer::LoadBalancer, Layer::Group, Layer::Alarm],
            Self::Eject => &[Layer::LoadBalancer],
            Self::Replace => &[Layer::Group],
            Self::Recover => &[Layer::Users, Layer::LoadBalancer, Layer::Group, Layer::Instance],
        }
    }
}

/// What is expected to hold while things are broken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hypothesis {
    pub availability: Option<f64>,
    pub longest_outage: Option<Duration>,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
    pub times: Vec<(Measure, Layer, Duration)>,
    /// That the steady state holds again in the end.
    pub steady_again: bool,
}

impl GameDay {
    /// Reads a file's text.
    pub fn read(text: &str) -> Result<Self, Mistake> {
        let root = yaml::read(text)?;
        let mut fields = Fields::of(&root, "")?;
        let name = fields::text(fields.need("name")?, "name")?;
        let steps = fields.take("steps").map(steps::steps).transpose()?.unwrap_or_default();
        let faults = faults(&mut fields, &steps)?;
        let ends = faults.iter().map(|fault| fault.at + fault.lasts.unwrap_or_default());
        let end = ends.chain(steps.iter().map(|step| step.at)).max().unwrap_or_default();
        let day = Self {
            name,
            description: fields.text("description")?.unwrap_or_default(),
            stack: stack(fields.need("stack")?)?,
            probes: fields.take("probes").map(probes).transpose()?.unwrap_or_default(),
            steady: steady(fields.take("steady_state"))?,
            faults,
            steps,
            hypothesis: hypothesis(fields.need("hypothesis")?)?,
            watch: fields.duration("watch")?.unwrap_or(end + WATCH_AFTER),
            settle: fields.duration("settle")?.unwrap_or(SETTLE),
            stop_alarms: fields.list("stop_alarms")?,
        };
        let line = fields.line();
        fields.end()?;
        let faults = day.faults.iter().map(|fault| (fault.at, "fault", &fault.name));
        let mut all = faults.chain(day.steps.iter().map(|step| (step.at, "step", &step.name)));
        if let Some((_, what, name)) = all.find(|(at, ..)| *at >= day.watch) {
            let message = format!("watch ends before the {what} '{name}' begins");
            return Err(Mistake { line, message });
        }
        Ok(day)
    }
}

fn stack(node: &Node) -> Result<Stack, Mistake> {
    let mut fields = Fields::of(node, "stack")?;
    let stack = Stack {
        template: fields.text("template")?,
        name: fields.text("name")?,
        parameters: fields.texts("parameters")?.into_iter().collect(),
    };
    if stack.template.is_none() && stack.name.is_none() {
        let message = "stack names neither a template nor a stack that is there".into();
        return Err(Mistake { line: fields.line(), message });
    }
    fields.end()?;
    Ok(stack)
}

fn probes(node: &Node) -> Result<Vec<Probe>, Mistake> {
    items(node, "probes")?.into_iter().map(|(path, node)| probe(node, &path)).collect()
}

fn probe(node: &Node, path: &str) -> Result<Probe, Mistake> {
    let mut fields = Fields::of(node, path)?;
    let name = fields::text(fields.need("name")?, &fields.path("name"))?;
    let mut url = fields::text(fields.need("url")?, &fields.path("url"))?;
    if let Some(kind) = fields.text("kind")? {
        let wrong = |message: String| Mistake { line: fields.line(), message };
        let kind = Kind::named(&kind).ok_or_else(|| wrong(format!("{path}.kind: '{kind}' is not http, tcp or dns")))?;
        if !url.contains("://") && !url.starts_with("${") {
            url = format!("{}://{url}", kind.name());
        }
        if Kind::of(&url).is_some_and(|of| of != kind) {
            return Err(wrong(format!("{path}: '{url}' is not {}", kind.name())));
        }
    }
    let rate = fields.number("rate", 1..=RATE_MAX)?.unwrap_or(RATE) as u32;
    let timeout = fields.duration("timeout")?.unwrap_or(TIMEOUT);
    fields.end()?;
    Ok(Probe { name, url, rate, timeout })
}

/// Probes that a template's Metadata declares: a list as a game day's, or a map of it by name.
pub fn probes_of_metadata(metadata: &Json) -> Result<Vec<Probe>, Mistake> {
    match metadata.get(METADATA) {
        None => Ok(Vec::new()),
        // JSON is YAML: one reader for both places.
        Some(declared) => probes(&yaml::read(&declared.to_string())?),
    }
}

fn steady(node: Option<&Node>) -> Result<Steady, Mistake> {
    let mut steady = Steady { time: STEADY, success_rate: STEADY_RATE, p50: None, p99: None };
    let Some(node) = node else { return Ok(steady) };
    let mut fields = Fields::of(node, "steady_state")?;
    steady.time = fields.duration("for")?.unwrap_or(STEADY).max(Duration::from_secs(1));
    steady.success_rate = fields.percent("success_rate")?.unwrap_or(STEADY_RATE);
    (steady.p50, steady.p99) = (fields.duration("p50")?, fields.duration("p99")?);
    fields.end()?;
    Ok(steady)
}

fn faults(fields: &mut Fields, steps: &[Step]) -> Result<Vec<Fault>, Mistake> {
    // What somebody does may be all that is watched.
    let node = match fields.take("faults") {
        None if !steps.is_empty() => return Ok(Vec::new()),
        Some(node) => node,
        None => fields.need("faults")?,
    };
    let faults =
        items(node, "faults")?.into_iter().map(|(path, node)| fault(node, &path)).collect::<Result<Vec<_>, _>>()?;
    if faults.is_empty() {
        return Err(Mistake { line: node.line, message: "faults is empty: nothing would break".into() });
    }
    Ok(faults)
}

fn fault(node: &Node, path: &str) -> Result<Fault, Mistake> {
    let mut fields = Fields::of(node, path)?;
    let action = text(fields.need("action")?, &fields.path("action"))?;
    let fault = Fault {
        name: fields.text("name")?.unwrap_or_else(|| action.clone()),
        at: fields.duration("at")?.unwrap_or_default(),
        action,
        parameters: fields.texts("parameters")?.into_iter().collect(),
        targets: fields.take("targets").map(|node| targets(node, &format!("{path}.targets"))).transpose()?,
        lasts: fields.duration("for")?,
        line: fields.line(),
    };
    fields.end()?;
    Ok(fault)
}

fn targets(node: &Node, path: &str) -> Result<Targets, Mistake> {
    let mut fields = Fields::of(node, path)?;
    let mut targets = Targets {
        group: fields.text("group")?,
        resources: fields.list("resources")?,
        arns: fields.list("arns")?,
        tags: fields.texts("tags")?,
        zone: fields.text("zone")?,
        pick: Pick::All,
    };
    let (count, percent) = (fields.number("count", 1..=10_000)?, fields.number("percent", 1..=100)?);
    let line = fields.line();
    fields.end()?;
    targets.pick = match (count, percent) {
        (None, None) => Pick::All,
        (Some(count), None) => Pick::Count(count as usize),
        (None, Some(percent)) => Pick::Percent(percent as usize),
        (Some(_), Some(_)) => return Err(Mistake { line, message: format!("{path} has both count and percent") }),
    };
    let ways =
        [targets.group.is_some(), !targets.resources.is_empty(), !targets.arns.is_empty(), !targets.tags.is_empty()];
    match ways.iter().filter(|way| **way).count() {
        1 => Ok(targets),
        _ => Err(Mistake { line, message: format!("{path} needs one of group, resources, arns and tags") }),
    }
}

fn hypothesis(node: &Node) -> Result<Hypothesis, Mistake> {
    let mut fields = Fields::of(node, "hypothesis")?;
    let mut hypothesis = Hypothesis {
        availability: fields.percent("availability")?,
        longest_outage: fields.duration("longest_outage")?,
        p50: fields.duration("p50")?,
        p99: fields.duration("p99")?,
        times: Vec::new(),
        steady_again: true,
    };
    if let Some(node) = fields.take("steady_again") {
        hypothesis.steady_again = match node.text() {
            Some("true") => true,
            Some("false") => false,
            _ => {
                return Err(Mistake {
                    line: node.line,
                    message: "hypothesis.steady_again should be true or false".into(),
                });
            }
        };
    }
    for measure in Measure::ALL {
        if let Some(node) = fields.take(measure.name()) {
            hypothesis.times.extend(times(node, *measure)?);
        }
    }
    let line = fields.line();
    fields.end()?;
    let says_nothing = Hypothesis { steady_again: true, ..Hypothesis::default() };
    if hypothesis == says_nothing || hypothesis == Hypothesis::default() {
        return Err(Mistake { line, message: "hypothesis expects nothing".into() });
    }
    Ok(hypothesis)
}

/// A limit for each layer by name; where there is but one layer, the limit alone.
fn times(node: &Node, measure: Measure) -> Result<Vec<(Measure, Layer, Duration)>, Mistake> {
    let path = format!("hypothesis.{}", measure.name());
    let layers = measure.layers();
    if let (Value::Scalar(..), [layer]) = (&node.value, layers) {
        return Ok(vec![(measure, *layer, fields::duration(node, &path)?)]);
    }
    let mut fields = Fields::of(node, &path)?;
    let mut out = Vec::new();
    for layer in layers {
        if let Some(limit) = fields.duration(layer.name())? {
            out.push((measure, *layer, limit));
        }
    }
    fields.end()?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "
name: A zone goes dark
stack: {template: template.yaml, parameters: {DesiredCapacity: 6}}
probes:
  - {name: site, url: '${URL}', rate: 100}
faults:
  - {at: 5s, action: standfast:az:power-interruption, parameters: {availabilityZoneIdentifier: any}, for: 40s}
  - {at: 10s, name: one dies, action: standfast:ec2:kill-instances, targets: {group: Group, count: 1}}
hypothesis: {availability: 99.5 %, longest_outage: 1s, eject: 15s, recover: {users: 2s, group: 60s}}
";

    #[test]
    fn a_file_is_read_with_what_it_leaves_out() {
        let day = GameDay::read(DAY).expect("valid");
        assert_eq!(day.stack.parameters["DesiredCapacity"], "6");
        assert_eq!((day.probes[0].rate, day.probes[0].timeout), (100, TIMEOUT));
        assert_eq!(day.watch, Duration::from_secs(45) + WATCH_AFTER);
        assert_eq!(day.faults[1].targets.as_ref().map(|targets| targets.pick), Some(Pick::Count(1)));
        assert_eq!(day.hypothesis.availability, Some(0.995));
        assert_eq!(day.hypothesis.times.len(), 3);
    }

    #[test]
    fn mistakes_name_the_member_and_the_line() {
        for (from, to, line, said) in [
            ("for: 40s", "for: long", 7, "faults[0].for: 'long' is not a duration"),
            ("rate: 100", "rate: 0", 5, "probes[0].rate: '0' is not a number from 1 to"),
            ("count: 1", "count: 1, percent: 5", 8, "both count and percent"),
            ("group: Group, count", "count", 8, "needs one of group, resources, arns and tags"),
            ("99.5 %", "101", 9, "hypothesis.availability: '101' is not a percentage"),
            ("users: 2s", "stack: 2s", 9, "hypothesis.recover.stack is not known here"),
            ("name: site, ", "", 5, "probes[0].name is missing"),
            ("hypothesis:", "wish:", 2, "hypothesis is missing"),
            ("at: 10s", "at: 10m", 2, "watch ends before"),
        ] {
            let text = DAY.replace(from, to).replace("hypothesis: {", "watch: 75s\nhypothesis: {");
            let mistake = GameDay::read(&text).expect_err(to);
            assert!(mistake.message.contains(said), "{to}: {mistake}");
            assert!(mistake.line.abs_diff(line) <= 1, "{to}: {mistake}");
        }
    }

    #[test]
    fn templates_declare_probes_in_their_metadata() {
        let metadata = serde_json::json!({METADATA: [{"name": "site", "url": "${URL}", "kind": "http"}]});
        assert_eq!(probes_of_metadata(&metadata).expect("valid")[0].url, "${URL}");
        assert_eq!(probes_of_metadata(&serde_json::json!({})).expect("none"), []);
    }
}
