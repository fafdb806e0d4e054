//! Read, merge, write back.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;

use crate::call::deadline_in;
use crate::limits::UPDATE_ROUNDS_MAX;
use crate::request::{Delete, Get, Made, Put, Written};
use crate::retry;
use crate::{Bucket, Error, Quorum, Siblings};

/// An update to be awaited: see [`Bucket::update`].
///
/// The key is read, `merge` is given what was read and says what to write, and that is written over it; `None` deletes.
/// An update never overwrites what it has not seen: two at the same time leave two siblings, both of which `merge` sees
/// the next time. So `merge` should bring siblings together in a way that loses nothing, such as the union of sets. A
/// count that merely adds one to one of the siblings would lose the others' additions.
///
/// When the key has too many siblings for one more, it is read again and `merge` is called once more, a few times at
/// most.
///
/// # Errors
///
/// As reads and writes. After [`Error::OutcomeUnknown`] the update may have been made; it is not repeated by itself.
#[must_use = "a request is made when it is awaited"]
pub struct Update<'a> {
    bucket: Bucket,
    key: Bytes,
    merge: Merge<'a>,
    r: Quorum,
    w: Quorum,
    strict: bool,
    timeout: Option<Duration>,
}

pub(crate) type Merge<'a> = Box<dyn FnMut(Siblings) -> Option<Bytes> + Send + 'a>;

impl<'a> Update<'a> {
    pub(crate) fn new(bucket: Bucket, key: Bytes, merge: Merge<'a>) -> Update<'a> {
        Update { bucket, key, merge, r: Quorum::default(), w: Quorum::default(), strict: false, timeout: None }
    }

    /// How many copies to read.
    pub fn r(mut self, r: Quorum) -> Update<'a> {
        self.r = r;
        self
    }

    /// How many acknowledgements to wait for.
    pub fn w(mut self, w: Quorum) -> Update<'a> {
        self.w = w;
        self
    }

    /// Count owners only, no stand-ins.
    pub fn strict(mut self, strict: bool) -> Update<'a> {
        self.strict = strict;
        self
    }

    /// Time that all of it may take.
    pub fn timeout(mut self, timeout: Duration) -> Update<'a> {
        self.timeout = Some(timeout);
        self
    }

    async fn make(self) -> Result<Written, Error> {
        let Update { bucket, key, mut merge, r, w, strict, timeout } = self;
        let deadline = deadline_in(timeout.unwrap_or(bucket.client.inner.options.timeout_default()));
        let mut round = 0;
        loop {
            let read = Get::new(bucket.clone(), key.clone()).r(r).strict(strict).make(Some(deadline)).await?;
            let seen = read.siblings();
            let absent = seen.is_empty();
            let written = match merge(seen) {
                Some(value) => {
                    let put = Put::new(bucket.clone(), key.clone(), value).over(read.context());
                    put.w(w).strict(strict).make(Some(deadline)).await
                }
                None if absent => return Ok(Written::nothing(&read)),
                None => {
                    let delete = Delete::new(bucket.clone(), key.clone()).over(read.context());
                    delete.w(w).strict(strict).make(Some(deadline)).await
                }
            };
            match written {
                Err(Error::TooManySiblings) if round < UPDATE_ROUNDS_MAX => {
                    tokio::time::sleep(retry::pause(round)).await;
                    round += 1;
                }
                done => return done,
            }
        }
    }
}

impl<'a> IntoFuture for Update<'a> {
    type Output = Result<Written, Error>;
    type IntoFuture = Made<'a, Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}
