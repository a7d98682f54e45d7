//! Spans to a collector, in OpenTelemetry's own protocol over HTTP; where, OTEL_EXPORTER_OTLP_ENDPOINT says.

use async_trait::async_trait;
use model::Problem;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;

/// Longer no collector may take for a batch of spans.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of a collector's answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Sends what is gathered until it is dropped, and then the rest.
pub(crate) struct Export(SdkTracerProvider);

impl Export {
    pub(super) fn start() -> Result<Self, Problem> {
        let client = Client::default();
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.map_err(|error| {
            Problem::new(
                "SH0001",
                "spans cannot be exported",
                error.to_string(),
                "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318",
            )
        })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        // The standard variables say more: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES.
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => Resource::builder().with_attribute(version),
            None => Resource::builder().with_service_name("shoal").with_attribute(version),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        opentelemetry::global::set_tracer_provider(provider.clone());
        peer::span::gather();
        Ok(Self(provider))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans are not exported");
        }
    }
}

/// The exporter has a thread of its own, which may wait here.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Self(config.timeout_global(Some(PATIENCE)).build().new_agent())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, bytes.into()))
    }
}
