//! What a user's program names most: `use shoal::prelude::*`.

pub use crate::{
    Carried, Context, Declared, Event, Failure, Flow, Global, Hopping, Join, Keyed, List, Map,
    Mesh, Number, Old, Pipeline, Processor, Session, Stage, Table, TestMesh, ToKey, Tumbling,
    Value, Windowed, Windows, Within,
};
