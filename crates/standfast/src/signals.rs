//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first SIGINT or SIGTERM. A second SIGINT during the shutdown ends the process at once; what is left
/// behind then is swept at the next start.
pub async fn stop_requested() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
    tokio::spawn(async move {
        interrupt.recv().await;
        eprintln!("standfast: interrupted again, leaving now");
        std::process::exit(130);
    });
    Ok(())
}

/// For processes of a cloud: the future resolves at SIGTERM. What a terminal sends to everything that was started from
/// it is the server's to act on, and ignored.
pub fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let ignored = [signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?];
    Ok(async move {
        terminate.recv().await;
        drop(ignored);
    })
}
