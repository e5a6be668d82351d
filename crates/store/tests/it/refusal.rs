//! A store that is not ours, is newer, is damaged or is in use is refused with a message that says what to do, and no
//! byte of it changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use standfast_store::{Store, StoreError};
use tempfile::TempDir;

use crate::pets::{Counter, Pet, pet, put, scope};

const WRITES: u64 = 60;

/// Names and contents of all files.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("a file")))
        .collect()
}

async fn filled() -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    let store = Store::open(dir.path()).expect("fresh");
    for n in 0..WRITES {
        let write = store.txn(|tx| {
            tx.put(&scope(), "n", Counter { n });
            tx.put(&scope(), &format!("p-{n}"), pet(&format!("rex {n}"), "dog"));
            Ok(())
        });
        write.await.expect("room on the disk");
    }
    store.close().await;
    dir
}

/// Opens what must be refused, twice; returns the error.
fn refused(dir: &Path, context: &str) -> StoreError {
    let before = tree(dir);
    let first = Store::open(dir).err().unwrap_or_else(|| panic!("{context}: opened"));
    let second = Store::open(dir).err().unwrap_or_else(|| panic!("{context}: opened the second time"));
    assert_eq!(first.to_string(), second.to_string(), "{context}");
    assert!(tree(dir) == before, "{context}: the directory has changed");
    let text = first.to_string();
    assert!(text.contains(&dir.display().to_string()), "{context}: {text}");
    first
}

#[tokio::test]
async fn a_directory_that_is_not_ours_is_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("thesis.txt"), "chapter one").expect("written");
    let error = refused(dir.path(), "a foreign file");
    assert!(matches!(error, StoreError::Foreign { .. }) && error.to_string().contains("thesis.txt"), "{error}");
    fs::write(dir.path().join("FORMAT"), "another program's\n").expect("written");
    assert!(matches!(refused(dir.path(), "a foreign FORMAT"), StoreError::Foreign { .. }));
    let file = dir.path().join("thesis.txt");
    assert!(Store::open(&file).is_err(), "a file is no directory");
}

#[tokio::test]
async fn an_unknown_format_is_refused() {
    let dir = filled().await;
    for (text, says) in [
        ("standfast store\nengine journal\nformat 2\n", "format 2"),
        ("standfast store\nengine lsm\nformat 1\n", "engine lsm"),
        ("standfast store\n", "store format"),
    ] {
        fs::write(dir.path().join("FORMAT"), text).expect("written");
        let error = refused(dir.path(), text);
        assert!(matches!(error, StoreError::Format { .. }), "{error}");
        assert!(error.to_string().contains(says) && error.to_string().contains("--data"), "{error}");
    }
}

#[tokio::test]
async fn flipped_bytes_anywhere_in_the_data_are_refused() {
    let dir = filled().await;
    let path = dir.path().join("journal.1");
    let sound = fs::read(&path).expect("a journal");
    let end = sound.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    for at in (0..end).step_by(11).chain([end - 1]) {
        let mut bad = sound.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).expect("written");
        let error = refused(dir.path(), &format!("byte {at}"));
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("journal.1") && error.to_string().contains("Restore"), "{error}");
    }
    fs::write(&path, &sound).expect("written");
    let store = Store::open(dir.path()).expect("sound again");
    assert_eq!(store.view(|v| v.count::<Pet>(&scope())), WRITES as usize);
}

#[tokio::test]
async fn truncated_and_missing_data_is_refused() {
    let dir = filled().await;
    let path = dir.path().join("journal.1");
    let sound = fs::read(&path).expect("a journal");
    for len in [0, 20, 1000, sound.len() / 2, sound.len() - 1] {
        fs::write(&path, &sound[..len]).expect("written");
        assert!(matches!(refused(dir.path(), &format!("cut to {len}")), StoreError::Damaged { .. }));
    }
    let mut hole = sound.clone();
    hole[2048..4096].fill(0);
    fs::write(&path, &hole).expect("written");
    assert!(matches!(refused(dir.path(), "a hole"), StoreError::Damaged { .. }));
    fs::remove_file(&path).expect("removed");
    assert!(matches!(refused(dir.path(), "no journal"), StoreError::Damaged { .. }));
}

#[tokio::test]
async fn a_torn_tail_is_what_a_crash_leaves_and_opens() {
    let dir = filled().await;
    let path = dir.path().join("journal.1");
    let store = Store::open(dir.path()).expect("ours");
    let large = "x".repeat(20_000);
    put(&store, &scope(), "large", pet("max", &large)).await.expect("room on the disk");
    store.close().await;
    let mut torn = fs::read(&path).expect("a journal");
    let end = torn.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    // A write that was killed stops at a page.
    torn[(end - 10_000) / 4096 * 4096..end].fill(0);
    fs::write(&path, &torn).expect("written");
    let store = Store::open(dir.path()).expect("a crash is no damage");
    assert_eq!(store.view(|v| v.get::<Counter>(&scope(), "n").expect("there").n), WRITES - 1);
    put(&store, &scope(), "n", Counter { n: 1000 }).await.expect("writable");
    drop(store);
    let store = Store::open(dir.path()).expect("the remains are gone");
    assert_eq!(store.view(|v| v.get::<Counter>(&scope(), "n").expect("there").n), 1000);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_free_after_close() {
    let dir = filled().await;
    let store = Store::open(dir.path()).expect("ours");
    let error = refused(dir.path(), "in use");
    assert!(matches!(error, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    store.close().await;
    let store = Store::open(dir.path()).expect("free after close");
    drop(store);
    assert!(Store::open(dir.path()).is_ok(), "free after the last clone is gone");
}

#[tokio::test]
async fn a_creation_that_was_cut_short_is_finished() {
    let sound = filled().await;
    let fresh = TempDir::new().expect("a temporary directory");
    let journal = fs::read(sound.path().join("journal.1")).expect("a journal");
    fs::write(fresh.path().join("journal.1.tmp"), &journal[..100]).expect("written");
    let store = Store::open(fresh.path()).expect("nothing was in it yet");
    drop(store);
    fs::rename(fresh.path().join("journal.1"), fresh.path().join("journal.1.tmp")).expect("renamed");
    let store = Store::open(fresh.path()).expect("nothing was in it yet");
    assert_eq!(store.view(|v| v.count::<Pet>(&scope())), 0);
}

#[tokio::test]
async fn a_replacement_that_was_cut_short_is_undone_or_finished() {
    let older = filled().await;
    let journal = fs::read(older.path().join("journal.1")).expect("a journal");
    let dir = filled().await;
    let fill = "x".repeat(100_000);
    let store = Store::open(dir.path()).expect("ours");
    let mut writes = 0;
    while dir.path().join("journal.1").exists() {
        assert!(writes < 1000, "the journal is replaced before it is this long");
        put(&store, &scope(), "large", pet(&fill, "cat")).await.expect("room on the disk");
        put(&store, &scope(), "large", pet("max", "cat")).await.expect("room on the disk");
        writes += 1;
    }
    store.close().await;
    // Cut before the draft got its name: it does not count.
    fs::write(dir.path().join("journal.3.tmp"), &journal[..1000]).expect("written");
    // Cut before the older journal was removed: the newer counts.
    fs::write(dir.path().join("journal.1"), &journal).expect("written");
    let store = Store::open(dir.path()).expect("a crash is no damage");
    assert_eq!(store.view(|v| v.count::<Pet>(&scope())), WRITES as usize + 1);
    store.close().await;
    assert_eq!(tree(dir.path()).keys().collect::<Vec<_>>(), ["FORMAT", "journal.2"]);
    // The older one is no way out when the newer is damaged: it would lose what was acknowledged since.
    fs::write(dir.path().join("journal.1"), &journal).expect("written");
    let mut bad = fs::read(dir.path().join("journal.2")).expect("a journal");
    bad[100] ^= 1;
    fs::write(dir.path().join("journal.2"), &bad).expect("written");
    assert!(matches!(refused(dir.path(), "a damaged newer journal"), StoreError::Damaged { .. }));
}
