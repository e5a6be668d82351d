//! Unpacks root file systems that people bring: a tarball (plain or gzip), or an OCI layout directory.
//!
//! The result is one tree with shifted ids. Left out: device nodes, sockets and pipes, and extended attributes (file
//! capabilities among them). Invariant: nothing outside the tree is written, whatever the archive says: every path is
//! resolved within the tree, and no step through a link that leads out of it is taken.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::store::gone;
use crate::linux::ids;

/// The most entries, and bytes of files, of an image.
const ENTRIES_MAX: u64 = 4_000_000;
const BYTES_MAX: u64 = 256 << 30;

/// The most layers of an OCI image, indexes within indexes, and bytes of a document of one.
const LAYERS_MAX: usize = 256;
const INDEX_DEPTH_MAX: usize = 4;
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// Names by which a layer of an OCI image says that what lies below is hidden.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks `from` to `to`, which must not exist. Gives whether it is a whole root file system.
pub fn unpack(from: &Path, to: &Path) -> io::Result<bool> {
    let from = from.canonicalize().map_err(|error| named(from, &error))?;
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    chown(to, Some(ids::SHIFT), Some(ids::SHIFT))?;
    let mut import = Import { tree: to.canonicalize()?, entries: 0, bytes: 0 };
    if from.is_dir() {
        for layer in oci_layers(&from)? {
            import.archive(&layer)?;
        }
    } else {
        import.archive(&from)?;
    }
    // Links count as well: `bin` is one to `usr/bin` almost everywhere.
    Ok(["bin/sh", "usr/bin/sh"].iter().any(|shell| to.join(shell).symlink_metadata().is_ok()))
}

struct Import {
    tree: PathBuf,
    entries: u64,
    bytes: u64,
}

impl Import {
    fn archive(&mut self, path: &Path) -> io::Result<()> {
        self.entries_of(decompressed(path)?).map_err(|error| named(path, &error))
    }

    fn entries_of(&mut self, content: Box<dyn Read>) -> io::Result<()> {
        let mut archive = Archive::new(content);
        archive.set_preserve_permissions(true);
        archive.set_preserve_mtime(true);
        archive.set_overwrite(true);
        for entry in archive.entries()? {
            let mut entry = entry?;
            self.entries += 1;
            self.bytes = self.bytes.saturating_add(entry.size());
            if self.entries > ENTRIES_MAX || self.bytes > BYTES_MAX {
                return Err(io::Error::other("it is larger than an image may be"));
            }
            let path = entry.path()?.into_owned();
            let Some(target) = self.inside(&path)? else { continue };
            if self.whiteout(&target)? {
                continue;
            }
            let kind = entry.header().entry_type();
            if !matches!(
                kind,
                EntryType::Regular
                    | EntryType::Continuous
                    | EntryType::GNUSparse
                    | EntryType::Directory
                    | EntryType::Symlink
                    | EntryType::Link
            ) {
                continue;
            }
            make_room(&target, kind)?;
            if entry.unpack_in(&self.tree)? {
                own(&target, kind, entry.header())?;
            }
        }
        Ok(())
    }

    /// Where an archive's path is: its directory resolved, within the tree. `None` for the tree itself.
    fn inside(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let mut within = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => within.push(name),
                Component::CurDir | Component::RootDir => {}
                _ => return Err(io::Error::other(format!("the path {} leads out of it", path.display()))),
            }
        }
        let Some(name) = within.file_name() else { return Ok(None) };
        let parent = self.tree.join(within.parent().unwrap_or(Path::new("")));
        match parent.canonicalize() {
            Ok(parent) if parent.starts_with(&self.tree) => Ok(Some(parent.join(name))),
            Ok(_) => Err(io::Error::other(format!("the path {} leads out of it", path.display()))),
            // Directories that the archive does not name are made when it is unpacked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.directories(within.parent().unwrap_or(Path::new("")))?;
                self.inside(path)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the directories of a path that are missing; one that is a link to nowhere is an error.
    fn directories(&self, path: &Path) -> io::Result<()> {
        let mut at = self.tree.clone();
        for name in path {
            at.push(name);
            match at.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&at)?;
                    chown(&at, Some(ids::SHIFT), Some(ids::SHIFT))?;
                }
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    at = at.canonicalize().map_err(|error| named(&at, &error))?;
                    if !at.starts_with(&self.tree) {
                        return Err(io::Error::other(format!("the path {} leads out of it", path.display())));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Obeys an entry that hides what earlier layers have; false when it is not one.
    fn whiteout(&self, target: &Path) -> io::Result<bool> {
        let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parent = target.parent().unwrap_or(&self.tree);
        if name == OPAQUE {
            for entry in fs::read_dir(parent)? {
                remove(&entry?.path())?;
            }
            return Ok(true);
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|hidden| !matches!(*hidden, "" | "." | "..")) else {
            return Ok(false);
        };
        remove(&parent.join(hidden))?;
        Ok(true)
    }
}

/// Removes what a later entry replaces by something of another kind. A directory stays, for it is merged.
fn make_room(target: &Path, kind: EntryType) -> io::Result<()> {
    match target.symlink_metadata() {
        Ok(meta) if meta.is_dir() && kind == EntryType::Directory => Ok(()),
        Ok(_) => remove(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        _ => gone(fs::remove_file(path)),
    }
}

/// Gives an entry its owner, and again its mode, of which a change of owner clears the special bits.
fn own(target: &Path, kind: EntryType, header: &tar::Header) -> io::Result<()> {
    if kind == EntryType::Link {
        return Ok(());
    }
    let id = |id: u64| ids::shifted(u32::try_from(id).unwrap_or(ids::NOBODY));
    lchown(target, Some(id(header.uid()?)), Some(id(header.gid()?)))?;
    if kind != EntryType::Symlink {
        fs::set_permissions(target, fs::Permissions::from_mode(header.mode()? & 0o7777))?;
    }
    Ok(())
}

fn decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path).map_err(|error| named(path, &error))?);
    let mut magic = [0; 4];
    let read = file.read(&mut magic)?;
    file.rewind()?;
    match &magic[..read] {
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(named(path, &"it is compressed with zstd; only gzip is understood")),
        [0xfd, b'7', b'z', ..] => Err(named(path, &"it is compressed with xz; only gzip is understood")),
        [b'B', b'Z', b'h', ..] => Err(named(path, &"it is compressed with bzip2; only gzip is understood")),
        _ => Ok(Box::new(file)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// The layers' files of the image in an OCI layout, the lowest first. Of several, the first for this machine.
fn oci_layers(layout: &Path) -> io::Result<Vec<PathBuf>> {
    if !layout.join("oci-layout").is_file() {
        return Err(named(layout, &"it is neither a tarball nor an OCI layout directory"));
    }
    let mut document = read_document(&layout.join("index.json"))?;
    for _ in 0..INDEX_DEPTH_MAX {
        if document.manifests.is_empty() {
            break;
        }
        let chosen = document.manifests.iter().find(|manifest| manifest.platform.as_ref().is_none_or(is_ours));
        let chosen = chosen.ok_or_else(|| named(layout, &"it has no image for this machine"))?;
        document = read_document(&blob(layout, &chosen.digest)?)?;
    }
    if document.layers.is_empty() || document.layers.len() > LAYERS_MAX {
        return Err(named(layout, &"its image has no layers, or too many"));
    }
    document.layers.iter().map(|layer| blob(layout, &layer.digest)).collect()
}

fn is_ours(platform: &Platform) -> bool {
    let ours = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    platform.os == "linux" && platform.architecture == ours
}

/// The file of a blob, whose content is what its name says.
fn blob(layout: &Path, digest: &str) -> io::Result<PathBuf> {
    let hash =
        digest.strip_prefix("sha256:").filter(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    let hash = hash.ok_or_else(|| named(layout, &format!("the digest {digest} is not understood")))?;
    let path = layout.join("blobs/sha256").join(hash);
    let mut file = File::open(&path).map_err(|error| named(&path, &error))?;
    let mut digest = Sha256::new();
    io::copy(&mut file, &mut digest)?;
    if hex::encode(digest.finalize()) != hash {
        return Err(named(&path, &"its content is not what its name says"));
    }
    Ok(path)
}

fn read_document(path: &Path) -> io::Result<Document> {
    let file = File::open(path).map_err(|error| named(path, &error))?;
    serde_json::from_reader(file.take(DOCUMENT_BYTES_MAX)).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
