//! Where the workspace is, and file access whose errors name the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout that this xtask was built from.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub root: PathBuf,
}

impl Workspace {
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask stands in no workspace")?;
        Ok(Self { root: root.to_owned() })
    }

    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Everything below this folder is generated.
    pub fn api(&self) -> PathBuf {
        self.root.join("crates/api")
    }

    /// A path as findings print it: relative to the root.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file, and the folders above it.
pub fn write(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().with_context(|| format!("{} has no folder", path.display()))?;
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

/// All files below a folder, sorted; none when it does not exist. Hidden folders and `target` are passed over.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
            let kind = entry.file_type().with_context(|| format!("listing {}", folder.display()))?;
            let name = entry.file_name();
            let passed_over = name == "target" || name.to_string_lossy().starts_with('.');
            if kind.is_dir() && !passed_over {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
