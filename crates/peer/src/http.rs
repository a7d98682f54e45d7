//! The HTTP door's router: axum here, words in `door::http`.
//!
//! Promises that no GET has an effect, that every error is a problem with its code, and that a page of another
//! origin can ask nothing (Host and Origin are checked before anything else).

mod answer;
mod clocks;
mod dead;
mod events;
mod groups;
mod guard;
mod known;
mod lookout;
mod mesh;
mod metrics;
mod overview;
mod page;
mod patience;
mod pipelines;
mod plan;
mod routes;
mod row_cache;
mod samples;
mod streams;
mod tail;
mod views;

pub use answer::{Failure, Json};
pub use row_cache::RowCache;

use crate::figures::Teller;
use crate::gateway::Door;
use crate::router::Router;
use crate::space::Space;
use crate::tasks;
use crate::throttle::Throttle;
use axum::{Router as Axum, middleware};
use ractor::ActorRef;
use routes::Routes;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use store::Segments;
use tokio::net::TcpListener;

/// What handlers need.
#[derive(Clone)]
pub struct Asked {
    pub router: Router,
    pub teller: Teller,
    pub lookout: Arc<lookout::Lookout>,
    pub rows: Arc<RowCache>,
    pub door: Door,
    pub tasks: ActorRef<tasks::Msg>,
    pub segments: Arc<Segments>,
    pub space: Arc<Space>,
    pub throttle: Arc<Throttle>,
    pub aside: Arc<store::Aside>,
    /// Names this peer is called by, beside loopback's: what Host may say.
    pub names: Arc<Vec<String>>,
    /// What this peer was started with, as people are shown it.
    pub settings: Arc<[door::http::PeerSetting]>,
    /// Spreads events without a key over partitions.
    pub spread: Arc<AtomicU64>,
}

/// Serves until the peer ends.
pub async fn serve(listener: TcpListener, asked: Asked) {
    let looks = tokio::spawn(lookout::run(asked.clone()));
    patience::serve(listener, router(asked)).await;
    looks.abort();
}

fn router(asked: Asked) -> Axum {
    let body = axum::extract::DefaultBodyLimit::max(door::http::BODY_BYTES_MAX);
    Routes::all()
        .axum()
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(body)
        .layer(middleware::from_fn_with_state(asked.clone(), patience::whole))
        .layer(middleware::map_response(answer::refused))
        .layer(middleware::from_fn_with_state(asked.clone(), guard::check))
        .with_state(asked)
}
