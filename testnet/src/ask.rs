//! Asks peers over HTTP, as any client does.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A client that takes any status for an answer.
pub struct Asker {
    agent: ureq::Agent,
}

impl Asker {
    pub fn new(patience: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience))
            .build()
            .new_agent();
        Self { agent }
    }

    /// Asks the peer at `host:port`; status and JSON body.
    pub fn get(&self, http: &str, path: &str) -> anyhow::Result<(u16, Value)> {
        let mut response = self.agent.get(format!("http://{http}{path}")).call()?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    /// What lies at a path, as text; anything but 200 is an error.
    pub fn text(&self, http: &str, path: &str) -> anyhow::Result<String> {
        let mut response = self.agent.get(format!("http://{http}{path}")).call()?;
        let text = response.body_mut().read_to_string()?;
        anyhow::ensure!(response.status() == 200, "{path}: {} {text}", response.status());
        Ok(text)
    }

    pub fn post(&self, http: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let mut response = self.agent.post(format!("http://{http}{path}")).send_json(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    /// As `post`, under an idempotency key: said again it is done once.
    pub fn post_once(
        &self,
        http: &str,
        path: &str,
        (key, body): (&str, &Value),
    ) -> anyhow::Result<(u16, Value)> {
        let request = self.agent.post(format!("http://{http}{path}"));
        let mut response = request.header("idempotency-key", key).send_json(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    pub fn patch(&self, http: &str, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let mut response = self.agent.patch(format!("http://{http}{path}")).send_json(body)?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    pub fn delete(&self, http: &str, path: &str) -> anyhow::Result<(u16, Value)> {
        let mut response = self.agent.delete(format!("http://{http}{path}")).call()?;
        let status = response.status().as_u16();
        Ok((status, response.body_mut().read_json()?))
    }

    /// All rows of a view at a peer, as numbers by key.
    pub fn counts(
        &self,
        http: &str,
        view: &str,
        consistency: &str,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        let mut from = String::new();
        loop {
            let path =
                format!("/v1/views/{view}/rows?limit=5000&consistency={consistency}&from={from}");
            let (status, body) = self.get(http, &path)?;
            anyhow::ensure!(status == 200, "{body}");
            let rows = body["rows"].as_array().cloned().unwrap_or_default();
            for row in &rows {
                let key = row["key"].as_str().unwrap_or_default().to_owned();
                counts.insert(key, row["value"].as_u64().unwrap_or_default());
            }
            match rows.last().and_then(|row| row["key"].as_str()) {
                // The next page begins right behind the last key: a space sorts below what keys are made of.
                Some(last) if body["more"] == true => from = format!("{last}%20"),
                _ => return Ok(counts),
            }
        }
    }

    /// The first reason why a mesh of this many peers is not whole: each alive, each shard led by one voter of three.
    pub fn lacks(&self, http: &str, peers: usize) -> Result<(), String> {
        let ask = |path| self.get(http, path).map_err(|error| error.to_string());
        let (_, members) = ask("/v1/members")?;
        let members = members["members"].as_array().cloned().unwrap_or_default();
        let alive = members.iter().filter(|member| member["state"] == "alive").count();
        if (alive, members.len()) != (peers, peers) {
            return Err(format!("{alive} of {} members are alive, not {peers}", members.len()));
        }
        let (_, ring) = ask("/v1/ring")?;
        let rows = ring["rows"].as_array().cloned().unwrap_or_default();
        if rows.is_empty() {
            return Err(format!("no shard is known: {ring}"));
        }
        let sorted = |ids: &Value| {
            let mut ids: Vec<i64> =
                ids.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
            ids.sort_unstable();
            ids
        };
        let whole = |row: &&Value| {
            let voters = sorted(&row["voters"]);
            voters.len() == peers.min(3)
                && voters == sorted(&row["target"])
                && !row["leader"].is_null()
        };
        match rows.iter().find(|row| !whole(row)) {
            Some(row) => Err(format!("a shard is not whole: {row}")),
            None => Ok(()),
        }
    }
}
