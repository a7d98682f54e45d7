//! Pipelines to start from: each is one file with a `main` of its own, in this folder. See README.md.

#[path = "../nexmark/queries.rs"]
pub mod nexmark;
