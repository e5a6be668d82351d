//! Commands of Systems Manager, sent once and cancelled when their action ends.
//!
//! Invariant: a command is found again by its comment, which names the experiment and the action; so none is sent twice.

use std::collections::BTreeMap;

use standfast_api::ssm;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::actions::id_of;
use super::parse;

/// So many instances a command takes.
const INSTANCES_AT_ONCE: usize = 50;

/// The ids of the commands with this comment.
async fn sent(cx: &Cx, comment: &str) -> Result<Vec<ssm::Command>> {
    let (mut found, mut next_token) = (Vec::new(), None);
    loop {
        let input = ssm::ListCommandsInput { next_token, ..Default::default() };
        let answer = cx.call(ssm::ListCommands, input).await?;
        found.extend(answer.commands.unwrap_or_default().into_iter().filter(|c| c.comment.as_deref() == Some(comment)));
        next_token = answer.next_token;
        if next_token.is_none() {
            return Ok(found);
        }
    }
}

/// Sends a document to instances.
pub async fn send(cx: &Cx, comment: &str, document: &str, parameters: Option<&String>, arns: &[String]) -> Result<()> {
    let known: Vec<String> =
        sent(cx, comment).await?.into_iter().flat_map(|c| c.instance_ids.unwrap_or_default()).collect();
    let parameters = parameters.map(|text| document_parameters(text)).transpose()?;
    let ids: Vec<String> = arns.iter().map(|arn| id_of(arn).to_owned()).filter(|id| !known.contains(id)).collect();
    for some in ids.chunks(INSTANCES_AT_ONCE) {
        let input = ssm::SendCommandInput {
            document_name: document.to_owned(),
            comment: Some(comment.to_owned()),
            instance_ids: Some(some.to_vec()),
            parameters: parameters.clone(),
            ..Default::default()
        };
        cx.call(ssm::SendCommand, input).await?;
    }
    Ok(())
}

/// The command that has failed, if one has.
pub async fn failed(cx: &Cx, comment: &str) -> Result<Option<String>> {
    let failed = |command: &ssm::Command| command.status.as_deref() == Some("Failed");
    Ok(sent(cx, comment).await?.into_iter().find(failed).and_then(|command| command.command_id))
}

/// Ends what the commands still do. When the action was not stopped, a command that has failed is its failure.
pub async fn end(cx: &Cx, comment: &str, stopped: bool) -> Result<()> {
    let mut failed = None;
    for command in sent(cx, comment).await? {
        let (id, status) = (command.command_id.unwrap_or_default(), command.status.unwrap_or_default());
        match status.as_str() {
            "Pending" | "InProgress" => {
                let input = ssm::CancelCommandInput { command_id: id, instance_ids: None };
                cx.call(ssm::CancelCommand, input).await?;
            }
            "Failed" => failed = Some(id),
            _ => (),
        }
    }
    match failed {
        Some(id) if !stopped => Err(Error::client("ValidationException", format!("The command {id} has failed."))),
        _ => Ok(()),
    }
}

/// The parameters of a document, from JSON: every value is a text, a number, or a list of them.
pub fn document_parameters(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    use serde_json::Value;
    let word = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    };
    let bad = || parse::invalid(format!("documentParameters is not a JSON object of texts: '{text}'."));
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(bad()) };
    let each = |(name, value): (String, Value)| {
        let words = match &value {
            Value::Array(all) => all.iter().map(word).collect::<Option<Vec<_>>>(),
            one => word(one).map(|word| vec![word]),
        };
        Ok((name, words.ok_or_else(bad)?))
    };
    object.into_iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_parameters_are_texts_or_lists_of_them() {
        let parsed =
            document_parameters(r#"{"DurationSeconds":"60","CPU":0,"commands":["a","b"]}"#).expect("an object");
        assert_eq!(parsed["DurationSeconds"], ["60"]);
        assert_eq!(parsed["CPU"], ["0"]);
        assert_eq!(parsed["commands"], ["a", "b"]);
        for bad in ["", "[]", "60", r#"{"a":{}}"#, r#"{"a":[[]]}"#] {
            assert!(document_parameters(bad).is_err(), "{bad}");
        }
    }
}
