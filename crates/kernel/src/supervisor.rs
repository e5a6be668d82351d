//! Tasks with names. A task that panics is reported; none outlives its cloud.

use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;

/// Owns the tasks of a cloud.
#[derive(Default)]
pub struct Supervisor {
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Supervisor {
    /// Runs a task until it ends or the supervisor stops.
    pub fn spawn(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(handle.abort_handle());
        drop(tasks);
        tokio::spawn(async move {
            if let Err(error) = handle.await
                && error.is_panic()
            {
                eprintln!("level=error event=task_panicked task={name}");
            }
        });
    }

    /// Ends all tasks at their next await.
    pub fn stop(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}
