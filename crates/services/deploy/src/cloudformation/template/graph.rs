//! Which resource waits for which.
//!
//! Invariant: an edge exists for every `DependsOn`, `Ref`, `Fn::GetAtt` and variable of `Fn::Sub`, also in branches of
//! `Fn::If` that are not taken: more order than needed is harmless, less is not. Not here: how many run at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use standfast_core::Result;

use super::call::{self, Place, Reference};
use super::invalid;
use super::model::{Resource, Template};

/// Resources by logical id, each with those that must be there before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The graph of the resources that `active` lets through.
    pub fn of(template: &Template, active: impl Fn(&str) -> bool) -> Result<Self> {
        let mut needs = BTreeMap::new();
        for (name, resource) in template.resources.iter().filter(|(name, _)| active(name)) {
            let known = |needed: &String| active(needed) && template.resources.contains_key(needed);
            needs.insert(name.clone(), resource_needs(resource)?.into_iter().filter(known).collect());
        }
        Ok(Self { needs })
    }

    /// The graph of edges that were kept with a stack. Names that are no resource of the stack are left out.
    pub fn from_needs(needs: BTreeMap<String, BTreeSet<String>>) -> Self {
        let names: BTreeSet<String> = needs.keys().cloned().collect();
        let needs = needs.into_iter().map(|(name, mut needed)| {
            needed.retain(|needed| names.contains(needed));
            (name, needed)
        });
        Self { needs: needs.collect() }
    }

    /// What a resource waits for.
    pub fn needs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.needs.get(name).into_iter().flatten().map(String::as_str)
    }

    /// The graph of deletion: each resource waits for those that were built upon it.
    pub fn reversed(&self) -> Self {
        let mut needs: BTreeMap<String, BTreeSet<String>> =
            self.needs.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
        for (name, needed) in &self.needs {
            for needed in needed {
                needs.entry(needed.clone()).or_default().insert(name.clone());
            }
        }
        Self { needs }
    }

    /// The resources that may start now: not done, not started, and everything they wait for is done.
    pub fn ready<'a>(&'a self, done: &BTreeSet<String>, started: &BTreeSet<String>) -> Vec<&'a str> {
        let waits = |name: &String| done.contains(name) || started.contains(name);
        let ready = self.needs.iter().filter(|(name, needed)| !waits(name) && needed.is_subset(done));
        ready.map(|(name, _)| name.as_str()).collect()
    }

    /// All resources in groups: each group needs only the groups before it. Fails on a cycle, naming it.
    pub fn waves(&self) -> Result<Vec<Vec<String>>> {
        match self.cycle() {
            None => Ok(self.peel().0),
            Some(names) => Err(invalid(format!("Circular dependency between resources: [{}]", names.join(", ")))),
        }
    }

    /// The names that wait for each other, if any do.
    pub fn cycle(&self) -> Option<Vec<String>> {
        let (_, rest) = self.peel();
        if rest.needs.is_empty() {
            return None;
        }
        // What only leads away from a cycle is peeled from the other end, so that cycles alone are named.
        let (_, cycles) = rest.reversed().peel();
        Some(cycles.needs.into_keys().collect())
    }

    /// Takes away, wave by wave, what waits for nothing that is left.
    fn peel(&self) -> (Vec<Vec<String>>, Self) {
        let mut missing: BTreeMap<&str, usize> = self.needs.iter().map(|(name, n)| (name.as_str(), n.len())).collect();
        let dependents = self.reversed();
        let mut waves = Vec::new();
        let mut wave: Vec<&str> = missing.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
        while !wave.is_empty() {
            let mut next = Vec::new();
            for done in &wave {
                missing.remove(done);
                for dependent in dependents.needs(done) {
                    let Some((name, count)) = missing.get_key_value(dependent).map(|(name, count)| (*name, *count))
                    else {
                        continue;
                    };
                    missing.insert(name, count - 1);
                    if count == 1 {
                        next.push(name);
                    }
                }
            }
            next.sort_unstable();
            waves.push(std::mem::replace(&mut wave, next).into_iter().map(str::to_owned).collect());
        }
        let left = |name: &String| missing.contains_key(name.as_str());
        let rest = self.needs.iter().filter(|(name, _)| left(name));
        let rest =
            rest.map(|(name, needed)| (name.clone(), needed.iter().filter(|name| left(name)).cloned().collect()));
        (waves, Self { needs: rest.collect() })
    }
}

/// Everything a resource names that could be a resource.
fn resource_needs(resource: &Resource) -> Result<BTreeSet<String>> {
    let mut needs: BTreeSet<String> = resource.depends_on.iter().cloned().collect();
    for node in resource.nodes() {
        call::walk_all(node, Place::Value, &mut |call| {
            for reference in call.references() {
                match reference {
                    Reference::Name(name) | Reference::Attribute { resource: name, .. } => {
                        needs.insert(name.to_owned())
                    }
                    Reference::Condition { .. } => false,
                };
            }
            Ok(())
        })?;
    }
    Ok(needs)
}

impl Resource {
    /// The trees of a resource that may hold calls.
    pub fn nodes(&self) -> impl Iterator<Item = &Value> {
        let attributes = [&self.creation_policy, &self.update_policy, &self.metadata];
        self.properties.values().chain(attributes.into_iter().flatten())
    }
}
