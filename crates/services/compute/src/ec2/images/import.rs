//! Imports: a root file system on the machine of the cloud becomes a snapshot, and an image of it.
//!
//! AWS-DIFF: what is imported is named by a `file:` URL and is a tarball of a root file system or an OCI layout
//! directory; there is no S3 to read disk images from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id, Kind};
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::make;
use crate::ec2::errors::{self, Keyed, Resource};
use crate::ec2::filters::{self, Described, Field, Paging};
use crate::ec2::model::{Image, ImageDevice, ImageSource, ImportTask, Snapshot, SnapshotSource, SnapshotState, Tags};
use crate::ec2::snapshots::NO_VOLUME;
use crate::ec2::{defaults, tags};

/// The device and the size of an imported root file system, which says neither.
const ROOT_DEVICE: &str = "/dev/xvda";
const SIZE_GIB: i32 = 8;
const BOUNDS: (i32, i32) = (1, 1000);

/// The id of an import: `import-ami-...` when it makes an image, else `import-snap-...`.
pub struct ImageTask;
impl Kind for ImageTask {
    const PREFIX: &'static str = "import-ami";
}
impl Resource for ImageTask {
    const NOT_FOUND: &'static str = "InvalidConversionTaskId";
    const MALFORMED: &'static str = "InvalidConversionTaskId.Malformed";
    const NOUN: &'static str = "import task";
}
impl Keyed for ImportTask {
    type Kind = ImageTask;
}

pub struct SnapshotTask;
impl Kind for SnapshotTask {
    const PREFIX: &'static str = "import-snap";
}
impl Resource for SnapshotTask {
    const NOT_FOUND: &'static str = ImageTask::NOT_FOUND;
    const MALFORMED: &'static str = ImageTask::MALFORMED;
    const NOUN: &'static str = ImageTask::NOUN;
}

/// The path that a URL names, of the machine: it is not for instances to read.
fn path(cx: &Cx, url: Option<&str>, has_bucket: bool) -> Result<(String, PathBuf)> {
    if cx.from_instance() {
        let message = "Files are imported by callers outside of instances, over IPv4.";
        return Err(Error::client("UnauthorizedOperation", message).with_status(403));
    }
    if has_bucket {
        return Err(Error::client(
            "UnsupportedOperation",
            "There is no S3 here: name a file by a Url of the form 'file:///...'.",
        ));
    }
    let url = errors::required(url.filter(|url| !url.is_empty()), "DiskContainer.Url")?;
    let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| {
        errors::invalid(format!(
            "Value ({url}) for parameter Url is invalid. Only URLs of the form 'file:///...' are supported."
        ))
    })?;
    Ok((url.to_owned(), PathBuf::from(path)))
}

/// What an import makes first.
struct Import {
    snapshot: Id<id::Snapshot>,
    url: String,
    path: PathBuf,
    format: String,
    description: String,
    encrypted: bool,
    kms_key: Option<String>,
    now: Timestamp,
}

impl Import {
    fn put_snapshot(&self, tx: &mut Txn, scope: &Scope, task: &str) {
        let snapshot = Snapshot {
            source: SnapshotSource::Import(self.path.clone()),
            volume: NO_VOLUME.to_owned(),
            size_gib: SIZE_GIB,
            encrypted: self.encrypted,
            kms_key: self.kms_key.clone(),
            description: format!("Created by Standfast-VMImport service for {task}"),
            started: self.now,
            state: SnapshotState::Pending,
            root: true,
            shared_with: BTreeSet::new(),
        };
        tx.put(scope, &self.snapshot, snapshot);
    }

    fn task(&self, image: Option<Id<id::Image>>, architecture: &str) -> ImportTask {
        ImportTask {
            description: self.description.clone(),
            format: self.format.clone(),
            url: self.url.clone(),
            snapshot: self.snapshot.clone(),
            image,
            architecture: architecture.to_owned(),
        }
    }
}

fn put_task<K: Resource>(tx: &mut Txn, scope: &Scope, id: &Id<K>, task: ImportTask, given: &Tags) {
    tags::put(tx, scope, id, given);
    tx.put(scope, id, task);
}

pub async fn image(cx: Cx, input: api::ImportImageInput) -> Result<api::ImportImageOutput> {
    defaults::ready(&cx).await?;
    let architecture = make::architecture(input.architecture.as_deref())?;
    let [container] = input.disk_containers.as_deref().unwrap_or_default() else {
        return Err(errors::invalid("Exactly one disk container is supported: a root file system."));
    };
    let (url, path) = path(&cx, container.url.as_deref(), container.user_bucket.is_some())?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "import-image-task", &[])?;
    let import = Import {
        snapshot: Id::new(cx.rng()),
        url,
        path,
        format: container.format.clone().unwrap_or_else(|| "TAR".into()).to_uppercase(),
        description: input.description.clone().unwrap_or_default(),
        encrypted: input.encrypted == Some(true),
        kms_key: input.kms_key_id.clone(),
        now: cx.now(),
    };
    let (scope, id, image_id) = (cx.scope(), Id::<ImageTask>::new(cx.rng()), Id::<id::Image>::new(cx.rng()));
    cx.txn(|tx| {
        errors::dry_run(input.dry_run)?;
        import.put_snapshot(tx, scope, &id);
        let root = ImageDevice {
            name: ROOT_DEVICE.into(),
            snapshot: Some(import.snapshot.to_string()),
            size_gib: SIZE_GIB,
            volume_type: "gp3".into(),
            iops: None,
            throughput: None,
            encrypted: import.encrypted,
            delete_on_termination: true,
        };
        let image = Image {
            description: import.description.clone(),
            architecture: architecture.to_owned(),
            root_device: ROOT_DEVICE.into(),
            boot_mode: input.boot_mode.clone(),
            ..make::new(&id, vec![root], ImageSource::Imported, import.now)
        };
        tx.put(scope, &image_id, image);
        put_task(tx, scope, &id, import.task(Some(image_id.clone()), architecture), &given);
        let shape = image_task(tx, scope, &id, &import.task(Some(image_id.clone()), architecture));
        Ok(api::ImportImageOutput {
            architecture: shape.architecture,
            description: shape.description,
            encrypted: shape.encrypted,
            hypervisor: shape.hypervisor,
            image_id: shape.image_id,
            import_task_id: shape.import_task_id,
            license_type: shape.license_type,
            platform: shape.platform,
            progress: shape.progress,
            snapshot_details: shape.snapshot_details,
            status: shape.status,
            status_message: shape.status_message,
            tags: shape.tags,
            ..Default::default()
        })
    })
    .await
}

pub async fn snapshot(cx: Cx, input: api::ImportSnapshotInput) -> Result<api::ImportSnapshotOutput> {
    defaults::ready(&cx).await?;
    let container = errors::required(input.disk_container.as_ref(), "DiskContainer")?;
    let (url, path) = path(&cx, container.url.as_deref(), container.user_bucket.is_some())?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "import-snapshot-task", &[])?;
    let import = Import {
        snapshot: Id::new(cx.rng()),
        url,
        path,
        format: container.format.clone().unwrap_or_else(|| "TAR".into()).to_uppercase(),
        description: input.description.clone().unwrap_or_default(),
        encrypted: input.encrypted == Some(true),
        kms_key: input.kms_key_id.clone(),
        now: cx.now(),
    };
    let (scope, id) = (cx.scope(), Id::<SnapshotTask>::new(cx.rng()));
    cx.txn(|tx| {
        errors::dry_run(input.dry_run)?;
        import.put_snapshot(tx, scope, &id);
        let task = import.task(None, "");
        put_task(tx, scope, &id, task.clone(), &given);
        let shape = snapshot_task(tx, scope, &id, &task);
        Ok(api::ImportSnapshotOutput {
            description: shape.description,
            import_task_id: shape.import_task_id,
            snapshot_task_detail: shape.snapshot_task_detail,
            tags: shape.tags,
        })
    })
    .await
}

/// How far an import is, and why it is not further: its snapshot says.
fn status(view: &View, scope: &Scope, task: &ImportTask) -> (&'static str, Option<String>, Option<String>) {
    match view.get::<Snapshot>(scope, &task.snapshot).map(|snapshot| snapshot.state.clone()) {
        Some(SnapshotState::Pending) => ("active", Some("0".into()), Some("converting".into())),
        Some(SnapshotState::Failed(why)) => ("deleted", None, Some(format!("ClientError: {why}"))),
        // The snapshot may have been deleted since.
        Some(SnapshotState::Completed(_)) | None => ("completed", None, None),
    }
}

fn image_task(view: &View, scope: &Scope, id: &str, task: &ImportTask) -> api::ImportImageTask {
    let (status, progress, message) = status(view, scope, task);
    let detail = api::SnapshotDetail {
        device_name: Some(ROOT_DEVICE.into()),
        format: Some(task.format.clone()),
        snapshot_id: Some((&task.snapshot).into()),
        status: Some(status.into()),
        url: Some(task.url.clone()),
        ..Default::default()
    };
    api::ImportImageTask {
        architecture: Some(task.architecture.clone()),
        description: Some(task.description.clone()),
        encrypted: view.get::<Snapshot>(scope, &task.snapshot).map(|snapshot| snapshot.encrypted),
        hypervisor: Some(String::new()),
        image_id: task.image.as_ref().map(String::from),
        import_task_id: Some(id.to_owned()),
        license_type: Some("BYOL".into()),
        platform: Some("Linux".into()),
        progress,
        snapshot_details: Some(vec![detail]),
        status: Some(status.into()),
        status_message: message,
        tags: tags::of(view, scope, id),
        ..Default::default()
    }
}

fn snapshot_task(view: &View, scope: &Scope, id: &str, task: &ImportTask) -> api::ImportSnapshotTask {
    let (status, progress, message) = status(view, scope, task);
    let snapshot = view.get::<Snapshot>(scope, &task.snapshot);
    api::ImportSnapshotTask {
        description: Some(task.description.clone()),
        import_task_id: Some(id.to_owned()),
        snapshot_task_detail: Some(api::SnapshotTaskDetail {
            description: Some(task.description.clone()),
            encrypted: snapshot.as_ref().map(|snapshot| snapshot.encrypted),
            format: Some(task.format.clone()),
            progress,
            snapshot_id: Some((&task.snapshot).into()),
            status: Some(status.into()),
            status_message: message,
            url: Some(task.url.clone()),
            ..Default::default()
        }),
        tags: tags::of(view, scope, id),
    }
}

/// The imports of these ids, or all, of those that make an image or of the others.
fn select<K: Resource, T>(
    cx: &Cx,
    ids: Option<&Vec<String>>,
    images: bool,
    shape: fn(&View, &Scope, &str, &ImportTask) -> T,
) -> Result<Vec<T>> {
    cx.view(|view| {
        let mut tasks = view.list::<ImportTask>(cx.scope());
        tasks.retain(|(_, task)| task.image.is_some() == images);
        if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
            for text in ids {
                let id = errors::id::<K>(text)?;
                if !tasks.iter().any(|(known, _)| **known == *id) {
                    return Err(errors::not_found::<K>(text));
                }
            }
            tasks.retain(|(known, _)| ids.iter().any(|id| **known == **id));
        }
        Ok(tasks.iter().map(|(id, task)| shape(view, cx.scope(), id, task)).collect())
    })
}

pub async fn describe_image_tasks(
    cx: Cx,
    input: api::DescribeImportImageTasksInput,
) -> Result<api::DescribeImportImageTasksOutput> {
    let rows = select::<ImageTask, _>(&cx, input.import_task_ids.as_ref(), true, image_task)?;
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (tasks, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeImportImageTasksOutput { import_image_tasks: Some(tasks), next_token })
}

pub async fn describe_snapshot_tasks(
    cx: Cx,
    input: api::DescribeImportSnapshotTasksInput,
) -> Result<api::DescribeImportSnapshotTasksOutput> {
    let rows = select::<SnapshotTask, _>(&cx, input.import_task_ids.as_ref(), false, snapshot_task)?;
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (tasks, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeImportSnapshotTasksOutput { import_snapshot_tasks: Some(tasks), next_token })
}

impl Described for api::ImportImageTask {
    const FIELDS: &'static [Field<Self>] = &[("task-state", |task| filters::one(&task.status))];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.import_task_id.clone().unwrap_or_default()
    }
}

impl Described for api::ImportSnapshotTask {
    const FIELDS: &'static [Field<Self>] = &[("task-state", |task| {
        task.snapshot_task_detail.iter().flat_map(|detail| filters::one(&detail.status)).collect()
    })];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.import_task_id.clone().unwrap_or_default()
    }
}
