//! The HTTP API as OpenAPI 3.1 tells it: every path, what it takes and gives. Made from the types themselves.

use super::{
    Consistency, DeadStages, Done, Events, EventsAppended, EventsQuery, Group, Groups, Health,
    HotKeys, Letters, LettersQuery, Members, Moves, NewEvents, NewSettings, NewStream, Overview,
    PeerSettings, PipelineDetail, Pipelines, Plan, PlanQuery, PositionsQuery, ProblemBody, Ready,
    Ring, RingQuery, Row, RowQuery, RowsQuery, Sample, SampleQuery, Seek, Sought, Stream,
    StreamSettings, Streams, TailQuery, UpTo, ViewPositions, ViewRows, Views, WatchQuery, WishBody,
    Wished,
};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder};
use utoipa::openapi::path::{ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{
    Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{IntoParams, ToSchema};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const METRICS: &str = "application/openmetrics-text";

/// The document.
pub fn openapi() -> OpenApi {
    let mut paper = Paper::default();
    pages(&mut paper);
    mesh(&mut paper);
    pipelines(&mut paper);
    dead(&mut paper);
    streams(&mut paper);
    events(&mut paper);
    views(&mut paper);
    let info = InfoBuilder::new()
        .title("shoal")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Any peer answers any request. Errors are problem details (RFC 9457) with a code that `shoal explain` \
             knows. No GET has an effect.",
        ));
    // What only errors and queries name.
    paper.schema::<ProblemBody>();
    paper.schema::<Consistency>();
    let components = ComponentsBuilder::new().schemas_from_iter(paper.schemas).build();
    let paths = paper.paths.into_iter().fold(PathsBuilder::new(), |paths, (path, method, it)| {
        paths.path(path, PathItem::new(method, it))
    });
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

/// What browsers, balancers and Prometheus ask for.
fn pages(paper: &mut Paper) {
    for (path, kind, words) in [
        ("/", "text/html", "The dashboard"),
        ("/api", "text/html", "This document for people"),
        ("/openapi.json", JSON, "This document"),
        ("/livez", "text/plain", "Whether the process answers"),
        ("/metrics", METRICS, "Few numbers, for dashboards and alerts"),
        ("/metrics/internal", METRICS, "One series a stage, group, stream and shard"),
    ] {
        let gives = ResponseBuilder::new().description("Done").content(kind, Content::default());
        paper.plain(path, "pages", words, gives);
    }
    let part = ["text/javascript", "text/css", "image/svg+xml"];
    let gives = ResponseBuilder::new().description("Done");
    let gives = part.iter().fold(gives, |gives, kind| gives.content(*kind, Content::default()));
    paper.plain("/page/{name}", "pages", "A part of the dashboard", gives);
    for path in ["/readyz", "/healthz"] {
        let ready = paper.json::<Ready>();
        let not = ResponseBuilder::new()
            .description("It should get no clients now")
            .content(JSON, Content::new(Some(Ref::from_schema_name("Ready"))));
        let ask = paper.ask(path, "mesh", "Whether this peer should get clients");
        paper.get(path, ask.response("200", ready).response("503", not));
    }
}

/// Who is here, who owns what, and who reads together.
fn mesh(paper: &mut Paper) {
    let all = paper.json::<Members>();
    paper.plain("/v1/members", "mesh", "Who belongs to the mesh, and how each peer is", all);
    let all = paper.json::<Health>();
    paper.plain("/v1/health", "mesh", "One sentence, then reasons", all);
    let all = paper.json::<Overview>();
    paper.plain(
        "/v1/overview",
        "mesh",
        "The whole mesh at a glance, with two minutes of rates",
        all,
    );
    let each = paper.stream::<Overview>();
    paper.plain(
        "/v1/overview/watch",
        "mesh",
        "The overview of each second, as server-sent events",
        each,
    );
    let all = paper.json::<Ring>();
    let ask = paper.ask("/v1/ring", "mesh", "Who holds which shard, and where a key lies");
    paper.get("/v1/ring", ask.parameters(params::<RingQuery>()).response("200", all));
    let all = paper.json::<Plan>();
    let ask = paper.ask("/v1/mesh/plan", "mesh", "What would move if peers came or were drained");
    paper.get("/v1/mesh/plan", ask.parameters(params::<PlanQuery>()).response("200", all));
    let all = paper.json::<Moves>();
    paper.plain("/v1/mesh/moves", "mesh", "The shards that are not where the ring wants them", all);
    let all = paper.json::<PeerSettings>();
    let words = "What the peer that answers was started with, and where each value comes from";
    paper.plain("/v1/settings", "mesh", words, all);
    for (path, words) in [
        ("/v1/mesh/leave", "Hand over all that a peer holds, then take it out"),
        ("/v1/mesh/drain", "Hand over all that a peer holds; it stays"),
        ("/v1/mesh/undrain", "Give a peer shards again"),
        ("/v1/mesh/remove", "Take a dead peer out for good"),
    ] {
        let (takes, gives) = (paper.takes::<WishBody>(), paper.json::<Wished>());
        let ask = paper.ask(path, "mesh", words);
        paper.post(path, ask.request_body(Some(takes)).response("200", gives));
    }
    let all = paper.json::<Groups>();
    paper.plain("/v1/groups", "groups", "All groups of consumers", all);
    let one = paper.json::<Group>();
    paper.plain("/v1/groups/{name}", "groups", "A group, its offsets and its lag", one);
    let was = paper.json::<Group>();
    let path = "/v1/groups/{name}";
    let ask = paper.ask(path, "groups", "Forget a group that nobody is in, with its offsets");
    paper.put(path, HttpMethod::Delete, "delete", ask.response("200", was));
    let path = "/v1/groups/{name}/seek";
    let (takes, gives) = (paper.takes::<Seek>(), paper.json::<Sought>());
    let ask = paper.ask(path, "groups", "Let a group that nobody is in go on from elsewhere");
    paper.post(path, ask.request_body(Some(takes)).response("200", gives));
}

fn pipelines(paper: &mut Paper) {
    let all = paper.json::<Pipelines>();
    paper.plain("/v1/pipelines", "pipelines", "What runs", all);
    let path = "/v1/pipelines/{name}";
    let one = paper.json::<PipelineDetail>();
    paper.plain(path, "pipelines", "The stages of one, and where each task is", one);
    let (words, gone) = (
        "Forget one that no peer holds the code of, with its views and the streams it writes",
        paper.json::<Wished>(),
    );
    let ask = paper.ask(path, "pipelines", words).response("200", gone);
    paper.put(path, HttpMethod::Delete, "delete", ask);
    for (path, words) in [
        ("/v1/pipelines/{name}/pause", "Stop its tasks where they are"),
        ("/v1/pipelines/{name}/resume", "Let its tasks begin again from their last commits"),
    ] {
        let gives = paper.json::<Wished>();
        let ask = paper.ask(path, "pipelines", words).request_body(Some(empty()));
        paper.post(path, ask.response("200", gives));
    }
    let path = "/v1/pipelines/{name}/keys";
    let all = paper.json::<HotKeys>();
    paper.plain(path, "pipelines", "The keys that its stages get most, in the last minute", all);
    let path = "/v1/pipelines/{name}/sample";
    let all = paper.json::<Sample>();
    let ask = paper.ask(path, "pipelines", "Some rows that a task keeps, where they are kept");
    paper.get(path, ask.parameters(params::<SampleQuery>()).response("200", all));
}

fn dead(paper: &mut Paper) {
    let all = paper.json::<DeadStages>();
    paper.plain("/v1/dead", "dead letters", "How many letters each stage has", all);
    let path = "/v1/dead/{stage}";
    let all = paper.json::<Letters>();
    let ask = paper.ask(path, "dead letters", "The letters of a stage, named PIPELINE.STAGE");
    paper.get(path, ask.parameters(params::<LettersQuery>()).response("200", all));
    for (path, words) in [
        ("/v1/dead/{stage}/retry", "Try letters again; all, a partition's, or those up to one"),
        ("/v1/dead/{stage}/drop", "Forget letters; all, a partition's, or those up to one"),
    ] {
        let (takes, gives) = (paper.takes::<UpTo>(), paper.json::<Done>());
        let ask = paper.ask(path, "dead letters", words);
        paper.post(path, ask.request_body(Some(takes)).response("200", gives));
    }
}

fn streams(paper: &mut Paper) {
    let all = paper.json::<Streams>();
    paper.plain("/v1/streams", "streams", "All streams", all);
    let (takes, gives, made) =
        (paper.takes::<NewStream>(), paper.json::<Stream>(), paper.json::<Stream>());
    let ask =
        paper.ask("/v1/streams", "streams", "Make a stream; one that is there alike is no error");
    let ask = ask.request_body(Some(takes)).response("200", gives).response("201", made);
    paper.post("/v1/streams", ask);
    let one = paper.json::<Stream>();
    paper.plain("/v1/streams/{name}", "streams", "A stream and its partitions", one);
    let was = paper.json::<Stream>();
    let path = "/v1/streams/{name}";
    let ask = paper.ask(path, "streams", "Forget a stream that no pipeline uses, for good");
    paper.put(path, HttpMethod::Delete, "delete", ask.response("200", was));
    let path = "/v1/streams/{name}/settings";
    let all = paper.json::<StreamSettings>();
    paper.plain(path, "streams", "How its events are kept", all);
    let (takes, gives) = (paper.takes::<NewSettings>(), paper.json::<StreamSettings>());
    let ask = paper.ask(path, "streams", "Set it: what is left out stays, null is as usual");
    let ask = ask.request_body(Some(takes)).response("200", gives);
    paper.put(path, HttpMethod::Patch, "patch", ask);
}

fn events(paper: &mut Paper) {
    let path = "/v1/streams/{name}/events";
    let all = paper.json::<Events>();
    let ask = paper.ask(path, "events", "Read events of one partition");
    paper.get(path, ask.parameters(params::<EventsQuery>()).response("200", all));
    let (takes, gives) = (paper.takes::<NewEvents>(), paper.json::<EventsAppended>());
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The same key again is the same append; 1 to 255 bytes"))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .max_length(Some(255))
                .min_length(Some(1)),
        ))
        .build();
    let ask =
        paper.ask(path, "events", "Append events; the answer comes when a quorum has them on disk");
    paper.post(path, ask.parameter(key).request_body(Some(takes)).response("200", gives));
    let path = "/v1/streams/{name}/events/tail";
    let each = paper.stream::<super::Event>();
    let ask = paper.ask(path, "events", "New events as they come, as server-sent events");
    paper.get(path, ask.parameters(params::<TailQuery>()).response("200", each));
}

fn views(paper: &mut Paper) {
    let all = paper.json::<Views>();
    paper.plain("/v1/views", "views", "All views", all);
    let path = "/v1/views/{name}/rows/{key}";
    let one = paper.json::<Row>();
    let ask = paper.ask(path, "views", "One row");
    paper.get(path, ask.parameters(params::<RowQuery>()).response("200", one));
    let path = "/v1/views/{name}/rows";
    let all = paper.json::<ViewRows>();
    let ask = paper.ask(path, "views", "Rows in the order of their keys");
    paper.get(path, ask.parameters(params::<RowsQuery>()).response("200", all));
    let path = "/v1/views/{name}/watch";
    let each = paper.stream::<Row>();
    let ask = paper.ask(path, "views", "A row whenever it changes, as server-sent events");
    paper.get(path, ask.parameters(params::<WatchQuery>()).response("200", each));
    let path = "/v1/views/{name}/positions";
    let all = paper.json::<ViewPositions>();
    let ask = paper.ask(path, "views", "How far a view has read its sources");
    paper.get(path, ask.parameters(params::<PositionsQuery>()).response("200", all));
}

/// The document while it is written.
#[derive(Default)]
struct Paper {
    paths: Vec<(String, HttpMethod, Operation)>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Paper {
    fn schema<T: ToSchema>(&mut self) -> Ref {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name())
    }

    fn json<T: ToSchema>(&mut self) -> ResponseBuilder {
        let content = Content::new(Some(self.schema::<T>()));
        ResponseBuilder::new().description("Done").content(JSON, content)
    }

    fn stream<T: ToSchema>(&mut self) -> ResponseBuilder {
        let content = Content::new(Some(self.schema::<T>()));
        ResponseBuilder::new()
            .description("Each message's data is one of these")
            .content(EVENTS, content)
    }

    fn takes<T: ToSchema>(&mut self) -> RequestBody {
        let content = Content::new(Some(self.schema::<T>()));
        RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build()
    }

    /// An operation with the parameters of its path, and the form of its errors.
    fn ask(&self, path: &str, tag: &str, summary: &str) -> OperationBuilder {
        let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let parameter = |name: &str| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build()
        };
        let problem = Content::new(Some(Ref::from_schema_name("ProblemBody")));
        let refused = ResponseBuilder::new()
            .description("Refused, or not done")
            .content(super::MEDIA_TYPE, problem);
        OperationBuilder::new()
            .tag(tag)
            .summary(Some(summary))
            .parameters(Some(names.map(parameter).collect::<Vec<_>>()))
            .response("default", refused)
    }

    fn plain(&mut self, path: &str, tag: &str, summary: &str, gives: ResponseBuilder) {
        let ask = self.ask(path, tag, summary).response("200", gives);
        self.get(path, ask);
    }

    fn get(&mut self, path: &str, operation: OperationBuilder) {
        self.put(path, HttpMethod::Get, "get", operation);
    }

    fn post(&mut self, path: &str, operation: OperationBuilder) {
        self.put(path, HttpMethod::Post, "post", operation);
    }

    fn put(&mut self, path: &str, method: HttpMethod, verb: &str, operation: OperationBuilder) {
        let words: String =
            path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let operation = operation.operation_id(Some(format!("{verb}{words}"))).build();
        self.paths.push((path.to_owned(), method, operation));
    }
}

/// A body that says nothing: what changes something is asked for in JSON, which no form of a browser can send.
fn empty() -> RequestBody {
    let object = ObjectBuilder::new().schema_type(Type::Object).max_properties(Some(0));
    let content = Content::new(Some(object));
    RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build()
}

fn params<T: IntoParams>() -> Option<Vec<Parameter>> {
    Some(T::into_params(|| Some(ParameterIn::Query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_document_leads_somewhere_and_every_operation_has_its_own_name() {
        let text = serde_json::to_string(&openapi()).expect("it is JSON");
        let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(document["openapi"], "3.1.0");
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is missing");
        }
        let mut names: Vec<&str> = text.split("\"operationId\":\"").skip(1).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup_by(|a, b| a.split('"').next() == b.split('"').next());
        assert_eq!((names.len(), count >= 24), (count, true), "{names:?}");
    }
}
