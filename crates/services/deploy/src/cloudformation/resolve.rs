//! What templates ask of the world outside of them: zones, exports, parameters of the parameter store.
//!
//! Invariant: evaluation is synchronous and the world is not, so an evaluation that lacks something is run again when it
//! is there; what was asked once is not asked again within one [`World`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use standfast_api::ssm;
use standfast_core::place::Region;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::errors::invalid;
use super::model::Stack;
use super::template::eval::{External, Resolver};

/// How often an evaluation may find that it lacks something more.
const ROUNDS_MAX: usize = 16;
/// The code of what is known only when an update runs.
const UNKNOWN: &str = "KnownAfterApply";

/// What is known of the resources of a stack, and of the world.
#[derive(Default)]
pub struct World {
    resources: BTreeMap<String, Known>,
    facts: BTreeMap<External, Value>,
}

/// What templates may ask of a resource. What is absent is not known yet.
#[derive(Clone, Default)]
pub struct Known {
    pub physical_id: Option<String>,
    pub attributes: Map<String, Value>,
    /// Attributes that may be others when an update has run.
    pub volatile: &'static [&'static str],
}

struct Asked<'a> {
    world: &'a World,
    missing: RefCell<BTreeSet<External>>,
}

impl World {
    pub fn of(resources: impl IntoIterator<Item = (String, Known)>) -> Self {
        Self { resources: resources.into_iter().collect(), facts: BTreeMap::new() }
    }

    pub fn set(&mut self, logical_id: &str, known: Known) {
        self.resources.insert(logical_id.to_owned(), known);
    }

    /// Evaluates, and fetches what is missing until nothing is.
    pub async fn evaluate<T: Send>(
        &mut self,
        cx: &Cx,
        evaluate: impl Fn(&dyn Resolver) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        for _ in 0..ROUNDS_MAX {
            let missing = {
                let asked = Asked { world: self, missing: RefCell::default() };
                let result = evaluate(&asked);
                let missing = asked.missing.into_inner();
                if missing.is_empty() {
                    return result;
                }
                missing
            };
            for wanted in missing {
                let value = fetch(cx, &wanted).await?;
                self.facts.insert(wanted, value);
            }
        }
        Err(invalid("Template error: the template's references lead to ever more references."))
    }
}

/// Whether something could not be evaluated before the update runs.
pub fn is_unknown(error: &Error) -> bool {
    error.is(UNKNOWN)
}

fn unknown() -> Error {
    Error::client(UNKNOWN, "known after apply")
}

impl Resolver for Asked<'_> {
    fn reference(&self, resource: &str) -> Result<Value> {
        let known = self.world.resources.get(resource).and_then(|known| known.physical_id.as_ref());
        known.map(|id| Value::from(id.as_str())).ok_or_else(unknown)
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value> {
        let known = self.world.resources.get(resource).filter(|known| known.physical_id.is_some());
        let known = known.ok_or_else(unknown)?;
        if known.volatile.contains(&attribute) {
            return Err(unknown());
        }
        let value = known.attributes.get(attribute).filter(|value| !value.is_null());
        value.cloned().ok_or_else(|| invalid(format!("Attribute '{attribute}' does not exist")))
    }

    fn external(&self, wanted: &External) -> Result<Value> {
        if let Some(fact) = self.world.facts.get(wanted) {
            return Ok(fact.clone());
        }
        self.missing.borrow_mut().insert(wanted.clone());
        Err(unknown())
    }
}

async fn fetch(cx: &Cx, wanted: &External) -> Result<Value> {
    match wanted {
        External::Zones { region } => {
            let name = if region.is_empty() { cx.region() } else { region };
            let region = Region::named(name)
                .ok_or_else(|| invalid(format!("Template error: Fn::GetAZs: '{name}' is not a region")))?;
            Ok(region.zones().map(|zone| Value::from(zone.name)).collect())
        }
        External::Import { name } => imported(cx, name),
        External::Ssm { name, version } => parameter(cx, name, *version, false).await.map(Value::from),
        External::SsmSecure { name, version } => parameter(cx, name, *version, true).await.map(Value::from),
        External::Secret { id, .. } => {
            Err(invalid(format!("Standfast has no Secrets Manager: the secret '{id}' cannot be resolved.")))
        }
    }
}

fn imported(cx: &Cx, name: &str) -> Result<Value> {
    let found = cx.view(|view| view.by_unique::<Stack>(cx.scope(), "export", name));
    let output = found.and_then(|(_, stack)| {
        let mut outputs = stack.outputs.iter();
        outputs.find(|output| output.export_name.as_deref() == Some(name)).map(|output| output.value.clone())
    });
    output.map(|value| json!(value)).ok_or_else(|| invalid(format!("No export named {name} found.")))
}

/// The text of a parameter of the parameter store.
pub async fn parameter(cx: &Cx, name: &str, version: Option<u64>, secure: bool) -> Result<String> {
    let asked = version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}"));
    let input = ssm::GetParameterRequest { name: asked, with_decryption: Some(secure) };
    let answer = cx.call(ssm::GetParameter, input).await.map_err(|error| match error.code.as_ref() {
        "ParameterNotFound" | "ParameterVersionNotFound" => {
            invalid(format!("Unable to fetch parameters [{name}] from parameter store for this account."))
        }
        _ => error,
    })?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    value.ok_or_else(|| Error::internal(format!("the parameter {name} has no value")))
}
