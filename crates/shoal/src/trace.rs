//! Traces to stderr: text on a terminal, JSON lines otherwise; `SHOAL_LOG` filters.

#[cfg(feature = "otlp")]
mod otlp;
mod panics;

use model::Problem;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is told unless asked otherwise: our own transitions, of libraries only what is wrong.
const ORDINARY: &str = "info,libp2p=warn,multistream_select=warn,yamux=warn,netlink=warn,\
    hickory=warn,fjall=warn,lsm_tree=warn,hyper=warn,axum=warn,ractor=warn,foca=warn,raft=warn";

/// Starts tracing for this process.
pub(crate) fn start() -> Result<(), Problem> {
    let wanted = std::env::var("SHOAL_LOG").ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(ORDINARY)).map_err(|error| {
        Problem::new(
            "SH0001",
            format!("SHOAL_LOG is not a filter: {error}"),
            format!("SHOAL_LOG is {:?}", wanted.unwrap_or_default()),
            "SHOAL_LOG=info, or SHOAL_LOG=info,replica=debug",
        )
    })?;
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match terminal {
        true => format.with_ansi(colour).try_init(),
        false => format.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| {
        Problem::new("SH0901", "tracing does not start", error.to_string(), "report this")
    })?;
    panics::tell();
    Ok(())
}

/// What sends spans to a collector, until it is dropped.
#[cfg(feature = "otlp")]
pub(crate) type Export = Option<otlp::Export>;
/// Nothing is sent: this binary has no spans.
#[cfg(not(feature = "otlp"))]
pub(crate) struct Export;

/// Where the standard says that spans should go.
const WANTED: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Exports spans, if that is wanted.
#[cfg(feature = "otlp")]
pub(crate) fn export() -> Result<Export, Problem> {
    match WANTED.iter().any(|name| std::env::var_os(name).is_some()) {
        true => otlp::Export::start().map(Some),
        false => Ok(None),
    }
}

/// Says so if spans are wanted from a binary that has none.
#[cfg(not(feature = "otlp"))]
pub(crate) fn export() -> Result<Export, Problem> {
    if let Some(name) = WANTED.iter().find(|name| std::env::var_os(name).is_some()) {
        tracing::warn!(
            "{name} is set, but this binary has no spans: build it with --features otlp"
        );
    }
    Ok(Export)
}
