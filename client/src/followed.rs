//! Requests that somebody wants to follow: all nodes that take part know them by one name, in logs and traces.

use std::future::Future;

use crate::wire::Trace;

tokio::task_local! {
    /// By what the requests that are being made are known.
    static TRACE: Trace;
}

/// Makes the requests of `work` under a name: nodes whose log has `dynode::request` at `debug` say what they did for them.
/// It costs some bytes a frame, and each node follows about a thousand at a time; others are done all the same.
///
/// A task that `work` spawns is none of it; those of this library (batches, listings) are.
///
/// ```
/// use dynode_client::{followed, wire::Trace};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = dynode_client::fake::Server::start().await;
/// # let client = dynode_client::Client::connect([server.addr()]).await?;
/// let carts = client.bucket("cart")?;
/// let trace = Trace::named("7c4e").ok_or("no name")?;
/// followed(trace, async { carts.put("ada", "apples").await }).await?;
/// # Ok(())
/// # }
/// ```
pub async fn followed<F: Future>(trace: Trace, work: F) -> F::Output {
    TRACE.scope(trace, work).await
}

/// Takes the name that holds here along into a task.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let trace = trace();
    async move {
        match trace {
            Some(trace) => followed(trace, work).await,
            None => work.await,
        }
    }
}

/// The name that holds here.
pub(crate) fn trace() -> Option<Trace> {
    TRACE.try_with(Trace::clone).ok()
}
