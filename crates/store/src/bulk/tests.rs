//! Logs on a real disk: what survives, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Bulk, Collection};
use crate::error::StoreError;
use crate::store::Store;

const PARTS: u16 = 4;

/// Lists of blobs.
#[derive(Default)]
struct Blobs([Mutex<Vec<Vec<u8>>>; PARTS as usize]);

impl Blobs {
    fn part(&self, part: u16) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0[usize::from(part)].lock().expect("no test panics with it")
    }

    fn all(&self) -> Vec<Vec<Vec<u8>>> {
        (0..PARTS).map(|part| self.part(part).clone()).collect()
    }
}

impl Collection for Blobs {
    const NAME: &'static str = "blobs";
    const PARTS: u16 = PARTS;

    fn restore(&self, part: u16, mut dump: &[u8]) -> Option<()> {
        while !dump.is_empty() {
            let (len, rest) = dump.split_at_checked(4)?;
            let (blob, rest) = rest.split_at_checked(u32::from_le_bytes(len.try_into().ok()?) as usize)?;
            self.part(part).push(blob.to_vec());
            dump = rest;
        }
        Some(())
    }

    fn replay(&self, part: u16, record: &[u8]) -> Option<()> {
        self.part(part).push(record.to_vec());
        Some(())
    }

    fn dump(&self, part: u16, seal: &mut dyn FnMut()) -> Vec<u8> {
        let blobs = self.part(part);
        seal();
        blobs.iter().flat_map(|blob| [&(blob.len() as u32).to_le_bytes()[..], blob].concat()).collect()
    }
}

fn push(bulk: &Bulk<Blobs>, part: u16, blob: Vec<u8>) {
    let mut blobs = bulk.data.part(part);
    bulk.log.append(part, |out| out.extend_from_slice(&blob));
    blobs.push(blob);
}

fn open(dir: &Path) -> Result<(Store, Arc<Bulk<Blobs>>), StoreError> {
    let store = Store::open(dir)?;
    let bulk = store.bulk::<Blobs>()?;
    Ok((store, bulk))
}

fn home(dir: &Path) -> PathBuf {
    dir.join("bulk/blobs")
}

/// A directory with three frames, and its log.
async fn three_frames() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, bulk) = open(dir.path()).expect("fresh");
    for i in 0..3 {
        push(&bulk, i, vec![b'a' + i as u8; 3000]);
        bulk.log.synced().await.expect("durable");
    }
    store.close().await;
    let log = home(dir.path()).join("log.1");
    (dir, log)
}

/// Where a byte is first.
fn find(bytes: &[u8], byte: u8) -> usize {
    bytes.windows(100).position(|window| window.iter().all(|b| *b == byte)).expect("it is there")
}

#[tokio::test]
async fn what_was_synced_survives() {
    let dir = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let (store, bulk) = open(dir.path()).expect("fresh");
    for i in 0..100u8 {
        push(&bulk, u16::from(i % 3), vec![i; usize::from(i)]);
    }
    bulk.log.synced().await.expect("durable");
    // What a SIGKILL would leave behind now.
    let kept = copy.path().join("bulk/blobs");
    fs::create_dir_all(&kept).expect("made");
    fs::copy(home(dir.path()).join("log.1"), kept.join("log.1")).expect("copied");
    let read = Blobs::default();
    super::files::Files::open(&kept, &read).expect("sound");
    assert_eq!(read.all(), bulk.data.all());
    let all = bulk.data.all();
    drop((store, bulk));
    assert_eq!(open(dir.path()).expect("sound").1.data.all(), all);
}

#[tokio::test]
async fn a_store_in_memory_has_collections_too() {
    let store = Store::memory();
    let bulk = store.bulk::<Blobs>().expect("nothing to read");
    push(&bulk, 1, vec![1]);
    bulk.log.synced().await.expect("nothing to wait for");
    assert_eq!(*store.bulk::<Blobs>().expect("there").data.part(1), [vec![1]]);
}

#[tokio::test]
async fn an_incomplete_end_is_dropped_and_written_over() {
    let (dir, log) = three_frames().await;
    let mut bytes = fs::read(&log).expect("read");
    let (second, third) = (find(&bytes, b'b'), find(&bytes, b'c'));
    bytes[third + 1500..].fill(0);
    fs::write(&log, &bytes).expect("written");
    let (store, bulk) = open(dir.path()).expect("a crash, not damage");
    assert_eq!(bulk.data.all().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0, 0]);
    push(&bulk, 3, vec![9; 10]);
    bulk.log.synced().await.expect("durable");
    store.close().await;
    drop(bulk);
    let (_, bulk) = open(dir.path()).expect("sound");
    assert_eq!(bulk.data.all().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0, 1]);
    assert!(second < third);
}

#[tokio::test]
async fn damage_is_refused_and_left_as_it_is() {
    let (dir, log) = three_frames().await;
    let sound = fs::read(&log).expect("read");
    for (what, at) in [("in the middle", find(&sound, b'b')), ("in the last frame", find(&sound, b'c')), ("first", 2)] {
        let mut bad = sound.clone();
        bad[at + 7] ^= 1;
        fs::write(&log, &bad).expect("written");
        let error = open(dir.path()).map(|_| ()).expect_err(what);
        assert!(matches!(&error, StoreError::Damaged { .. }), "{what}: {error}");
        assert!(error.to_string().contains("log.1"), "{what}: {error}");
        assert_eq!(fs::read(&log).expect("read"), bad, "{what}");
    }
    fs::write(&log, &sound[..sound.len() - 1]).expect("written");
    assert!(matches!(open(dir.path()).map(|_| ()), Err(StoreError::Damaged { .. })));
    fs::rename(&log, home(dir.path()).join("log.2")).expect("renamed");
    let error = open(dir.path()).map(|_| ()).expect_err("the first log is missing");
    assert!(error.to_string().contains("a log is missing"), "{error}");
}

#[tokio::test]
async fn nothing_is_answered_for_after_the_store_was_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, bulk) = open(dir.path()).expect("fresh");
    store.close().await;
    assert!(bulk.log.ready().is_err());
    push(&bulk, 0, vec![1]);
    assert!(bulk.log.synced().await.is_err());
    // Closing twice is closing once.
    store.close().await;
}

/// How long the dump that is to be seen may take, in syncs.
const SYNCS_MAX: usize = 100_000;

#[tokio::test]
async fn dumps_replace_logs_while_records_come_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, bulk) = open(dir.path()).expect("fresh");
    for i in 0..40 {
        push(&bulk, i % PARTS, vec![i as u8; 1024 * 1024]);
        bulk.log.synced().await.expect("durable");
    }
    let dumped = home(dir.path()).join("dump.2");
    let mut syncs = 0;
    while !dumped.exists() {
        for part in 0..PARTS {
            push(&bulk, part, vec![syncs as u8; 3]);
        }
        bulk.log.synced().await.expect("durable");
        syncs += 1;
        assert!(syncs < SYNCS_MAX, "no dump");
    }
    let all = bulk.data.all();
    store.close().await;
    drop((store, bulk));
    assert!(!home(dir.path()).join("log.1").exists());
    let (store, bulk) = open(dir.path()).expect("sound");
    assert!(bulk.data.all() == all, "every record once and in order");
    drop((store, bulk));
    fs::remove_file(home(dir.path()).join("log.2")).expect("removed");
    assert!(open(dir.path()).is_err(), "a log is missing");
}
