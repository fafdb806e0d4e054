//! Operators' requests about changes of ownership.

use bytes::Bytes;

use crate::call::deadline_in;
use crate::client::{ask_once, unexpected};
use crate::wire::{Message, Operate, Operator};
use crate::{Client, Error};

impl Client {
    /// Asks the node that the client connected to first for something about changes of ownership. The answer, a JSON
    /// document, says how things stand then. Sent once: staging and committing twice are the same as once.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] with the reason when it cannot be done, and nothing was changed then; [`Error::Unreachable`] and
    /// its like.
    pub async fn operate(&self, what: Operator) -> Result<Bytes, Error> {
        let routes = self.inner.routes();
        let Some(link) = routes.seeds().first() else {
            return Err(Error::BadRequest { detail: "no node to ask".into() });
        };
        let deadline = deadline_in(self.inner.options.timeout_default());
        let frame = ask_once(link, &Operate { what }.into(), deadline).await?;
        match frame.message {
            Message::Report(_) => Ok(frame.body),
            other => Err(unexpected("Operate", &other)),
        }
    }
}
