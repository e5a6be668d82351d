//! What was acknowledged survives SIGKILL at any moment, and every transaction is there as a whole or not at all.
//!
//! The writer is this test binary again: many callers at once, each writing pairs of records into two tables with a
//! number that counts up, and printing a number when it is acknowledged. It is killed after a random number of such
//! lines (by its parent, or by itself with nothing between the line and the signal), opened again by the next writer,
//! and in between everything is checked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use standfast_core::Rng;
use standfast_store::{Record, Store};
use tempfile::TempDir;

use crate::pets::scope;

const CALLERS: u64 = 16;
/// Records of each caller, written in turn.
const SLOTS: u64 = 8;
/// A writer that nobody kills ends here.
const WRITES_MAX: u64 = 4000;
const ROUNDS: usize = 40;
/// Large enough for the journal to be replaced every few hundred transactions.
const FILL_BYTES: usize = 3000;
/// Where a writer finds its store; without it, the writers below are tests that do nothing.
const DIR: &str = "STANDFAST_STORE_TEST_DIR";
/// After how many acknowledged writes a writer kills itself.
const KILL_AFTER: &str = "STANDFAST_STORE_TEST_KILL_AFTER";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Left {
    n: u64,
    fill: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Right {
    n: u64,
    fill: String,
}

impl Record for Left {
    const TABLE: &'static str = "left";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("fill", self.fill[..24].to_owned())]
    }
}

impl Record for Right {
    const TABLE: &'static str = "right";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("n", self.n.to_string())]
    }
}

fn fill(caller: u64, n: u64) -> String {
    format!("{caller:04}-{n:019}{}", "x".repeat(FILL_BYTES - (n as usize * 131) % 2000))
}

fn id(caller: u64, n: u64) -> String {
    format!("{caller}/{}", n % SLOTS)
}

/// The number that a caller goes on from.
fn last_of(store: &Store, caller: u64) -> u64 {
    store.view(|v| last_of_view(v, caller))
}

async fn write(store: &Store, caller: u64, n: u64) -> standfast_core::Result<()> {
    let txn = store.txn(|tx| {
        tx.put(&scope(), &id(caller, n), Left { n, fill: fill(caller, n) });
        tx.put(&scope(), &id(caller, n), Right { n, fill: fill(caller, n) });
        Ok(())
    });
    txn.await
}

/// Writes until killed, or until the store refuses.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let kill_after = std::env::var(KILL_AFTER).ok().map(|text| text.parse::<usize>().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let acked = Arc::new(AtomicUsize::new(0));
    let result = runtime.block_on(async {
        let store = Store::open(Path::new(&dir)).expect("a store that a crash left behind opens");
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..CALLERS {
            let (store, acked) = (store.clone(), acked.clone());
            tasks.spawn(async move {
                let last = last_of(&store, caller);
                for n in last + 1..=last + WRITES_MAX {
                    write(&store, caller, n).await?;
                    // In one write, so that a kill cannot cut a number short.
                    std::io::stdout().write_all(format!("ack {caller} {n}\n").as_bytes()).expect("the parent reads");
                    if Some(acked.fetch_add(1, Ordering::Relaxed) + 1) == kill_after {
                        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                            .expect("allowed");
                    }
                }
                Ok::<(), standfast_core::Error>(())
            });
        }
        let mut result = Ok(());
        while let Some(done) = tasks.join_next().await {
            result = result.and(done.expect("no panic"));
        }
        let late = write(&store, 0, u64::MAX).await;
        assert_eq!(late.is_err(), result.is_err(), "once refused, always refused");
        result
    });
    if let Err(error) = result {
        println!("refused {error}");
    }
}

fn lines(child: &mut Child) -> std::io::Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("piped")).lines()
}

/// Notes an acknowledged number; false when the line is not one.
fn note(line: &str, acked: &mut BTreeMap<u64, u64>) -> bool {
    // libtest may have begun the first line itself.
    let Some((_, numbers)) = line.split_once("ack ") else { return false };
    let Some((caller, n)) = numbers.split_once(' ') else { return false };
    let (Ok(caller), Ok(n)) = (caller.parse(), n.parse::<u64>()) else { return false };
    let last = acked.entry(caller).or_insert(0);
    *last = n.max(*last);
    true
}

/// Everything acknowledged is there, at most one transaction of each caller more, and each as a whole. What is there may
/// not go away later either, so it is noted.
fn check(dir: &Path, acked: &mut BTreeMap<u64, u64>, context: &str) {
    let store = Store::open(dir).unwrap_or_else(|error| panic!("{context}: {error}"));
    store.view(|v| {
        let (left, right) = (v.list::<Left>(&scope()), v.list::<Right>(&scope()));
        assert_eq!(left.len(), right.len(), "{context}");
        for ((left_id, left), (right_id, right)) in left.iter().zip(&right) {
            assert_eq!((left_id, left.n, &left.fill), (right_id, right.n, &right.fill), "{context}");
            let found = v.by_unique::<Left>(&scope(), "fill", &left.fill[..24]).map(|(id, _)| id);
            assert_eq!(found.as_ref(), Some(left_id), "{context}");
            assert!(v.by_index::<Right>(&scope(), "n", &right.n.to_string()).iter().any(|(id, _)| id == right_id));
        }
        for (&caller, noted) in acked {
            let (last, newest) = (*noted, last_of_view(v, caller));
            assert!(newest == last || newest == last + 1, "{context}: caller {caller} acked {last}, found {newest}");
            *noted = newest;
            for n in newest.saturating_sub(SLOTS - 1).max(1)..=newest {
                let left = v.get::<Left>(&scope(), &id(caller, n)).unwrap_or_else(|| panic!("{context}: {caller} {n}"));
                assert_eq!((left.n, &left.fill), (n, &fill(caller, n)), "{context}");
            }
        }
    });
}

fn last_of_view(view: &standfast_store::View, caller: u64) -> u64 {
    view.prefix::<Left>(&scope(), &format!("{caller}/")).iter().map(|(_, left)| left.n).max().unwrap_or(0)
}

fn spawn(command: &mut Command, dir: &Path) -> Child {
    command.env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("this binary runs")
}

fn this_test() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(["crash::writer", "--exact", "--nocapture"]);
    command
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let rng = Rng::from_entropy();
    let dir = TempDir::new().expect("a temporary directory");
    let mut acked = BTreeMap::new();
    let mut generations = Vec::new();
    for round in 0..ROUNDS {
        let context = format!("seed {} round {round}", rng.seed());
        let kill_after = 1 + rng.below(if rng.below(4) == 0 { 2000 } else { 200 });
        let itself = rng.below(2) == 0;
        let mut command = this_test();
        if itself {
            command.env(KILL_AFTER, kill_after.to_string());
        }
        let mut child = spawn(&mut command, dir.path());
        let mut lines = lines(&mut child);
        let mut count = 0;
        for line in lines.by_ref() {
            count += usize::from(note(&line.expect("text"), &mut acked));
            if count >= kill_after && !itself {
                break;
            }
        }
        child.kill().expect("it is killed once or twice");
        let status = child.wait().expect("killed");
        assert!(count >= kill_after, "{context}: the writer ended early, {status}");
        // What it printed before it died was acknowledged as well.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acked);
        }
        generations.push(journal_generation(dir.path()));
        check(dir.path(), &mut acked, &context);
    }
    assert!(generations.last() > generations.first(), "journals were replaced on the way: {generations:?}");
}

/// How often the journal has been replaced, by the names of the files.
fn journal_generation(dir: &Path) -> u64 {
    let names = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    names.filter_map(|name| name.to_str()?.strip_prefix("journal.")?.parse().ok()).max().expect("a journal")
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut acked = BTreeMap::new();
    for size_blocks in [600, 1100, 9000] {
        // A file may not grow past this (in blocks of 512 bytes), which stands for a disk that is full.
        let script = format!(r#"trap "" XFSZ; ulimit -f {size_blocks}; exec "$@""#);
        let test = this_test();
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]).arg(test.get_program()).args(test.get_args());
        let mut child = spawn(&mut shell, dir.path());
        let mut refused = None;
        for line in lines(&mut child) {
            let line = line.expect("text");
            if !note(&line, &mut acked) && line.starts_with("refused ") {
                refused = Some(line);
            }
        }
        assert!(child.wait().expect("it ends").success());
        let refused = refused.expect("the disk is full before all is written");
        assert!(refused.contains("ServiceUnavailable") && refused.contains("File too large"), "{refused}");
        check(dir.path(), &mut acked, &format!("{size_blocks} blocks"));
    }
}
