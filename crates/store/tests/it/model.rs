//! Any sequence of transactions does what it does to a sorted map, over every engine and across restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use standfast_core::{Error, Result};
use standfast_store::{Store, Txn, View};

use crate::pets::{Pet, pet, scope};
use crate::rival::Rival;

#[derive(Clone, Debug)]
enum Step {
    Txn { ops: Vec<Op>, abort: bool },
    Reopen,
}

#[derive(Clone, Debug)]
enum Op {
    Put(String, Pet),
    Delete(String),
}

type Model = BTreeMap<String, Pet>;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = prop::sample::select(vec!["a", "a/1", "a/2", "b", "é", "%"]).prop_map(str::to_owned);
    let record = (prop::sample::select(vec!["rex", "max", "tom", "/"]), prop::sample::select(vec!["dog", "c/t"]))
        .prop_map(|(name, kind)| pet(name, kind));
    let op = prop_oneof![
        3 => (id.clone(), record).prop_map(|(id, record)| Op::Put(id, record)),
        1 => id.prop_map(Op::Delete),
    ];
    let txn = (prop::collection::vec(op, 0..4), prop::bool::weighted(0.2));
    let step = prop_oneof![
        8 => txn.prop_map(|(ops, abort)| Step::Txn { ops, abort }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..24)
}

fn run_ops(tx: &mut Txn, ops: &[Op], abort: bool) -> Result<()> {
    for op in ops {
        match op {
            Op::Put(id, record) => tx.put(&scope(), id, record.clone()),
            Op::Delete(id) => tx.delete::<Pet>(&scope(), id),
        }
    }
    if abort { Err(Error::client("Abort", "as asked")) } else { Ok(()) }
}

/// The code of the error, if the transaction must fail.
fn run_model(model: &mut Model, ops: &[Op], abort: bool) -> Option<&'static str> {
    let (mut next, mut clash) = (model.clone(), false);
    for op in ops {
        match op {
            Op::Put(id, record) => {
                clash |= next.iter().any(|(other, held)| other != id && held.name == record.name);
                next.insert(id.clone(), record.clone());
            }
            Op::Delete(id) => {
                next.remove(id);
            }
        }
    }
    if abort {
        return Some("Abort");
    }
    if clash {
        return Some("UniqueClash");
    }
    *model = next;
    None
}

fn check(view: &View, model: &Model) {
    let listed: Model =
        view.list::<Pet>(&scope()).into_iter().map(|(id, pet)| (id.to_string(), (*pet).clone())).collect();
    assert_eq!(&listed, model);
    assert_eq!(view.count::<Pet>(&scope()), model.len());
    for kind in ["dog", "c/t"] {
        let found: Vec<String> =
            view.by_index::<Pet>(&scope(), "kind", kind).into_iter().map(|(id, _)| id.to_string()).collect();
        let expected: Vec<String> =
            model.iter().filter(|(_, pet)| pet.kind == kind).map(|(id, _)| id.clone()).collect();
        assert_eq!(found, expected);
    }
    for name in ["rex", "max", "tom", "/"] {
        let found = view.by_unique::<Pet>(&scope(), "name", name).map(|(id, _)| id.to_string());
        assert_eq!(found, model.iter().find(|(_, pet)| pet.name == name).map(|(id, _)| id.clone()));
    }
    for prefix in ["", "a", "a/", "z"] {
        let expected = model.keys().filter(|id| id.starts_with(prefix)).count();
        assert_eq!(view.prefix::<Pet>(&scope(), prefix).len(), expected);
    }
}

async fn run(steps: &[Step], mut store: Store, dir: Option<&Path>) {
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Txn { ops, abort } => {
                let result = store.txn(|tx| run_ops(tx, ops, *abort)).await;
                let expected = run_model(&mut model, ops, *abort);
                assert_eq!(result.err().map(|e| e.code.to_string()), expected.map(str::to_owned));
            }
            Step::Reopen => {
                if let Some(dir) = dir {
                    // Without a close: dropping the last clone must do.
                    drop(store);
                    store = Store::open(dir).expect("ours");
                }
            }
        }
        store.view(|v| check(v, &model));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transactions_do_what_they_do_to_a_map(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let dir = tempfile::tempdir().expect("a temporary directory");
        runtime.block_on(async {
            run(&steps, Store::memory(), None).await;
            run(&steps, Store::with_engine(Arc::new(Rival::new(seed, 2))).expect("nothing to load"), None).await;
            run(&steps, Store::open(dir.path()).expect("fresh"), Some(dir.path())).await;
        });
    }
}
