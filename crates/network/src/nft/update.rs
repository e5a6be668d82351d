//! The transaction that makes a table another one, which says only what is different.
//!
//! What a table says grows with the VPC; what a change changes does not. Invariant: what the transaction leaves is what
//! `replace` would have made, at once or not at all. Base chains and kinds of sets do not change within a table: where they
//! do, it is replaced.

use std::collections::BTreeMap;

use super::{
    BATCH_BEGIN, BATCH_END, Batch, Chain, Data, ELEMENTS_AT_ONCE, Elements, SUBSYSTEM, Table, data_of, general,
    key_length, pairs, value, write_chain, write_data, write_elements, write_rules, write_set,
};
use crate::netlink::Messages;

const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const DELETE_RULES: u16 = SUBSYSTEM | 8;
const DELETE_SET: u16 = SUBSYSTEM | 11;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;

/// The transaction; `None` where the table has to be replaced.
pub fn update(name: &str, old: &Table, new: &Table) -> Option<Messages> {
    let (old_chains, new_chains) = (chains(old)?, chains(new)?);
    let (old_sets, new_sets) = (sets(old), sets(new));
    let stays = |chain: &Chain| match new_chains.get(&*chain.name) {
        Some(new) => chain.hook == new.hook && chain.devices == new.devices,
        None => chain.hook.is_none(),
    };
    let is_known = |chain: &Chain| chain.hook.is_none() || old_chains.contains_key(&*chain.name);
    let keeps_shape = |(set, new): (&&str, &&Elements)| old_sets.get(set).is_none_or(|old| shape(old) == shape(new));
    if old.of_devices != new.of_devices
        || !old_chains.values().all(|chain| stays(chain))
        || !new_chains.values().all(|chain| is_known(chain))
        || !new_sets.iter().all(keeps_shape)
    {
        return None;
    }
    let mut batch = Batch::of(name, new);
    batch.messages.begin(BATCH_BEGIN, 0, &general(0, 10));
    let added = new_chains.values().filter(|chain| !old_chains.contains_key(&*chain.name));
    added.for_each(|chain| write_chain(&mut batch, chain));
    let changed = |chain: &&&Chain| {
        let [old, new] = [&old_chains, &new_chains].map(|chains| chains.get(&*chain.name).map(|chain| &chain.rules));
        old != new
    };
    // What is to go is let go of first: rules, then elements, which lead to chains.
    for chain in old_chains.values().filter(changed).filter(|chain| !chain.rules.is_empty()) {
        batch.message(DELETE_RULES, 0).text(2, &chain.name);
    }
    for (set, elements) in &old_sets {
        write_gone(&mut batch, set, elements, new_sets.get(set).copied());
    }
    for (number, (set, elements)) in new_sets.iter().enumerate() {
        match old_sets.get(set) {
            Some(old) => write_added(&mut batch, set, old, elements),
            None => write_set(&mut batch, set, elements, number as u32 + 1),
        }
    }
    new_chains.values().filter(changed).for_each(|chain| write_rules(&mut batch, chain));
    for chain in old_chains.keys().filter(|chain| !new_chains.contains_key(*chain)) {
        batch.message(DELETE_CHAIN, 0).text(3, chain);
    }
    for set in old_sets.keys().filter(|set| !new_sets.contains_key(*set)) {
        batch.message(DELETE_SET, 0).text(2, set);
    }
    batch.messages.begin(BATCH_END, 0, &general(0, 10));
    Some(batch.messages)
}

/// A table's chains by name; `None` when two have the same.
fn chains(table: &Table) -> Option<BTreeMap<&str, &Chain>> {
    let chains: BTreeMap<&str, &Chain> = table.chains.iter().map(|chain| (&*chain.name, chain)).collect();
    (chains.len() == table.chains.len()).then_some(chains)
}

fn sets(table: &Table) -> BTreeMap<&str, &Elements> {
    table.sets.iter().map(|(name, elements)| (&**name, elements)).collect()
}

/// What a set cannot change.
fn shape(elements: &Elements) -> (u32, Option<(u32, u32)>) {
    (key_length(elements), data_of(elements))
}

/// Deletes what is in a set no more, or leads elsewhere now. All of it, where the set goes.
fn write_gone(batch: &mut Batch, set: &str, old: &Elements, new: Option<&Elements>) {
    if Some(old) == new {
        return;
    }
    let new: BTreeMap<_, _> = new.map(pairs).unwrap_or_default().into_iter().collect();
    let gone: Vec<_> = pairs(old).into_iter().filter(|(key, data)| new.get(key) != Some(data)).collect();
    for some in gone.chunks(ELEMENTS_AT_ONCE) {
        batch.message(DELETE_ELEMENTS, 0).text(2, set).nested(3, |list| {
            for (key, _) in some {
                list.nested(1, |element| write_data(element, 1, &value(key)));
            }
        });
    }
}

fn write_added(batch: &mut Batch, set: &str, old: &Elements, new: &Elements) {
    if old == new {
        return;
    }
    let old: BTreeMap<Vec<u8>, Option<Data>> = pairs(old).into_iter().collect();
    let added: Vec<_> = pairs(new).into_iter().filter(|(key, data)| old.get(key) != Some(data)).collect();
    for some in added.chunks(ELEMENTS_AT_ONCE) {
        write_elements(batch, set, None, some);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::process::Command;

    use standfast_core::Rng;

    use super::super::{FORWARD, Hook, Nft, Step, Verdict};
    use super::*;
    use crate::namespace::{self, in_namespace};

    const NAME: &str = "rules";
    const STEPS: usize = 60;
    const CHAINS: usize = 6;
    const LINKS: usize = 8;

    /// Chains and sets by chance. Chains lead to earlier ones only, so that there are no loops.
    fn random(rng: &Rng) -> Table {
        let mut table = Table::default();
        let mut names: Vec<String> = Vec::new();
        for n in 0..CHAINS {
            if rng.below(3) == 0 {
                continue;
            }
            let name = format!("chain-{n}");
            let mut rules = vec![vec![Step::Mark(rng.below(3) as u32)]];
            if !names.is_empty() {
                rules.push(vec![Step::Is(Verdict::Jump(names[rng.below(names.len())].clone()))]);
            }
            table.chain(name.clone(), rules);
            names.push(name);
        }
        let mut base = vec![vec![Step::In(rng.below(3) as u32), Step::Is(Verdict::Drop)]];
        for set in ["one", "other"] {
            let link = |n: usize| (rng.below(2) == 0).then_some(n as u32);
            let verdict = |link: u32| match names.is_empty() {
                true => (link, Verdict::Drop),
                false => (link, Verdict::Jump(names[rng.below(names.len())].clone())),
            };
            if rng.below(4) > 0 {
                table.set(set, Elements::LinkVerdicts((0..LINKS).filter_map(link).map(verdict).collect()));
                base.push(vec![Step::InVerdict(set.into())]);
            }
        }
        table.base("base", Hook { kind: "filter", number: FORWARD, priority: 0 }, base);
        table
    }

    /// What the kernel has, chain by chain and element by element, in one order.
    fn listed(namespace: BorrowedFd) -> Option<Vec<String>> {
        let listing = in_namespace(namespace, || Command::new("nft").args(["list", "ruleset"]).output());
        let text = String::from_utf8(listing.expect("a namespace").ok()?.stdout).expect("text");
        let text = text.replace(&format!("table ip {NAME} {{\n"), "").replace("elements = { ", "").replace(" }", "");
        let block = |block: &str| {
            let mut words: Vec<&str> =
                block.split([',', '\n']).map(str::trim).filter(|word| !word.is_empty()).collect();
            if block.contains("map ") {
                words.sort_unstable();
            }
            words.join("\n")
        };
        let mut blocks: Vec<String> = text.split("\t}\n").map(block).collect();
        blocks.sort_unstable();
        Some(blocks)
    }

    #[test]
    fn an_updated_table_is_what_a_new_one_would_be() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: making namespaces needs root");
            return;
        }
        let rng = Rng::seeded(7);
        let (one, other) = (namespace::new().expect("root"), namespace::new().expect("root"));
        let (updated, replaced) = (Nft::of(one.as_fd()).expect("nft"), Nft::of(other.as_fd()).expect("nft"));
        let mut old = random(&rng);
        updated.replace(NAME, &old).expect("a table");
        for step in 0..STEPS {
            let new = random(&rng);
            let transaction = update(NAME, &old, &new).expect("base chains and kinds are the same");
            updated.0.execute_batch(transaction).unwrap_or_else(|error| panic!("step {step}: {error}"));
            replaced.replace(NAME, &new).expect("a table");
            let Some(is) = listed(one.as_fd()) else {
                eprintln!("SKIPPED: comparing needs the program nft");
                return;
            };
            assert_eq!(Some(is), listed(other.as_fd()), "step {step}: from {old:?} to {new:?}");
            old = new;
        }
    }
}
