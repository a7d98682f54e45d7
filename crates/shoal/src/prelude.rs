//! What a user's program names most: `use shoal::prelude::*`.

pub use crate::{
    Context, Event, Failure, Flow, Keyed, Mesh, Number, Pipeline, Processor, Stage, Table,
    TestMesh, ToKey, Tumbling, Windowed,
};
