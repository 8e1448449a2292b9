//! Processes that end with the one that started them, however that ends: their standard input closes with it.

use std::io;

/// Ends when standard input does, if that was asked for; else never.
pub(crate) async fn is_gone(asked_for: bool) {
    if !asked_for {
        return std::future::pending().await;
    }
    let (closed, wait) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Whatever is said there, and whether it ends well, does not matter: only that it ends.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        drop(closed);
    });
    drop(wait.await);
}
