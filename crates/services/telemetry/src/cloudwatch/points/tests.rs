//! The store of points as a whole: what it keeps, also on disk, and how it stays within its limits.

use standfast_core::{Scope, Timestamp};
use standfast_store::Store;
use standfast_store::bulk::Collection;

use super::*;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn scope() -> Scope {
    Scope::new("000000000000", "eu-west-1")
}

fn key(name: &str) -> Key {
    Key::new(&scope(), "N", name, [("d", "v")])
}

fn sample(at_ms: i64, value: f64) -> Sample {
    Sample { at: Timestamp(at_ms), unit: Unit::NONE, fine: false, values: Bucket::values(value, 1.0) }
}

/// Everything about a metric in the last hour, by the minute.
fn read(points: &Points, name: &str) -> Vec<(Unit, BTreeMap<i64, Bucket>)> {
    let end = NOW.0 / 1000 + 60;
    points.data.read(&key(name), Range { start: end - 3600, end, period: 60 }, NOW)
}

fn fill(points: &Points) {
    for i in 0..2000 {
        let name = format!("m{}", i % 50);
        let sample = sample(NOW.0 - i % 40 * 60_000, i as f64);
        points.data.put(&points.log, &key(&name), &sample, NOW).expect("there is room");
    }
}

#[tokio::test]
async fn points_are_the_same_after_a_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("fresh");
    let points = store.bulk::<Index>().expect("fresh");
    fill(&points);
    points.log.synced().await.expect("durable");
    let before: Vec<_> = (0..50).map(|i| read(&points, &format!("m{i}"))).collect();
    store.close().await;
    drop((store, points));
    let store = Store::open(dir.path()).expect("sound");
    let points = store.bulk::<Index>().expect("sound");
    let after: Vec<_> = (0..50).map(|i| read(&points, &format!("m{i}"))).collect();
    assert!(before.iter().all(|found| found.len() == 1) && before == after);
    // Metrics that come new after a start are told from those before it.
    let before = read(&points, "m1");
    fill(&points);
    points.data.put(&points.log, &key("new"), &sample(NOW.0, 1.0), NOW).expect("there is room");
    assert_eq!(read(&points, "new")[0].1.values().map(|b| b.sum).sum::<f64>(), 1.0);
    assert_ne!(read(&points, "m1"), before);
}

#[test]
fn a_dump_and_what_came_after_it_give_the_whole() {
    let (live, again) = (Index::default(), Index::default());
    let points = Points { data: Arc::new(live), log: Store::memory().bulk::<Index>().expect("memory").log.clone() };
    fill(&points);
    for part in 0..PARTS {
        let mut sealed = 0;
        let dump = points.data.dump(part, &mut || sealed += 1);
        assert_eq!(sealed, 1);
        again.restore(part, &dump).expect("a dump");
        assert_eq!(again.part(part).size_bytes, points.data.part(part).size_bytes);
    }
    let again = Points { data: Arc::new(again), log: points.log.clone() };
    assert!((0..50).all(|i| read(&again, &format!("m{i}")) == read(&points, &format!("m{i}"))));
}

#[tokio::test]
async fn sealed_points_are_the_same_after_a_start_and_a_dump() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("fresh");
    let points = store.bulk::<Index>().expect("fresh");
    // A third of them late, so that blocks are opened again.
    for minute in (0..600).rev().map(|i| if i % 3 == 0 { 600 - i } else { i }) {
        let sample = sample(NOW.0 - minute * 60_000, minute as f64 / 8.0);
        points.data.put(&points.log, &key("long"), &sample, NOW).expect("there is room");
    }
    points.log.synced().await.expect("durable");
    let hours = |points: &Points| {
        let end = NOW.0 / 1000 + 60;
        points.data.read_merged(
            &key("long"),
            Range { start: end - 700 * 60, end, period: 60 },
            None,
            Detail::Spread,
            NOW,
        )
    };
    let before = hours(&points);
    let mut dump = Vec::new();
    let part = key("long").part(PARTS);
    dump.extend(points.data.dump(part, &mut || ()));
    store.close().await;
    drop((store, points));
    let store = Store::open(dir.path()).expect("sound");
    let again = store.bulk::<Index>().expect("sound");
    assert!(before.len() > 300 && hours(&again) == before);
    let restored = Points { data: Arc::new(Index::default()), log: again.log.clone() };
    restored.data.restore(part, &dump).expect("a dump");
    assert_eq!(hours(&restored), before);
}

/// What a month of a metric of a decimal with two digits a minute takes in a dump, in bytes: so that 694 of them, a million
/// points a day, stay far below 200 MB with as much in the log and in a dump that is being written.
const MONTH_BYTES_MAX: usize = 90_000;

#[test]
fn a_month_of_a_metric_is_small() {
    let mut series = Series::default();
    let start = NOW.0 / 1000;
    let noise = |minute: i64| ((minute as f64 * 12.9898).sin() * 43758.5453).fract().abs();
    for minute in 0..30 * 24 * 60 {
        let at = start + minute * 60;
        series.put(at, false, &Bucket::values((noise(minute) * 10_000.0).round() / 100.0, 1.0));
        if minute % 60 == 0 {
            series.age(at, 1);
        }
    }
    let mut dump = Vec::new();
    record::write_metric(&mut dump, 0, b"key", &[(Unit::NONE, series)]);
    assert!(dump.len() < MONTH_BYTES_MAX, "{}", dump.len());
}

#[test]
fn slots_are_used_again_and_a_replay_understands() {
    let index = Index::default();
    let define = |slot, key: &[u8]| {
        let mut record = Vec::new();
        record::write_define(&mut record, slot, key);
        index.replay(3, &record).expect("a record");
    };
    let put = |slot, value| {
        let mut record = Vec::new();
        let values = Bucket::values(value, 1.0);
        record::write_values(&mut record, slot, Unit::NONE, false, NOW.0 / 1000, &values);
        index.replay(3, &record)
    };
    define(0, b"a");
    put(0, 1.0).expect("a record");
    define(0, b"b");
    put(0, 2.0).expect("a record");
    define(1, b"a");
    assert_eq!(put(2, 1.0), None, "a slot that stands for nothing");
    let part = index.part(3);
    let newest = |key: &[u8]| part.slots[part.by_key[key] as usize].as_ref().map(|metric| metric.units.len());
    assert_eq!((newest(b"a"), newest(b"b"), part.by_key.len()), (Some(0), Some(1), 2));
}

#[test]
fn memory_is_bounded_and_old_points_go_first() {
    let store = Store::memory();
    let points = store.bulk::<Index>().expect("memory");
    let key = key("one");
    let part = key.part(PARTS);
    // Each minute has so many different values that it takes a thousand bytes.
    let values = (0..60).map(|v| Bucket::values(f64::from(v), 1.0));
    let wide = values.reduce(|mut a, b| (a.merge(&b), a).1).expect("not empty");
    let minutes = 14 * 24 * 60;
    for metric in 0..3 {
        for minute in (0..minutes).rev() {
            let at = Timestamp(NOW.0 - minute * 60_000);
            let values = wide.clone();
            let sample = Sample { at, unit: Unit(metric), fine: false, values };
            points.data.put(&points.log, &key, &sample, NOW).expect("there is room");
            assert!(points.data.part(part).size_bytes <= PART_BYTES_MAX + 4096);
        }
    }
    let end = NOW.0 / 1000 + 60;
    let sum = |range| {
        let found = points.data.read(&key, range, NOW);
        found.iter().flat_map(|(_, buckets)| buckets.values()).map(|bucket| bucket.count).sum::<f64>()
    };
    let hours = Range { start: end - end % 3600 - 15 * 24 * 3600, end, period: 3600 };
    assert_eq!(sum(hours), 60.0 * 3.0 * minutes as f64, "everything is still there by the hour");
    assert_eq!(sum(Range { start: end - 600, end, period: 60 }), 60.0 * 3.0 * 10.0, "and the last by the minute");
}

/// More metrics than there may be.
const FLOOD: usize = METRICS_MAX + 50_000;

#[test]
fn a_flood_of_metrics_is_throttled_and_known_metrics_go_on() {
    let store = Store::memory();
    let points = store.bulk::<Index>().expect("memory");
    let put = |name: &str| points.data.put(&points.log, &key(name), &sample(NOW.0, 1.0), NOW);
    put("known").expect("there is room");
    let refused = (0..FLOOD).filter(|i| put(&format!("m{i}")).is_err_and(|error| error.is("Throttling"))).count();
    assert!(refused >= FLOOD - METRICS_MAX, "{refused}");
    let known: usize = (0..PARTS).map(|part| points.data.part(part).by_key.len()).sum();
    let bytes: usize = (0..PARTS).map(|part| points.data.part(part).size_bytes).sum();
    assert!(known <= METRICS_MAX && bytes <= usize::from(PARTS) * PART_BYTES_MAX, "{known} {bytes}");
    put("known").expect("it is known");
}

#[test]
fn metrics_without_points_are_forgotten() {
    let store = Store::memory();
    let points = store.bulk::<Index>().expect("memory");
    let later = Timestamp(NOW.0 + 456 * 24 * 3600 * 1000);
    fill(&points);
    let known = |points: &Points| (0..PARTS).map(|part| points.data.part(part).by_key.len()).sum::<usize>();
    assert_eq!(known(&points), 50);
    for i in 0..200 {
        let sample = sample(later.0, 1.0);
        points.data.put(&points.log, &key(&format!("new{i}")), &sample, later).expect("there is room");
    }
    assert_eq!(known(&points), 200, "every part was swept on the way");
    let sizes = (0..PARTS).map(|part| points.data.part(part).size_bytes).sum::<usize>();
    assert_eq!(sizes, 200 * (METRIC_BYTES + Bucket::values(1.0, 1.0).size_bytes()));
}
