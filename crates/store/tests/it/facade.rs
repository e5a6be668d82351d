//! What holds over every engine.

use serde::{Deserialize, Serialize};
use standfast_core::{Error, Scope};
use standfast_store::{Record, Store};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pet {
    name: String,
    kind: String,
}

impl Record for Pet {
    const TABLE: &'static str = "pets";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("kind", self.kind.clone())]
    }
}

fn pet(name: &str, kind: &str) -> Pet {
    Pet { name: name.into(), kind: kind.into() }
}

#[tokio::test]
async fn records_are_found_by_id_and_index() {
    let store = Store::memory();
    let scope = Scope::new("000000000000", "eu-west-1");
    let mut watch = store.watch(&["pets"]);
    store
        .txn(|tx| {
            tx.put(&scope, "p-1", pet("rex", "dog"));
            tx.put(&scope, "p-2", pet("tom", "cat"));
            Ok(())
        })
        .await
        .expect("fresh");
    watch.changed().await;
    store.view(|v| {
        assert_eq!(v.list::<Pet>(&scope).len(), 2);
        assert_eq!(v.by_unique::<Pet>(&scope, "name", "tom").expect("there").0.as_ref(), "p-2");
        assert_eq!(v.by_index::<Pet>(&scope, "kind", "dog")[0].1.name, "rex");
    });
    let clash = store.txn(|tx| Ok(tx.put(&scope, "p-3", pet("rex", "dog")))).await.expect_err("taken");
    assert!(clash.is("UniqueClash"));
    let refused = store
        .txn(|tx| -> Result<(), Error> {
            tx.delete::<Pet>(&scope, "p-1");
            Err(Error::client("No", "no"))
        })
        .await;
    assert!(refused.is_err_and(|e| e.is("No")));
    assert_eq!(store.view(|v| v.count::<Pet>(&scope)), 2);
}
