//! Plain HTTP for probes and metrics: `/livez`, `/readyz`, `/startupz`, `/metrics`. Up before the logs are open and until
//! the very end, since that is when people look.

use crate::health::{Health, Probe};
use crate::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;
use tokio::net::TcpListener;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn routes(health: Health, metrics: Arc<Metrics>) -> Router {
    let probe = |probe: Probe| {
        get(
            move |State((health, _)): State<(Health, Arc<Metrics>)>| async move {
                match health.check(probe) {
                    Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                    Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
                }
            },
        )
    };
    Router::new()
        .route("/livez", probe(Probe::Live))
        .route("/readyz", probe(Probe::Ready))
        .route("/startupz", probe(Probe::Started))
        .route("/metrics", get(scrape))
        .with_state((health, metrics))
}

async fn scrape(State((_, metrics)): State<(Health, Arc<Metrics>)>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.scrape())
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, health: Health, metrics: Arc<Metrics>) {
    if let Err(error) = axum::serve(listener, routes(health, metrics)).await {
        tracing::error!(%error, "probes and metrics are no longer served");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Admission, Fatal, Phase};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: quipu\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn probes_follow_the_brokers_life() {
        let admission = Arc::new(Admission::default());
        let fatal = Fatal::default();
        let health = Health::new(admission.clone(), fatal.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        tokio::spawn(serve(listener, health.clone(), metrics));
        let codes = async || {
            let [live, started, ready] = [get(at, "/livez"), get(at, "/startupz"), get(at, "/readyz")];
            (live.await.0, started.await.0, ready.await.0)
        };

        health.step("opening 7 logs");
        assert_eq!(codes().await, (200, 503, 503));
        assert_eq!(get(at, "/readyz").await.1, "opening 7 logs\n");

        admission.enter(Phase::Running);
        assert_eq!(codes().await, (200, 200, 503));
        health.set_ready();
        assert_eq!(codes().await, (200, 200, 200));

        let (code, page) = get(at, "/metrics").await;
        assert_eq!(code, 200);
        assert!(page.contains("quipu_build_info{version="), "{page}");
        assert_eq!(get(at, "/nothing").await.0, 404);

        admission.enter(Phase::Draining);
        assert_eq!(codes().await, (200, 200, 503));
        assert_eq!(get(at, "/readyz").await.1, "shutting down\n");

        fatal.announce("fsync failed");
        assert_eq!(codes().await, (503, 503, 503));
        assert_eq!(get(at, "/livez").await.1, "cannot go on: fsync failed\n");
    }
}
