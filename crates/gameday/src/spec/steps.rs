//! Steps: what somebody does to the stack meanwhile, which is no fault and is not undone.

use std::time::Duration;

use serde_json::Value as Json;

use super::fields::{Fields, items, text};
use crate::yaml::{Mistake, Node, Value};

/// A call of the API in its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub name: String,
    /// After the beginning of the watch.
    pub at: Duration,
    pub service: String,
    pub operation: String,
    /// With `${Output}` for outputs of the stack, and `${Resource}` for its resources.
    pub input: Json,
    pub line: usize,
}

/// Reads the list.
pub fn steps(node: &Node) -> Result<Vec<Step>, Mistake> {
    items(node, "steps")?.into_iter().map(|(path, node)| step(node, &path)).collect()
}

fn step(node: &Node, path: &str) -> Result<Step, Mistake> {
    let mut fields = Fields::of(node, path)?;
    let line = fields.line();
    let call = text(fields.need("call")?, &fields.path("call"))?;
    let Some((service, operation)) = call.split_once(':') else {
        let message = format!("{path}.call: '{call}' is not of the form SERVICE:OPERATION, such as ec2:StartInstances");
        return Err(Mistake { line, message });
    };
    let input = match fields.take("input") {
        None => Json::Object(serde_json::Map::new()),
        Some(input) if matches!(input.value, Value::Map(_)) => input.to_json(),
        Some(input) => return Err(Mistake { line: input.line, message: format!("{path}.input should be a map") }),
    };
    let step = Step {
        name: fields.text("name")?.unwrap_or_else(|| call.clone()),
        at: fields.duration("at")?.unwrap_or_default(),
        service: service.into(),
        operation: operation.into(),
        input,
        line,
    };
    fields.end()?;
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn steps_are_calls_with_their_input() {
        let text = "- {at: 3s, call: ec2:StartInstances, input: {InstanceIds: ['${Server}'], DryRun: false}}";
        let all = steps(&yaml::read(text).expect("YAML")).expect("valid");
        assert_eq!((all[0].service.as_str(), all[0].operation.as_str()), ("ec2", "StartInstances"));
        assert_eq!(all[0].input, serde_json::json!({"InstanceIds": ["${Server}"], "DryRun": false}));
        assert_eq!((all[0].at, all[0].name.as_str()), (Duration::from_secs(3), "ec2:StartInstances"));
    }

    #[test]
    fn mistakes_name_the_member() {
        for (text, said) in [
            ("- {call: StartInstances}", "steps[0].call: 'StartInstances' is not of the form"),
            ("- {call: 'ec2:StartInstances', input: [1]}", "steps[0].input should be a map"),
            ("- {call: 'ec2:StartInstances', for: 3s}", "steps[0].for is not known here"),
            ("- {at: 3s}", "steps[0].call is missing"),
        ] {
            let mistake = steps(&yaml::read(text).expect("YAML")).expect_err(said);
            assert!(mistake.message.contains(said), "{mistake}");
        }
    }
}
