//! What can be wrong with a store on disk or with a record in it. Callers of transactions see `standfast_core::Error`.

use std::io;
use std::path::PathBuf;

/// A store that cannot be opened, or a record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },

    #[error(
        "{} is not a Standfast data directory: {what}. Nothing was changed. Choose an empty directory with --data.",
        path.display()
    )]
    Foreign { path: PathBuf, what: String },

    #[error(
        "{} was written in store format {found}, and this program reads format {known}. Nothing was changed. Use the \
         version of Standfast that wrote it, or another directory with --data.",
        path.display()
    )]
    Format { path: PathBuf, found: String, known: String },

    #[error("{} is in use by another process{}. Stop it, or use another directory with --data.", path.display(), holder(*pid))]
    InUse { path: PathBuf, pid: Option<u32> },

    #[error(
        "the store in {} is damaged: {what}. Nothing was changed. Restore the directory from a copy, or move it away \
         and start anew.",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },

    #[error("what the storage engine holds does not fit together: {0}")]
    Unsound(String),

    #[error("table '{table}' has a record of version {from}, and there is no way from it to version {to}")]
    Version { table: &'static str, from: u32, to: u32 },

    #[error("cannot read record '{id}' of table '{table}': {what}")]
    Record { table: &'static str, id: String, what: String },

    #[error("the storage engine cannot {action}: {what}")]
    Engine { action: &'static str, what: String },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
