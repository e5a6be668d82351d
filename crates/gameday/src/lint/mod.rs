//! Findings in a template: its own errors, and what the rules say of the estate that it makes.
//!
//! Whoever lints has the template deployed into a cloud and reads the estate from there; here it is only placed in the
//! file and written down. There is no second reading of templates: a file is looked at for lines and for nothing else.

mod sarif;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};
use standfast_core::Result;

use crate::World;
use crate::advice::{Case, Severity, advise};
use crate::estate::Estate;
use crate::site::{Site, deploy, failures};
use crate::world::pass;
use crate::yaml::{self, Node};

pub use sarif::sarif;

/// The rule under which a template's own errors are found.
pub const TEMPLATE: &str = "template";
/// The stack that a template is deployed as.
const STACK: &str = "lint";
/// How long instances get to be there when the stack is.
const SETTLE: Duration = Duration::from_secs(30);

/// Something found, and where in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub rule: String,
    #[serde(serialize_with = "by_name")]
    pub severity: Severity,
    /// From 1.
    pub line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

fn by_name<S: serde::Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.name())
}

/// Deploys a template into a cloud that is nobody's, and says what is to be said of it, the worst first.
pub async fn lint(
    world: &dyn World,
    text: &str,
    parameters: &BTreeMap<String, String>,
    objective: Duration,
) -> Result<Vec<Finding>> {
    let tree = match yaml::read(text) {
        Ok(tree) => tree,
        Err(mistake) => return Ok(vec![error(mistake.line, None, None, mistake.message)]),
    };
    let file = File { text, tree: &tree };
    if let Err(refused) = deploy(world, STACK, text, parameters).await {
        let failed = failures(world, STACK).await.unwrap_or_default();
        if failed.is_empty() {
            return Ok(vec![file.error(&refused.message, None)]);
        }
        let mut found: Vec<Finding> =
            failed.iter().map(|failed| file.error(&failed.reason, Some(&failed.logical))).collect();
        found.sort_by_key(|finding| finding.line);
        return Ok(found);
    }
    pass(world, SETTLE).await;
    let site = Site::read(world, STACK).await?;
    let estate = Estate::read(world, &site).await?;
    let advice = advise(&Case { estate: &estate, objective, stops: None });
    Ok(advice
        .into_iter()
        .map(|advice| Finding {
            rule: advice.rule.into(),
            severity: advice.severity,
            line: file.line_of(&advice.resource, advice.property).unwrap_or(1),
            property: Some(advice.property.to_owned()).filter(|name| !name.is_empty()),
            message: format!("{}. {}", advice.title, advice.why),
            resource: Some(advice.resource),
            fix: advice.fix,
        })
        .collect())
}

fn error(line: usize, resource: Option<String>, property: Option<String>, message: String) -> Finding {
    Finding { rule: TEMPLATE.into(), severity: Severity::Error, line, resource, property, message, fix: String::new() }
}

/// A template's text, and where things are in it.
struct File<'a> {
    text: &'a str,
    tree: &'a Node,
}

impl File<'_> {
    /// Places an error of the template: at the resource that it is of, or that it names, or at the words in brackets.
    fn error(&self, message: &str, resource: Option<&str>) -> Finding {
        let resource = resource.map(str::to_owned).or_else(|| self.named(message));
        let property = resource.as_ref().and_then(|resource| self.property_in(resource, message));
        let line = line_in(message)
            .or_else(|| self.line_of(resource.as_ref()?, property.as_deref().unwrap_or_default()))
            .or_else(|| self.line_of_words(message))
            .unwrap_or(1);
        error(line, resource, property, unwrapped(message).to_owned())
    }

    /// The line of a resource, or of its property where it is written down.
    fn line_of(&self, resource: &str, property: &str) -> Option<usize> {
        let (line, node) = self.tree.get("Resources")?.member(resource)?;
        let written = node.get("Properties").and_then(|properties| properties.member(property));
        Some(written.map_or(line, |(line, _)| line))
    }

    fn resources(&self) -> Vec<&str> {
        names(self.tree.get("Resources"))
    }

    /// The resource that a message names.
    fn named(&self, message: &str) -> Option<String> {
        self.resources().into_iter().find(|name| has_word(message, name)).map(str::to_owned)
    }

    fn property_in(&self, resource: &str, message: &str) -> Option<String> {
        let node = self.tree.get("Resources")?.get(resource)?.get("Properties");
        let properties = names(node);
        // The longest: HealthCheckTimeoutSeconds, not HealthCheck. Services say names their own way: by their words.
        let fits = properties.into_iter().filter(|name| has_word(message, name) || has_words_of(message, name));
        let named = fits.max_by_key(|name| name.len()).map(str::to_owned);
        // A message may quote what is wrong and not say where it stands.
        let quoted: Vec<&str> = message.split('\'').skip(1).step_by(2).filter(|word| !word.is_empty()).collect();
        let has_it =
            |name: &&str| node.and_then(|all| all.get(name)?.text()).is_some_and(|text| quoted.contains(&text));
        named.or_else(|| names(node).into_iter().find(has_it).map(str::to_owned))
    }

    /// The first line with the words that a message has in brackets or quotes.
    fn line_of_words(&self, message: &str) -> Option<usize> {
        let words = message.split(['[', ']', '\'', '"', ',']).skip(1).map(str::trim).filter(|word| word.len() > 2);
        words.filter_map(|word| self.text.lines().position(|line| has_word(line, word))).map(|at| at + 1).next()
    }
}

fn names(map: Option<&Node>) -> Vec<&str> {
    match map.map(|node| &node.value) {
        Some(yaml::Value::Map(members)) => members.iter().map(|(name, ..)| name.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Whether a word stands in a text by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// Whether the words of `HealthCheckTimeout` stand in a text: `health check timeout`.
fn has_words_of(text: &str, name: &str) -> bool {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    let words = words.trim_end_matches(" seconds").trim_end_matches(" count");
    words.contains(' ') && text.to_ascii_lowercase().contains(words)
}

/// What a service said, without what CloudFormation's handler puts around it: the service's name and ids of requests.
fn unwrapped(message: &str) -> &str {
    let inner = message.strip_prefix("Resource handler returned message: \"").unwrap_or(message);
    inner.rsplit_once(" (Service: ").map_or(message, |(said, _)| said)
}

/// The line that a message of the reader names: `(line 3, column 5)`.
fn line_in(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("(line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A line for each finding, as compilers write them.
pub fn text(path: &str, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let resource = finding.resource.as_ref().map_or(String::new(), |name| format!(" {name}"));
        let property = finding.property.as_ref().map_or(String::new(), |name| format!(".{name}"));
        let about = if resource.is_empty() { String::new() } else { format!("{resource}{property}:") };
        out += &format!(
            "{path}:{}: {}[{}]{about} {}",
            finding.line,
            finding.severity.name(),
            finding.rule,
            finding.message
        );
        out += &if finding.fix.is_empty() { "\n".to_owned() } else { format!("\n    {}\n", finding.fix) };
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counts: Vec<String> = (Severity::ALL.iter())
        .filter(|severity| count(**severity) > 0)
        .map(|severity| crate::report::words::plural(count(*severity), severity.name()))
        .collect();
    out + &if counts.is_empty() {
        format!("{path}: nothing found\n")
    } else {
        format!("{path}: {}\n", counts.join(", "))
    }
}

/// All findings as one JSON object.
pub fn json(path: &str, findings: &[Finding]) -> Json {
    json!({"template": path, "findings": findings})
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "Resources:
  Net:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: !Ref Range
  TargetGroup:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      HealthCheckIntervalSeconds: 5
      HealthCheckTimeoutSeconds: 7
  Big:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: 10.0.0.0/4
";

    #[test]
    fn errors_are_placed_in_the_file() {
        let tree = yaml::read(TEMPLATE).expect("valid");
        let file = File { text: TEMPLATE, tree: &tree };
        for (message, resource, line, property) in [
            ("Template format error: YAML not well-formed. (line 4, column 2)", None, 4, None),
            ("Unresolved resource dependencies [Range] in the Resources block of the template", None, 5, None),
            (
                "Health check timeout '7' must be smaller than the interval",
                Some("TargetGroup"),
                10,
                Some("HealthCheckTimeoutSeconds"),
            ),
            ("Something is wrong with Net", None, 2, None),
            ("The range '10.0.0.0/4' is invalid", Some("Big"), 14, Some("CidrBlock")),
            ("Nothing is known", None, 1, None),
        ] {
            let finding = file.error(message, resource);
            assert_eq!((finding.line, finding.property.as_deref()), (line, property), "{message}");
        }
    }

    #[test]
    fn a_service_is_quoted_without_what_is_around_it() {
        let wrapped = "Resource handler returned message: \"Bad (a) name (Service: Sns, Status Code: 400, Request ID: 1)\" \
                       (RequestToken: 2, HandlerErrorCode: InvalidRequest)";
        assert_eq!(unwrapped(wrapped), "Bad (a) name");
        assert_eq!(unwrapped("Encountered unsupported property Shade"), "Encountered unsupported property Shade");
    }

    #[test]
    fn findings_are_written_like_a_compilers() {
        let finding =
            Finding { fix: "Mend it.".into(), ..error(3, Some("A".into()), Some("B".into()), "is bad".into()) };
        let said = text("t.yaml", &[finding.clone(), Finding { severity: Severity::Warning, ..finding }]);
        assert!(said.starts_with("t.yaml:3: error[template] A.B: is bad\n    Mend it.\n"), "{said}");
        assert!(said.ends_with("t.yaml: 1 error, 1 warning\n"), "{said}");
        assert_eq!(text("t.yaml", &[]), "t.yaml: nothing found\n");
    }
}
