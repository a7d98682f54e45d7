//! The HTTP door's router: axum here, words in `door::http`.
//!
//! Promises that no GET has an effect, that every error is a problem with its code, and that a page of another
//! origin can ask nothing (Host and Origin are checked before anything else).

mod answer;
mod events;
mod guard;
mod mesh;
mod pipelines;
mod plan;
mod streams;
mod views;

pub use answer::{Failure, Json};

use crate::gateway::Door;
use crate::router::Router;
use crate::space::Space;
use crate::tasks;
use axum::routing::{get, post};
use axum::{Router as Axum, middleware};
use ractor::ActorRef;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use store::Segments;
use tokio::net::TcpListener;

/// What handlers need.
#[derive(Clone)]
pub struct Asked {
    pub router: Router,
    pub door: Door,
    pub tasks: ActorRef<tasks::Msg>,
    pub segments: Arc<Segments>,
    pub space: Arc<Space>,
    /// Names this peer is called by, beside loopback's: what Host may say.
    pub names: Arc<Vec<String>>,
    /// Spreads events without a key over partitions.
    pub spread: Arc<AtomicU64>,
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, asked: Asked) {
    let app = router(asked);
    if let Err(error) = axum::serve(listener, app).await {
        tracing::error!(%error, "the HTTP listener ended");
    }
}

fn router(asked: Asked) -> Axum {
    let body = axum::extract::DefaultBodyLimit::max(door::http::BODY_BYTES_MAX);
    Axum::new()
        .route("/livez", get(mesh::livez))
        .route("/readyz", get(mesh::readyz))
        .route("/healthz", get(mesh::readyz))
        .route("/metrics", get(mesh::metrics))
        .route("/v1/members", get(mesh::members))
        .route("/v1/ring", get(mesh::ring))
        .route("/v1/health", get(mesh::health))
        .route("/v1/mesh/plan", get(plan::plan))
        .route("/v1/mesh/{wish}", post(mesh::wish))
        .route("/v1/streams", get(streams::list).post(streams::create))
        .route("/v1/streams/{name}", get(streams::describe))
        .route("/v1/streams/{name}/events", get(events::read).post(events::append))
        .route("/v1/views", get(views::list))
        .route("/v1/views/{name}/rows", get(views::rows))
        .route("/v1/views/{name}/rows/{key}", get(views::row))
        .route("/v1/views/{name}/positions", get(views::positions))
        .route("/v1/pipelines", get(pipelines::list))
        .route("/v1/pipelines/{name}", get(pipelines::describe))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(body)
        .layer(middleware::map_response(answer::refused))
        .layer(middleware::from_fn_with_state(asked.clone(), guard::check))
        .with_state(asked)
}
