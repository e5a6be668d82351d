//! Figures of the store: opening, durable writes, reads, memory. Run with
//! `cargo run --release -p standfast-store --example store_bench [DIR]`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use standfast_core::{Result, Scope};
use standfast_store::{Record, Store};

const RECORDS: u64 = 1000;
const VALUE_BYTES: usize = 1024;
const WRITERS: u64 = 64;
const RUN: Duration = Duration::from_secs(2);
const OPENS: usize = 31;

#[derive(Serialize, Deserialize)]
struct Thing {
    n: u64,
    fill: String,
}

impl Record for Thing {
    const TABLE: &'static str = "things";
}

fn thing(n: u64) -> Thing {
    Thing { n, fill: "x".repeat(VALUE_BYTES) }
}

fn scope() -> Scope {
    Scope::new("000000000000", "eu-west-1")
}

/// Benchmarks measure the machine's time: it is what they are about.
#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

async fn put(store: &Store, n: u64) -> Result<()> {
    let put = store.txn(|tx| {
        tx.put(&scope(), &format!("thing-{:06}", n % RECORDS), thing(n));
        Ok(())
    });
    put.await
}

/// The median time of opening what is in the directory; `fresh` removes it each time.
async fn open_ms(dir: &Path, fresh: bool) -> f64 {
    let mut times = Vec::new();
    for _ in 0..OPENS {
        if fresh {
            let _ = std::fs::remove_dir_all(dir);
        }
        let start = now();
        let store = Store::open(dir).expect("opens");
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        store.close().await;
    }
    times.sort_by(f64::total_cmp);
    times[OPENS / 2]
}

/// Durable puts a second with this many writers at once.
async fn puts_per_second(store: &Store, writers: u64) -> f64 {
    let start = now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut count = 0u64;
            while start.elapsed() < RUN {
                put(&store, writer * 31 + count * 7).await.expect("room on the disk");
                count += 1;
            }
            count
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.expect("no panic");
    }
    count as f64 / start.elapsed().as_secs_f64()
}

/// Runs a second of what `each` times something is done.
fn per_second(each: usize, f: impl Fn()) -> f64 {
    let (start, mut count) = (now(), 0);
    while start.elapsed() < RUN / 2 {
        f();
        count += each;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let given = std::env::args().nth(1);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = given.map_or_else(|| temporary.path().join("data"), std::path::PathBuf::from);
    println!("resident at start                 {}", resident());
    println!("open, new directory               {:9.2} ms", open_ms(&dir, true).await);
    println!("open, empty store                 {:9.2} ms", open_ms(&dir, false).await);
    let store = Store::open(&dir).expect("opens");
    let filled = store.txn(|tx| {
        (0..RECORDS).for_each(|n| tx.put(&scope(), &format!("thing-{n:06}"), thing(n)));
        Ok(())
    });
    filled.await.expect("room on the disk");
    store.close().await;
    drop(store);
    println!("open, {RECORDS} records of {VALUE_BYTES} bytes   {:9.2} ms", open_ms(&dir, false).await);
    let store = Store::open(&dir).expect("opens");
    println!("resident with them                {}", resident());
    for writers in [1, WRITERS] {
        println!("durable puts/s, {writers:2} writers        {:9.0}", puts_per_second(&store, writers).await);
    }
    println!("resident after them               {}", resident());
    let gets = || (0..100).for_each(|n| drop(store.view(|v| v.get::<Thing>(&scope(), &format!("thing-{n:06}")))));
    println!("gets/s                            {:9.0}", per_second(100, gets));
    let list = || drop(store.view(|v| v.prefix::<Thing>(&scope(), "thing-0001")));
    println!("lists of 100/s                    {:9.0}", per_second(1, list));
    let sum = store.view(|v| v.list::<Thing>(&scope()).iter().map(|(_, thing)| thing.n).max());
    assert!(sum.is_some());
    store.close().await;
    drop(store);
    println!("open after those puts             {:9.2} ms", open_ms(&dir, false).await);
    let memory = Store::memory();
    println!("memory puts/s, 1 writer           {:9.0}", puts_per_second(&memory, 1).await);
}
