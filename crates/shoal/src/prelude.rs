//! What a user's program names most: `use shoal::prelude::*`.

pub use crate::{
    Carried, Context, Event, Failure, Flow, Global, Hopping, Join, Keyed, Mesh, Number, Pipeline,
    Processor, Session, Stage, Table, TestMesh, ToKey, Tumbling, Windowed, Windows, Within,
};
