//! Spans as OpenTelemetry has them, given to whatever provider the process has set.

use door::trace::Parent;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};
use std::sync::OnceLock;

/// Who made the spans.
const SCOPE: &str = "shoal";

static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// From now on spans are made; the process has set who takes them.
pub fn gather() {
    TRACER.get_or_init(|| global::tracer(SCOPE));
}

/// A span that ends with this; nothing before [`gather`].
pub struct Span(Option<Context>);

impl Span {
    pub fn is_on() -> bool {
        TRACER.get().is_some()
    }

    /// That of a request; its parent is looked for only when somebody gathers.
    pub fn request(name: &'static str, parent: impl FnOnce() -> Option<Parent>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let above = parent().map_or_else(Context::new, |parent| remote(&parent));
        Self(Some(begun(tracer, name, SpanKind::Server, &above)))
    }

    /// That of a part of a request.
    pub fn part(&self, name: &'static str) -> Self {
        let of = |(tracer, above)| begun(tracer, name, SpanKind::Internal, above);
        Self(TRACER.get().zip(self.0.as_ref()).map(of))
    }

    pub fn word(&self, key: &'static str, word: &str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, word.to_owned()));
        }
    }

    pub fn number(&self, key: &'static str, number: i64) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(key, number));
        }
    }

    pub fn fail(&self, because: &str) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(because.to_owned()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

fn begun(tracer: &BoxedTracer, name: &'static str, kind: SpanKind, above: &Context) -> Context {
    let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), above);
    Context::new().with_span(span)
}

fn remote(parent: &Parent) -> Context {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, span) = (TraceId::from(parent.trace), SpanId::from(parent.span));
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    Context::new().with_remote_span_context(context)
}
