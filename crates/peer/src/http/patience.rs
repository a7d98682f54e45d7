//! Connections of HTTP clients: so many at once, and none that is waited for without end.
//!
//! Promises that a head that comes slowly, a body that does, and an answer that is not taken each end their connection,
//! and that a body holds room only for what of it has come. Never reads what a request says.

use super::{Asked, Failure};
use crate::limits;
use axum::Router as Axum;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt;
use hyper::body::Body as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::Problem;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

/// Serves connections until the peer ends.
pub async fn serve(listener: TcpListener, app: Axum) {
    let places = Arc::new(Semaphore::new(limits::HTTP_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    let io = TokioIo::new(Taken::new(stream));
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(limits::HTTP_HEAD);
                    let served = http.serve_connection(io, TowerToHyperService::new(app)).await;
                    if let Err(error) = served {
                        tracing::debug!(%from, %error, "an HTTP connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others end, so it passes.
                tracing::warn!(%error, "an HTTP client could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Reads a request's body whole, with patience that ends, before anything is done about it.
pub async fn whole(State(asked): State<Asked>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let credits = asked.door.credits();
    match read(body, credits, &Patience::default()).await {
        Ok((bytes, _credit)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Err(refused) => refused.into_response(),
    }
}

/// How long a body is waited for.
struct Patience {
    /// For its next bytes, or for room for them.
    stall: Duration,
    /// For all of it, beside what its size takes at this many bytes a second.
    whole: Duration,
    rate: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: limits::REQUEST_STALL,
            whole: limits::REQUEST_TIME,
            rate: limits::REQUEST_RATE,
        }
    }
}

/// Why a body is not taken.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Slow,
    Large,
    NoRoom,
    Gone,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let most = door::http::BODY_BYTES_MAX;
        let (status, code, because) = match self {
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "SH0404", "it came too slowly".to_owned()),
            Self::Large => {
                (StatusCode::PAYLOAD_TOO_LARGE, "SH0401", format!("it may have {most} bytes"))
            }
            Self::NoRoom => {
                let because = "requests that are under way take all room".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "SH0503", because)
            }
            Self::Gone => (StatusCode::BAD_REQUEST, "SH0404", "it ended early".to_owned()),
        };
        let what = "the request's body was not taken";
        let problem = Problem::new(code, what, because, "send fewer events at once, or faster");
        let mut response = Failure::from(problem).into_response();
        *response.status_mut() = status;
        // What is left of it would be taken for the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

async fn read(
    body: Body,
    credits: Arc<Semaphore>,
    patience: &Patience,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refused> {
    let most = door::http::BODY_BYTES_MAX;
    let size = body.size_hint().upper().unwrap_or(most as u64);
    if size > most as u64 {
        return Err(Refused::Large);
    }
    let by_rate = Duration::from_secs(size / patience.rate);
    let until = Instant::now() + patience.whole + by_rate;
    let (mut bytes, mut credit) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
    let mut pieces = body.into_data_stream();
    loop {
        let soon = (Instant::now() + patience.stall).min(until);
        let piece = match timeout_at(soon, pieces.next()).await {
            Err(_) => return Err(Refused::Slow),
            Ok(None) => return Ok((bytes.freeze(), credit)),
            Ok(Some(piece)) => piece.map_err(|_| Refused::Gone)?,
        };
        if bytes.len() + piece.len() > most {
            return Err(Refused::Large);
        }
        let kib = (piece.len() / 1024 + 1) as u32;
        let taken = timeout_at(soon, credits.clone().acquire_many_owned(kib)).await;
        let Ok(Ok(taken)) = taken else { return Err(Refused::NoRoom) };
        match &mut credit {
            Some(credit) => credit.merge(taken),
            None => credit = Some(taken),
        }
        bytes.extend_from_slice(&piece);
    }
}

/// A connection that ends when its client takes nothing of an answer for [`limits::ANSWER_STALL`].
struct Taken {
    stream: TcpStream,
    /// Set while the client has taken nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Taken {
    fn new(stream: TcpStream) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the socket takes no option");
        }
        Self { stream, stalled: None }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limits::ANSWER_STALL)));
        stalled.as_mut().poll(cx).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    /// Short enough for a test, and far apart.
    const SHORT: Patience = Patience {
        stall: Duration::from_millis(300),
        whole: Duration::from_secs(1),
        rate: 1 << 30,
    };

    async fn of(pieces: Vec<(u64, usize)>, credits: usize) -> Result<usize, Refused> {
        let credits = Arc::new(Semaphore::new(credits));
        let pieces = stream::iter(pieces).then(|(wait_ms, size)| async move {
            sleep(Duration::from_millis(wait_ms)).await;
            Ok::<_, io::Error>(Bytes::from(vec![7; size]))
        });
        let read = read(Body::from_stream(pieces), credits.clone(), &SHORT).await;
        read.map(|(bytes, credit)| {
            assert_eq!(credits.available_permits() + credit.map_or(0, |it| it.num_permits()), 64);
            bytes.len()
        })
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_holds_room_for_what_has_come() {
        assert_eq!(of(vec![(0, 3_000), (20, 4_000)], 64).await, Ok(7_000));
        assert_eq!(of(vec![(0, 60 << 10), (0, 60 << 10)], 64).await, Err(Refused::NoRoom));
        let (most, piece) = (door::http::BODY_BYTES_MAX, 1 << 20);
        assert_eq!(of(vec![(0, piece); most / piece + 1], 1 << 20).await, Err(Refused::Large));
    }

    #[tokio::test]
    async fn a_body_that_comes_slowly_is_not_waited_for() {
        assert_eq!(of(vec![(0, 10), (1_000, 10)], 64).await, Err(Refused::Slow));
        // Piece by piece, each in time: all of it must be there at last.
        assert_eq!(of(vec![(100, 1); 20], 1 << 20).await, Err(Refused::Slow));
    }
}
