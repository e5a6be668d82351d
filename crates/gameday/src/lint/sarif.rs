//! SARIF 2.1.0, which code hosts show beside the lines.

use serde_json::{Value as Json, json};

use super::{Finding, TEMPLATE};
use crate::advice::{RULES, Severity};

/// Findings as a SARIF log.
pub fn sarif(path: &str, findings: &[Finding]) -> Json {
    let of_template = json!({"id": TEMPLATE, "shortDescription": {"text": "The template cannot be deployed"}});
    let rules: Vec<Json> = std::iter::once(of_template)
        .chain(RULES.iter().map(|rule| {
            json!({
                "id": rule.id, "shortDescription": {"text": rule.title},
                "defaultConfiguration": {"level": level(rule.severity)},
            })
        }))
        .collect();
    let results: Vec<Json> = findings
        .iter()
        .map(|finding| {
            let text = format!("{} {}", finding.message, finding.fix);
            json!({
                "ruleId": finding.rule, "level": level(finding.severity), "message": {"text": text.trim_end()},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": path}, "region": {"startLine": finding.line},
                    },
                    "logicalLocations": finding.resource.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
                }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "standfast lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}
