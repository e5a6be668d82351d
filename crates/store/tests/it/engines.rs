//! Every engine, for suites that must hold over all of them.

use std::sync::Arc;

use standfast_store::Store;
use tempfile::TempDir;

use crate::rival::Rival;

/// The rival's chance; printed when a test fails through the engine's name.
const SEED: u64 = 7;

/// A fresh store, and what must live as long as it.
pub struct Fresh {
    pub engine: String,
    pub store: Store,
    _dir: Option<TempDir>,
}

pub fn all() -> Vec<Fresh> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let journal = Store::open(&dir.path().join("data")).expect("an empty directory opens");
    let rival = Store::with_engine(Arc::new(Rival::new(SEED, 3))).expect("nothing to load");
    vec![
        Fresh { engine: "memory".into(), store: Store::memory(), _dir: None },
        Fresh { engine: "journal".into(), store: journal, _dir: Some(dir) },
        Fresh { engine: format!("rival, seed {SEED}"), store: rival, _dir: None },
    ]
}

/// Polls a future once: what is ready now.
pub async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
