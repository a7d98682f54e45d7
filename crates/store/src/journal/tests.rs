//! Tests of the journal: a story of random records against a model, under power cuts, rot and lies.

#![allow(clippy::unwrap_used)]

mod basics;
mod power;
mod property;
mod rot;
mod story;
