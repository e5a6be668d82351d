//! What holds over every engine.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standfast_core::{Error, Scope};
use standfast_store::engine::{Done, Engine, Outcome, Proposal};
use standfast_store::{Key, Record, Store, StoreError};
use tokio::sync::oneshot;

use crate::engines::{self, now};
use crate::pets::{Counter, Pet, delete, pet, put, scope};
use crate::rival::Rival;

async fn put_pet(store: &Store, id: &str, name: &str, kind: &str) -> Result<(), Error> {
    put(store, &scope(), id, pet(name, kind)).await
}

fn names(found: Vec<(Arc<str>, Arc<Pet>)>) -> Vec<String> {
    found.into_iter().map(|(id, pet)| format!("{id}:{}", pet.name)).collect()
}

#[tokio::test]
async fn records_are_found_by_id_prefix_and_index() {
    for fresh in engines::all() {
        let (store, engine) = (&fresh.store, &fresh.engine);
        for (id, name, kind) in [("b/2", "tom", "cat"), ("b/1", "rex", "dog"), ("a", "fly", "dog"), ("c", "%/x", "dog")]
        {
            put_pet(store, id, name, kind).await.expect(engine);
        }
        let elsewhere = Scope::new("111111111111", "eu-west-1");
        put(store, &elsewhere, "a", pet("rex", "dog")).await.expect(engine);
        store.view(|v| {
            assert_eq!(names(v.list::<Pet>(&scope())), ["a:fly", "b/1:rex", "b/2:tom", "c:%/x"], "{engine}");
            assert_eq!(names(v.prefix::<Pet>(&scope(), "b/")), ["b/1:rex", "b/2:tom"], "{engine}");
            assert_eq!(names(v.list_from::<Pet>(&scope(), "b/1", 1)), ["b/2:tom"], "{engine}");
            assert_eq!(names(v.by_index::<Pet>(&scope(), "kind", "dog")), ["a:fly", "b/1:rex", "c:%/x"], "{engine}");
            assert_eq!(v.by_unique::<Pet>(&scope(), "name", "%/x").expect(engine).0.as_ref(), "c");
            assert_eq!(v.all::<Pet>().len(), 5, "{engine}");
            assert_eq!((v.count::<Pet>(&scope()), v.count::<Pet>(&elsewhere)), (4, 1), "{engine}");
            assert_eq!(v.get::<Pet>(&scope(), "b").as_deref(), None, "{engine}");
            let (one, two) = (v.get::<Pet>(&scope(), "a"), v.get::<Pet>(&scope(), "a"));
            assert!(Arc::ptr_eq(&one.expect(engine), &two.expect(engine)), "{engine}: read twice, parsed once");
        });
    }
}

#[tokio::test]
async fn index_entries_follow_their_records() {
    for fresh in engines::all() {
        let (store, engine) = (&fresh.store, &fresh.engine);
        put_pet(store, "1", "rex", "dog").await.expect(engine);
        put_pet(store, "1", "max", "cat").await.expect(engine);
        store.view(|v| {
            assert!(v.by_unique::<Pet>(&scope(), "name", "rex").is_none(), "{engine}");
            assert!(v.by_index::<Pet>(&scope(), "kind", "dog").is_empty(), "{engine}");
        });
        // A value can pass from one record to another within a transaction.
        let moved = store.txn(|tx| {
            tx.delete::<Pet>(&scope(), "1");
            tx.put(&scope(), "2", pet("max", "dog"));
            assert_eq!(tx.by_unique::<Pet>(&scope(), "name", "max").expect("own write").0.as_ref(), "2");
            Ok(())
        });
        moved.await.expect(engine);
        store.view(|v| assert_eq!(names(v.by_index::<Pet>(&scope(), "kind", "dog")), ["2:max"], "{engine}"));
    }
}

#[tokio::test]
async fn a_unique_clash_fails_the_transaction_as_a_whole() {
    for fresh in engines::all() {
        let (store, engine) = (&fresh.store, &fresh.engine);
        put_pet(store, "1", "rex", "dog").await.expect(engine);
        let clash = store.txn(|tx| {
            tx.put(&scope(), "0", Counter { n: 1 });
            tx.put(&scope(), "2", pet("rex", "cat"));
            Ok(())
        });
        let clash = clash.await.expect_err(engine);
        assert!(clash.is("UniqueClash"), "{engine}");
        for part in ["pets", "name", "rex"] {
            assert!(clash.message.contains(part), "{engine}: {}", clash.message);
        }
        store.view(|v| {
            assert_eq!(v.by_unique::<Pet>(&scope(), "name", "rex").expect(engine).0.as_ref(), "1");
            assert_eq!(v.count::<Counter>(&scope()), 0, "{engine}");
            assert!(v.by_index::<Pet>(&scope(), "kind", "cat").is_empty(), "{engine}");
        });
        let again = put_pet(store, "1", "rex", "cat").await;
        assert_eq!(again, Ok(()), "{engine}: a record does not clash with itself");
    }
}

#[tokio::test]
async fn an_abort_or_a_panic_leaves_nothing_behind() {
    for fresh in engines::all() {
        let (store, engine) = (&fresh.store, &fresh.engine);
        put_pet(store, "1", "rex", "dog").await.expect(engine);
        let before = store.view(|v| v.list::<Pet>(&scope()));
        let error = Error::client("InvalidPet", "no such pet").with_status(404);
        let abort = store.txn(|tx| -> Result<(), Error> {
            tx.put(&scope(), "1", pet("max", "cat"));
            tx.delete::<Pet>(&scope(), "1");
            tx.put(&scope(), "2", pet("rex", "cat"));
            Err(error.clone())
        });
        assert_eq!(abort.await, Err(error.clone()), "{engine}");
        let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let panic = store.txn(|tx| -> Result<(), Error> {
                tx.delete::<Pet>(&scope(), "1");
                panic!("a bug in a closure (expected in this test's output)");
            });
            futures_now(panic)
        }));
        assert!(panic.is_err(), "{engine}");
        assert_eq!(store.view(|v| v.list::<Pet>(&scope())), before, "{engine}");
        put_pet(store, "2", "max", "cat").await.expect(engine);
    }
}

fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(now(future));
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn increments_by_many_callers_all_count() {
    const CALLERS: usize = 32;
    const EACH: usize = 8;
    for fresh in engines::all() {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let store = fresh.store.clone();
            tasks.spawn(async move {
                for _ in 0..EACH {
                    let add = store.txn(|tx| {
                        let n = tx.get::<Counter>(&scope(), "n").map_or(0, |counter| counter.n);
                        tx.put(&scope(), "n", Counter { n: n + 1 });
                        Ok(())
                    });
                    add.await.expect("committed");
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect(&fresh.engine);
        }
        let n = fresh.store.view(|v| v.get::<Counter>(&scope(), "n").expect("there").n);
        assert_eq!(n, (CALLERS * EACH) as u64, "{}", fresh.engine);
    }
}

#[tokio::test]
async fn a_transaction_runs_again_on_what_a_rival_wrote() {
    let rival = Arc::new(Rival::new(1, 0));
    let store = Store::with_engine(rival.clone()).expect("nothing to load");
    put_pet(&store, "1", "rex", "dog").await.expect("fresh");
    let key = |kind: &str, rest: &str| format!("/{kind}/pets/000000000000/eu-west-1/{rest}");
    let json = |name: &str| Some(Arc::from(format!(r#"{{"v":1,"d":{{"name":"{name}","kind":"dog"}}}}"#).into_bytes()));
    let taken = |name: &str| {
        let entry: (Key, Option<Arc<[u8]>>) = (key("u", &format!("name/{name}")), Some(Arc::from(*b"9")));
        vec![(key("t", "9"), json(name)), entry, (key("i", "kind/dog/9"), Some(Arc::from(*b"")))]
    };
    // By range: a record appears among those that were counted.
    rival.plan(taken("max"));
    let runs = Cell::new(0);
    let counted = store.txn(|tx| {
        runs.set(runs.get() + 1);
        let n = tx.count::<Pet>(&scope()) as u64;
        tx.put(&scope(), "pets", Counter { n });
        Ok(n)
    });
    assert_eq!((counted.await, runs.get()), (Ok(2), 2));
    // By a deletion within a range, and by the absence of a key.
    rival.plan(vec![(key("t", "9"), None), (key("u", "name/max"), None), (key("i", "kind/dog/9"), None)]);
    let dogs = store.txn(|tx| {
        let n = tx.by_index::<Pet>(&scope(), "kind", "dog").len() as u64;
        tx.put(&scope(), "dogs", Counter { n });
        Ok(n)
    });
    assert_eq!(dogs.await, Ok(1));
    rival.plan(taken("tom"));
    let clash = put_pet(&store, "3", "tom", "cat").await.expect_err("the rival was first");
    assert!(clash.is("UniqueClash"));
}

#[tokio::test]
async fn a_transaction_that_never_gets_through_tells_its_caller_to_retry() {
    let store = Store::with_engine(Arc::new(Rival::new(1, 1))).expect("nothing to load");
    put_pet(&store, "1", "rex", "dog").await.expect("there is nothing yet that the rival could change");
    let starved = put_pet(&store, "1", "max", "dog").await.expect_err("the rival is always first");
    assert_eq!(starved.status, Some(503));
    assert_eq!(store.view(|v| v.get::<Pet>(&scope(), "1").expect("there").name.clone()), "rex");
}

#[tokio::test]
async fn a_transaction_that_is_too_large_is_refused() {
    // Over one engine: the limit is the facade's, and the record is large.
    let store = Store::memory();
    let refused = put_pet(&store, "1", "rex", &"x".repeat(65 * 1024 * 1024)).await.expect_err("over the limit");
    assert!(refused.message.contains("bytes"), "{}", refused.message);
    assert_eq!(store.view(|v| v.count::<Pet>(&scope())), 0);
    put_pet(&store, "1", "rex", "dog").await.expect("within the limit");
}

#[tokio::test]
async fn a_watch_sees_every_change_of_its_tables_and_no_other() {
    for fresh in engines::all() {
        let (store, engine) = (&fresh.store, &fresh.engine);
        let mut pets = store.watch(&["pets"]);
        let mut both = store.watch(&["counters", "pets"]);
        assert_eq!(now(pets.changed()).await, None, "{engine}");
        put_pet(store, "1", "rex", "dog").await.expect(engine);
        put_pet(store, "2", "max", "dog").await.expect(engine);
        pets.changed().await;
        both.changed().await;
        assert_eq!(now(pets.changed()).await, None, "{engine}: two changes are one");
        put(store, &scope(), "n", Counter { n: 1 }).await.expect(engine);
        assert_eq!(now(pets.changed()).await, None, "{engine}: another table");
        both.changed().await;
        let refused = store.txn(|tx| {
            tx.delete::<Pet>(&scope(), "1");
            Err::<(), _>(Error::client("No", "no"))
        });
        assert!(refused.await.is_err());
        assert_eq!(now(both.changed()).await, None, "{engine}: an abort changes nothing");
        let waiting = tokio::spawn(async move { pets.changed().await });
        tokio::task::yield_now().await;
        delete::<Pet>(store, &scope(), "1").await.expect(engine);
        waiting.await.expect(engine);
    }
}

#[tokio::test]
async fn a_put_that_changes_nothing_wakes_nobody() {
    for fresh in engines::all().into_iter().filter(|fresh| !fresh.engine.starts_with("rival")) {
        put_pet(&fresh.store, "1", "rex", "dog").await.expect(&fresh.engine);
        let mut pets = fresh.store.watch(&["pets"]);
        put_pet(&fresh.store, "1", "rex", "dog").await.expect(&fresh.engine);
        assert_eq!(now(pets.changed()).await, None, "{}", fresh.engine);
    }
}

#[tokio::test(start_paused = true)]
async fn memory_commits_without_waiting() {
    let store = Store::memory();
    assert_eq!(now(put_pet(&store, "1", "rex", "dog")).await, Some(Ok(())));
}

#[tokio::test]
async fn a_closed_store_takes_no_more_writes() {
    for fresh in engines::all() {
        put_pet(&fresh.store, "1", "rex", "dog").await.expect(&fresh.engine);
        fresh.store.close().await;
        fresh.store.close().await;
        let late = put_pet(&fresh.store, "2", "max", "dog").await.expect_err(&fresh.engine);
        assert_eq!(late.status, Some(503), "{}", fresh.engine);
        assert!(late.message.contains("closed"), "{}", late.message);
    }
}

#[tokio::test]
#[should_panic(expected = "through its argument")]
async fn a_closure_that_goes_around_its_transaction_is_stopped() {
    let store = Store::memory();
    let _ = store.txn(|_| Ok(store.view(|v| v.count::<Pet>(&scope())))).await;
}

/// An engine that takes everything and completes nothing until it is told how.
#[derive(Default)]
struct Slow(std::sync::Mutex<Vec<Done>>);

impl Engine for Slow {
    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError> {
        Ok(Vec::new())
    }
    fn commit(&self, _: Proposal, done: Done) {
        self.0.lock().expect("no panic under it").push(done);
    }
    fn close(&self, _: oneshot::Sender<()>) {}
}

impl Slow {
    fn complete(&self, outcome: &Outcome) {
        for done in std::mem::take(&mut *self.0.lock().expect("no panic under it")) {
            done.complete(outcome.clone());
        }
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_before_what_it_saw_is_durable() {
    let engine = Arc::new(Slow::default());
    let store = Store::with_engine(engine.clone()).expect("nothing to load");
    let mut watch = store.watch(&["pets"]);
    let mut write = Box::pin(put_pet(&store, "1", "rex", "dog"));
    assert_eq!(now(&mut write).await, None);
    assert_eq!(store.view(|v| v.count::<Pet>(&scope())), 1, "readers need not wait");
    let mut read = Box::pin(store.txn(|tx| Ok(tx.count::<Pet>(&scope()))));
    let mut refusal = Box::pin(store.txn(|_| Err::<(), _>(Error::client("PetExists", "it does"))));
    assert_eq!(now(&mut read).await, None, "a read waits for what it saw");
    assert_eq!(now(&mut refusal).await, None, "and so does a refusal");
    assert_eq!(now(watch.changed()).await, None, "and a watch");
    engine.complete(&Outcome::Committed);
    assert_eq!(write.await, Ok(()));
    assert_eq!(read.await, Ok(1));
    assert!(refusal.await.is_err_and(|e| e.is("PetExists")));
    watch.changed().await;
    assert_eq!(now(store.txn(|tx| Ok(tx.count::<Pet>(&scope())))).await, Some(Ok(1)), "all is durable: no wait");
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged() {
    for silent in [false, true] {
        let engine = Arc::new(Slow::default());
        let store = Store::with_engine(engine.clone()).expect("nothing to load");
        let mut write = Box::pin(put_pet(&store, "1", "rex", "dog"));
        assert_eq!(now(&mut write).await, None);
        if silent {
            engine.0.lock().expect("no panic under it").clear();
        } else {
            engine.complete(&Outcome::Failed("No space left on device".into()));
        }
        let why = if silent { "stopped" } else { "No space left on device" };
        for result in [write.await, put_pet(&store, "2", "max", "cat").await, store.txn(|_| Ok(())).await] {
            let error = result.expect_err("nothing more is acknowledged");
            assert_eq!(error.status, Some(503));
            assert!(error.message.contains(why), "{}", error.message);
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OldPet {
    title: String,
}

impl Record for OldPet {
    const TABLE: &'static str = "renamed";
}

#[derive(Debug, Serialize, Deserialize)]
struct NewPet {
    name: String,
}

impl Record for NewPet {
    const TABLE: &'static str = "renamed";
    const VERSION: u32 = 2;
    fn migrate(from: u32, mut value: serde_json::Value) -> Result<serde_json::Value, StoreError> {
        assert_eq!(from, 1);
        let title = value["title"].take();
        Ok(serde_json::json!({ "name": title }))
    }
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}

#[tokio::test]
async fn records_of_an_older_version_are_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(dir.path()).expect("fresh");
    put(&store, &scope(), "1", OldPet { title: "rex".into() }).await.expect("fresh");
    store.close().await;
    let store = Store::open(dir.path()).expect("ours");
    assert_eq!(store.view(|v| v.get::<NewPet>(&scope(), "1").expect("there").name.clone()), "rex");
    assert_eq!(store.migrate::<NewPet>().await, Ok(1));
    assert_eq!(store.migrate::<NewPet>().await, Ok(0));
    assert_eq!(store.view(|v| v.by_index::<NewPet>(&scope(), "name", "rex").len()), 1);
    store.close().await;
    let store = Store::open(dir.path()).expect("ours");
    let error = store.migrate::<OldPet>().await.expect_err("there is no way back");
    assert!(error.message.contains("renamed") && error.message.contains("version 2"), "{error}");
}
