//! Bodies in memory: read up to a bound and within a time, and given back in pieces; all of them together within a budget.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{DRAIN_BYTES_MAX, DRAIN_TIME};
use super::refusal::Refusal;

/// What is reserved of the budget at a time while a body comes.
const STEP: usize = 64 << 10;

/// How much all bodies may take.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// A share of the budget, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Held(OwnedSemaphorePermit);

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new(bytes)))
    }

    pub(super) fn hold(&self, bytes: usize) -> Result<Held, Refusal> {
        let full = |_| Refusal::overloaded("the values of requests under way take all the memory there is for them");
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map(Held).map_err(full)
    }
}

/// Reads a whole body of up to `max` bytes within `time`.
pub(super) async fn read(
    body: Body,
    headers: &HeaderMap,
    budget: &Budget,
    max: usize,
    time: Duration,
) -> Result<(Bytes, Held), Refusal> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|n| n.parse().ok());
    let read = tokio::time::timeout(time, take(body, said, budget, max));
    match read.await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body was not there after {} ms; nothing was changed", time.as_millis());
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

async fn take(mut body: Body, said: Option<usize>, budget: &Budget, max: usize) -> Result<(Bytes, Held), Refusal> {
    let too_large = || Refusal::too_large(format!("the body has more than the {max} bytes that are allowed"));
    if said.is_some_and(|bytes| bytes > max) {
        drain(body).await;
        return Err(too_large());
    }
    let mut held = budget.hold(STEP)?;
    let mut all = BytesMut::with_capacity(said.unwrap_or(0).min(STEP));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refusal::bad(format!("the body ended too soon; nothing was changed: {e}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        if all.len() + piece.len() > max {
            drop((all, held));
            drain(body).await;
            return Err(too_large());
        }
        let wanted = (all.len() + piece.len()).next_multiple_of(STEP);
        let more = wanted.saturating_sub(held.0.num_permits());
        if more > 0 {
            held.0.merge(budget.hold(more)?.0);
        }
        all.extend_from_slice(&piece);
    }
    Ok((all.freeze(), held))
}

/// Reads the rest of a body that is refused, so that its sender, who may look at the answer only at the end, gets to see
/// it; not for long, and not without end.
async fn drain(mut body: Body) {
    let rest = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await
            && seen < DRAIN_BYTES_MAX
        {
            seen += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

/// An answer's body: its pieces one after the other, none copied.
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
    _held: Held,
}

impl Pieces {
    /// Refused when there is no room in the budget for what a client reads slowly.
    pub(super) fn body(pieces: impl IntoIterator<Item = Bytes>, budget: &Budget) -> Result<Body, Refusal> {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left: usize = pieces.iter().map(Bytes::len).sum();
        let _held = budget.hold(left)?;
        Ok(Body::new(Pieces { pieces, left: left as u64, _held }))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
