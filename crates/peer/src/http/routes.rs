//! Every path that this peer serves, with what is done there. The API's document says the same: a test compares them.

use super::{Asked, dead, events, groups, mesh, metrics, overview, page, pipelines, plan};
use super::{samples, streams, tail, views};
use crate::shape::Wish;
use axum::Router as Axum;
use axum::handler::Handler;
use axum::routing::{delete, get, patch, post};

/// The router while it is made, and a list of what it has.
#[derive(Default)]
pub struct Routes {
    axum: Axum<Asked>,
    told: Vec<(&'static str, &'static str)>,
}

impl Routes {
    pub fn all() -> Self {
        Self::default().pages().mesh().streams().views().pipelines()
    }

    pub fn axum(self) -> Axum<Asked> {
        self.axum
    }

    fn pages(self) -> Self {
        self.get("/", page::index)
            .get("/page/{name}", page::part)
            .get("/api", page::api)
            .get("/openapi.json", page::openapi)
            .get("/livez", mesh::livez)
            .get("/readyz", mesh::readyz)
            .get("/healthz", mesh::readyz)
            .get("/metrics", metrics::few)
            .get("/metrics/internal", metrics::all)
    }

    fn mesh(self) -> Self {
        self.get("/v1/overview", overview::overview)
            .get("/v1/overview/watch", overview::watch)
            .get("/v1/members", mesh::members)
            .get("/v1/ring", mesh::ring)
            .get("/v1/health", mesh::health)
            .get("/v1/settings", mesh::settings)
            .get("/v1/mesh/plan", plan::plan)
            .get("/v1/mesh/moves", mesh::moves)
            .post("/v1/mesh/leave", |asked, body| mesh::wish(Wish::Leave, asked, body))
            .post("/v1/mesh/drain", |asked, body| mesh::wish(Wish::Drain, asked, body))
            .post("/v1/mesh/undrain", |asked, body| mesh::wish(Wish::Undrain, asked, body))
            .post("/v1/mesh/remove", |asked, body| mesh::wish(Wish::Remove, asked, body))
            .get("/v1/groups", groups::list)
            .get("/v1/groups/{name}", groups::describe)
            .delete("/v1/groups/{name}", groups::delete)
            .post("/v1/groups/{name}/seek", groups::seek)
    }

    fn streams(self) -> Self {
        self.get("/v1/streams", streams::list)
            .post("/v1/streams", streams::create)
            .get("/v1/streams/{name}", streams::describe)
            .delete("/v1/streams/{name}", streams::delete)
            .get("/v1/streams/{name}/settings", streams::settings)
            .patch("/v1/streams/{name}/settings", streams::configure)
            .get("/v1/streams/{name}/events", events::read)
            .post("/v1/streams/{name}/events", events::append)
            .get("/v1/streams/{name}/events/tail", tail::tail)
    }

    fn views(self) -> Self {
        self.get("/v1/views", views::list)
            .get("/v1/views/{name}/rows", views::rows)
            .get("/v1/views/{name}/rows/{key}", views::row)
            .get("/v1/views/{name}/watch", tail::watch)
            .get("/v1/views/{name}/positions", views::positions)
    }

    fn pipelines(self) -> Self {
        self.get("/v1/pipelines", pipelines::list)
            .get("/v1/pipelines/{name}", pipelines::describe)
            .delete("/v1/pipelines/{name}", pipelines::delete)
            .post("/v1/pipelines/{name}/pause", pipelines::pause)
            .post("/v1/pipelines/{name}/resume", pipelines::resume)
            .get("/v1/pipelines/{name}/keys", pipelines::keys)
            .get("/v1/pipelines/{name}/sample", samples::sample)
            .get("/v1/dead", dead::list)
            .get("/v1/dead/{stage}", dead::show)
            .post("/v1/dead/{stage}/retry", dead::retry)
            .post("/v1/dead/{stage}/drop", dead::drop)
    }

    fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, Asked>) -> Self {
        self.at("get", path, get(handler))
    }

    fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, Asked>) -> Self {
        self.at("post", path, post(handler))
    }

    fn patch<T: 'static>(self, path: &'static str, handler: impl Handler<T, Asked>) -> Self {
        self.at("patch", path, patch(handler))
    }

    fn delete<T: 'static>(self, path: &'static str, handler: impl Handler<T, Asked>) -> Self {
        self.at("delete", path, delete(handler))
    }

    fn at(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: axum::routing::MethodRouter<Asked>,
    ) -> Self {
        self.told.push((method, path));
        self.axum = self.axum.route(path, handler);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_has_every_path_that_is_served_and_no_other() {
        let served: BTreeSet<(String, String)> = Routes::all()
            .told
            .into_iter()
            .map(|(method, path)| (path.to_owned(), method.to_owned()))
            .collect();
        let document = serde_json::to_value(door::http::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("paths");
        let told: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().into_iter().flat_map(|item| item.keys());
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        let lacks: Vec<_> = served.difference(&told).collect();
        let invents: Vec<_> = told.difference(&served).collect();
        assert!(lacks.is_empty() && invents.is_empty(), "lacks {lacks:?}, invents {invents:?}");
    }
}
