//! Takes the steps that `plan` decides on. Runs on blocking threads; holds the state's lock only to read and to record.
//!
//! Invariant: a step records its outcome, failure included, so that it is not planned again for the same reason. What is
//! only tidying (a detach, a removal) counts as done when it fails; the next start does the rest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use standfast_core::host::{HostSnapshot, SnapshotSpec, VolumeSpec};
use standfast_core::id::{self, Id};

use super::device::Device;
use super::plan::Step;
use super::state::{Mounted, State, Volume};
use super::store::{Layers, SnapshotRecord, VolumeRecord};
use super::{Inner, chunks, idmap, import, machine, resize, tree};
use crate::linux::ids;

const GIBIBYTE: u64 = 1 << 30;

/// How large a file is in GiB, as its volume's size.
pub fn gibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes / GIBIBYTE).unwrap_or(u32::MAX)
}

pub fn take(volumes: &Inner, step: &Step, wanted: &HostSnapshot) {
    match step {
        Step::Make(id) => make(volumes, id, wanted),
        Step::Grow(id) => grow(volumes, id, wanted),
        Step::Delete(id) => delete(volumes, id),
        Step::Mount(id) => mount(volumes, id, wanted),
        Step::Unmount(id) => unmount(volumes, id),
        Step::Enter(id) => enter(volumes, id),
        Step::Pause(id, paused) => pause(volumes, id, *paused),
        Step::Snapshot(id) => snapshot(volumes, id, wanted),
        Step::Forget(id) => forget(volumes, id),
        Step::Collect => collect(volumes),
    }
}

fn failed(what: &str, id: &str, error: &io::Error) {
    eprintln!("level=error event={what}_failed id={id} error={error:?}");
}

fn make(volumes: &Inner, id: &Id<id::Volume>, wanted: &HostSnapshot) {
    let Some(spec) = wanted.volumes.get(id) else { return };
    let made = from(volumes, spec).and_then(|from| match made(volumes, id, spec, from) {
        Err(error) => {
            let _ = volumes.store.remove_volume(id);
            Err(error)
        }
        made => made,
    });
    let volume = match made {
        Ok(record) => Volume { made: Some(record), size_gib: spec.size_gib, ..Volume::default() },
        Err(error) => {
            failed("volume", id, &error);
            Volume { failed: Some(error.to_string()), ..Volume::default() }
        }
    };
    volumes.state().volumes.insert(id.clone(), volume);
}

/// What the volume begins as.
fn from(volumes: &Inner, spec: &VolumeSpec) -> io::Result<Option<SnapshotRecord>> {
    let Some(id) = &spec.from else { return Ok(None) };
    snapshot_record(volumes, id).map(Some)
}

fn snapshot_record(volumes: &Inner, id: &Id<id::Snapshot>) -> io::Result<SnapshotRecord> {
    match volumes.state().snapshots.get(id) {
        Some(Ok(record)) => Ok(record.clone()),
        Some(Err(reason)) => Err(io::Error::other(format!("the snapshot {id} could not be made: {reason}"))),
        None => Err(io::Error::other(format!("the snapshot {id} does not exist"))),
    }
}

fn made(
    volumes: &Inner,
    id: &Id<id::Volume>,
    spec: &VolumeSpec,
    from: Option<SnapshotRecord>,
) -> io::Result<VolumeRecord> {
    let store = &volumes.store;
    fs::create_dir_all(store.volume(id))?;
    let record = match (spec.root, from) {
        (true, None) => VolumeRecord::Root(Layers::default()),
        (true, Some(SnapshotRecord::Root(layers))) => VolumeRecord::Root(layers),
        (false, None) => {
            let size_bytes = u64::from(spec.size_gib) * GIBIBYTE;
            File::create(store.data(id))?.set_len(size_bytes)?;
            make_file_system(&store.data(id))?;
            VolumeRecord::Data
        }
        (false, Some(SnapshotRecord::Data(kept))) => {
            chunks::restore(store, &kept, &store.data(id))?;
            let size_bytes = kept.size_bytes.max(u64::from(spec.size_gib) * GIBIBYTE);
            File::options().write(true).open(store.data(id))?.set_len(size_bytes)?;
            VolumeRecord::Data
        }
        (true, Some(_)) => return Err(io::Error::other("the snapshot is not of a root volume")),
        (false, Some(_)) => return Err(io::Error::other("the snapshot is of a root volume, which is not a disk here")),
    };
    if spec.root {
        for name in ["tree", "work"] {
            let path = store.volume(id).join(name);
            fs::create_dir_all(&path)?;
            chown(&path, Some(ids::SHIFT), Some(ids::SHIFT))?;
        }
    }
    store.write_volume(id, &record)?;
    Ok(record)
}

fn make_file_system(path: &Path) -> io::Result<()> {
    let options = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0";
    resize::run("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", options], path, 0)
}

fn grow(volumes: &Inner, id: &Id<id::Volume>, wanted: &HostSnapshot) {
    let Some(spec) = wanted.volumes.get(id) else { return };
    let device = device(volumes, id);
    let grown = File::options().write(true).open(volumes.store.data(id)).and_then(|file| {
        file.set_len(u64::from(spec.size_gib) * GIBIBYTE)?;
        device.map_or(Ok(()), |device| device.grow(&volumes.store.data(id)))
    });
    if let Some(volume) = volumes.state().volumes.get_mut(id) {
        match grown {
            Ok(()) => volume.size_gib = spec.size_gib,
            Err(error) => {
                failed("grow", id, &error);
                volume.failed = Some(error.to_string());
            }
        }
    }
}

fn device(volumes: &Inner, id: &Id<id::Volume>) -> Option<Arc<Device>> {
    Some(volumes.state().volumes.get(id)?.mounted.as_ref()?.device.clone())
}

fn delete(volumes: &Inner, id: &Id<id::Volume>) {
    let removed = volumes.store.remove_volume(id);
    let mut state = volumes.state();
    match removed {
        Ok(()) => drop(state.volumes.remove(id)),
        Err(error) => {
            failed("delete", id, &error);
            if let Some(volume) = state.volumes.get_mut(id) {
                volume.stuck = true;
            }
        }
    }
    state.garbage = true;
}

fn mount(volumes: &Inner, id: &Id<id::Volume>, wanted: &HostSnapshot) {
    let Some((instance, device_name)) = wanted.volumes.get(id).and_then(|spec| spec.attached.clone()) else { return };
    let opened = match machine::short_name(&device_name) {
        Some(_) => Device::open(&volumes.store.data(id)),
        None => Err(io::Error::other(format!("{device_name} is not the name of a device"))),
    };
    if let Some(volume) = volumes.state().volumes.get_mut(id) {
        match opened {
            Ok(device) => {
                let device = Arc::new(device);
                volume.mounted = Some(Mounted { instance, device_name, device, inside: None, paused: false });
            }
            Err(error) => {
                failed("attach", id, &error);
                volume.refused = Some((instance, device_name));
            }
        }
    }
}

fn unmount(volumes: &Inner, id: &Id<id::Volume>) {
    let (mounted, init) = {
        let mut state = volumes.state();
        let Some(mounted) = state.volumes.get_mut(id).and_then(|volume| volume.mounted.take()) else { return };
        let machine = state.machines.get(&mounted.instance);
        let init = machine.filter(|machine| mounted.inside == Some(machine.boot)).map(|machine| machine.init.clone());
        (mounted, init)
    };
    // Frozen, it could not be unmounted.
    let thawed = mounted.device.thaw();
    let short = machine::short_name(&mounted.device_name).unwrap_or_default();
    let detached = init.map_or(Ok(()), |init| machine::detach(init.as_fd(), short));
    if let Err(error) = thawed.and(detached).and(mounted.device.sync()) {
        failed("detach", id, &error);
    }
}

fn enter(volumes: &Inner, id: &Id<id::Volume>) {
    let found = {
        let state = volumes.state();
        state.volumes.get(id).and_then(|volume| volume.mounted.as_ref()).and_then(|mounted| {
            let machine = state.machines.get(&mounted.instance)?;
            Some((mounted.device.clone(), mounted.device_name.clone(), machine.init.clone(), machine.boot))
        })
    };
    let Some((device, device_name, init, boot)) = found else { return };
    let short = machine::short_name(&device_name).unwrap_or_default();
    let shown = device.mount().and_then(|mount| {
        idmap::map(&mount, &volumes.user_namespace)?;
        machine::attach(init.as_fd(), &mount, short)
    });
    let mut state = volumes.state();
    let State { volumes, machines, .. } = &mut *state;
    let Some(volume) = volumes.get_mut(id) else { return };
    match (shown, &mut volume.mounted) {
        (Ok(()), Some(mounted)) => mounted.inside = Some(boot),
        // The machine ended meanwhile: that says nothing of its next boot.
        (Err(_), Some(mounted)) if machines.get(&mounted.instance).is_none_or(|machine| machine.boot != boot) => {}
        (Err(error), Some(mounted)) => {
            failed("enter", id, &error);
            volume.refused = Some((mounted.instance.clone(), device_name));
        }
        (_, None) => {}
    }
}

/// Writes are held by a freeze, reads by the instance's limits, which follow from the state (see `Volumes::limits`). Reads go
/// on first: one that hangs may hold what the thaw needs.
fn pause(volumes: &Inner, id: &Id<id::Volume>, paused: bool) {
    let Some(device) = device(volumes, id) else { return };
    if !paused {
        if let Some(mounted) = volumes.state().volumes.get_mut(id).and_then(|volume| volume.mounted.as_mut()) {
            mounted.paused = false;
        }
        volumes.changes.send_modify(|count| *count += 1);
    }
    let done = if paused { device.freeze().map(drop) } else { device.thaw() };
    if let Err(error) = done {
        failed("pause", id, &error);
    }
    if !paused {
        return;
    }
    let mut state = volumes.state();
    let State { volumes, machines, .. } = &mut *state;
    let Some(mounted) = volumes.get_mut(id).and_then(|volume| volume.mounted.as_mut()) else { return };
    // The instance may have left while its volume was being frozen: then nobody else thaws it.
    mounted.paused = machines.contains_key(&mounted.instance);
    if !mounted.paused {
        let _ = device.thaw();
    }
}

fn snapshot(volumes: &Inner, id: &Id<id::Snapshot>, wanted: &HostSnapshot) {
    let Some(spec) = wanted.snapshots.get(id) else { return };
    let made = snapshot_of(volumes, id, spec).and_then(|record| {
        volumes.store.write_snapshot(id, &record)?;
        Ok(record)
    });
    let mut state = volumes.state();
    if let Err(error) = &made {
        failed("snapshot", id, error);
        state.garbage = true;
    }
    state.snapshots.insert(id.clone(), made.map_err(|error| error.to_string()));
}

fn snapshot_of(volumes: &Inner, id: &Id<id::Snapshot>, spec: &SnapshotSpec) -> io::Result<SnapshotRecord> {
    let store = &volumes.store;
    match spec {
        SnapshotSpec::CopyOf(other) => snapshot_record(volumes, other),
        SnapshotSpec::Import(path) => {
            let layer = empty_layer(volumes, id)?;
            let whole = import::unpack(path, &layer)?;
            Ok(SnapshotRecord::Root(Layers { names: vec![id.to_string()], whole }))
        }
        SnapshotSpec::OfVolume(volume) => {
            let made = volumes.state().volumes.get(volume).and_then(|volume| volume.made.clone());
            match made {
                None => Err(io::Error::other(format!("the volume {volume} does not exist"))),
                Some(VolumeRecord::Root(mut layers)) => {
                    tree::copy(&store.volume(volume).join("tree"), &empty_layer(volumes, id)?)?;
                    layers.names.insert(0, id.to_string());
                    Ok(SnapshotRecord::Root(layers))
                }
                Some(VolumeRecord::Data) => data_snapshot(volumes, volume).map(SnapshotRecord::Data),
            }
        }
    }
}

/// The place of the snapshot's own layer, with nothing there.
fn empty_layer(volumes: &Inner, id: &Id<id::Snapshot>) -> io::Result<PathBuf> {
    let path = volumes.store.layer(id);
    super::store::gone(fs::remove_dir_all(&path))?;
    Ok(path)
}

/// Writes wait as long as it takes: without that the file would not be of one moment.
fn data_snapshot(volumes: &Inner, volume: &Id<id::Volume>) -> io::Result<super::store::Chunks> {
    let device = device(volumes, volume);
    let frozen = device.as_ref().map_or(Ok(false), |device| device.freeze())?;
    let kept = chunks::keep(&volumes.store, &volumes.store.data(volume));
    if let Some(device) = device.filter(|_| frozen) {
        device.thaw()?;
    }
    kept
}

fn forget(volumes: &Inner, id: &Id<id::Snapshot>) {
    if let Err(error) = volumes.store.remove_snapshot(id) {
        failed("delete", id, &error);
    }
    let mut state = volumes.state();
    state.snapshots.remove(id);
    state.garbage = true;
}

fn collect(volumes: &Inner) {
    let (mut layers, mut chunks) = (BTreeSet::new(), BTreeSet::new());
    {
        let mut state = volumes.state();
        state.garbage = false;
        for record in state.volumes.values().filter_map(|volume| volume.made.as_ref()) {
            if let VolumeRecord::Root(root) = record {
                layers.extend(root.names.iter().cloned());
            }
        }
        for record in state.snapshots.values().flatten() {
            match record {
                SnapshotRecord::Root(root) => layers.extend(root.names.iter().cloned()),
                SnapshotRecord::Data(data) => chunks.extend(data.chunks.values().cloned()),
            }
        }
    }
    if let Err(error) = volumes.store.collect(&layers, &chunks) {
        failed("collect", "", &error);
    }
}
