//! Volumes and snapshots, on disk and in instances.
