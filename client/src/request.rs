//! Requests as builders: what was not said has its default, and awaiting one makes it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::call::{call, deadline_in};
use crate::client::unexpected;
use crate::retry::Kind;
use crate::routing::Target;
use crate::wire::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::wire::{self, Causality, Frame, Message};
use crate::{Acks, Bucket, Context, Error, Quorum, Siblings};

/// What awaiting a request gives.
pub(crate) type Made<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A read to be awaited: see [`Bucket::get`].
#[must_use = "a request is made when it is awaited"]
#[derive(Debug, Clone)]
pub struct Get {
    bucket: Bucket,
    key: Bytes,
    pub(crate) r: Quorum,
    pub(crate) strict: bool,
    timeout: Option<Duration>,
}

impl Get {
    pub(crate) fn new(bucket: Bucket, key: Bytes) -> Get {
        Get { bucket, key, r: Quorum::default(), strict: false, timeout: None }
    }

    /// How many copies to ask; more than half of them by default.
    pub fn r(mut self, r: Quorum) -> Get {
        self.r = r;
        self
    }

    /// Count owners only, no stand-ins.
    pub fn strict(mut self, strict: bool) -> Get {
        self.strict = strict;
        self
    }

    /// Time that the read may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Get {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) async fn make(self, deadline: Option<Instant>) -> Result<Read, Error> {
        let Get { bucket, key, r, strict, timeout } = self;
        check_key(&key)?;
        let inner = &bucket.client.inner;
        let deadline = deadline.unwrap_or_else(|| deadline_in(timeout.unwrap_or(inner.options.timeout_default())));
        let message =
            |timeout_ms| wire::Get { bucket: bucket.name.clone(), key: key.clone(), r, strict, timeout_ms }.into();
        let target = Target::Key(&bucket.name, &key);
        let Frame { message, body, .. } = call(inner, Kind::Read, target, deadline, message, &Bytes::new()).await?;
        match message {
            Message::Found(found) => Read::from_answer(found, body),
            other => Err(unexpected("Get", &other)),
        }
    }
}

impl IntoFuture for Get {
    type Output = Result<Read, Error>;
    type IntoFuture = Made<'static, Read>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make(None))
    }
}

/// A write to be awaited: see [`Bucket::put`].
#[must_use = "a request is made when it is awaited"]
#[derive(Debug, Clone)]
pub struct Put {
    write: Write,
    value: Bytes,
}

impl Put {
    pub(crate) fn new(bucket: Bucket, key: Bytes, value: Bytes) -> Put {
        Put { write: Write::new(bucket, key, Causality::Blind), value }
    }

    /// Replaces what was seen: the values that came with this context, and what those had replaced. Whatever was written
    /// meanwhile stays, as a sibling.
    pub fn over(mut self, context: &Context) -> Put {
        self.write.causality = Causality::Seen(context.to_bytes());
        self
    }

    /// Replaces whatever the coordinator's own copy holds when the write arrives. Convenient where one value is as good as
    /// another; a writer who wants to lose nothing reads first.
    pub fn over_current(mut self) -> Put {
        self.write.causality = Causality::Current;
        self
    }

    /// How many acknowledgements to wait for; more than half of the copies by default. The write goes to all of them.
    pub fn w(mut self, w: Quorum) -> Put {
        self.write.w = w;
        self
    }

    /// Count owners only, no stand-ins.
    pub fn strict(mut self, strict: bool) -> Put {
        self.write.strict = strict;
        self
    }

    /// Time that the write may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Put {
        self.write.timeout = Some(timeout);
        self
    }

    pub(crate) async fn make(self, deadline: Option<Instant>) -> Result<Written, Error> {
        if self.value.len() > VALUE_BYTES_MAX {
            return Err(too_large("value", self.value.len(), VALUE_BYTES_MAX));
        }
        let build = |w: &Write, timeout_ms| {
            let (bucket, key, causality) = (w.bucket.name.clone(), w.key.clone(), w.causality.clone());
            wire::Put { bucket, key, causality, w: w.w, strict: w.strict, timeout_ms }.into()
        };
        self.write.make(deadline, "Put", build, &self.value).await
    }
}

impl IntoFuture for Put {
    type Output = Result<Written, Error>;
    type IntoFuture = Made<'static, Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make(None))
    }
}

/// A delete to be awaited: see [`Bucket::delete`].
#[must_use = "a request is made when it is awaited"]
#[derive(Debug, Clone)]
pub struct Delete {
    write: Write,
}

impl Delete {
    pub(crate) fn new(bucket: Bucket, key: Bytes) -> Delete {
        Delete { write: Write::new(bucket, key, Causality::Current) }
    }

    /// Deletes only what was seen. Whatever was written meanwhile stays.
    pub fn over(mut self, context: &Context) -> Delete {
        self.write.causality = Causality::Seen(context.to_bytes());
        self
    }

    /// How many acknowledgements to wait for; more than half of the copies by default. The delete goes to all of them.
    pub fn w(mut self, w: Quorum) -> Delete {
        self.write.w = w;
        self
    }

    /// Count owners only, no stand-ins.
    pub fn strict(mut self, strict: bool) -> Delete {
        self.write.strict = strict;
        self
    }

    /// Time that the delete may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Delete {
        self.write.timeout = Some(timeout);
        self
    }

    pub(crate) async fn make(self, deadline: Option<Instant>) -> Result<Written, Error> {
        let build = |w: &Write, timeout_ms| {
            let (bucket, key, causality) = (w.bucket.name.clone(), w.key.clone(), w.causality.clone());
            wire::Delete { bucket, key, causality, w: w.w, strict: w.strict, timeout_ms }.into()
        };
        self.write.make(deadline, "Delete", build, &Bytes::new()).await
    }
}

impl IntoFuture for Delete {
    type Output = Result<Written, Error>;
    type IntoFuture = Made<'static, Written>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make(None))
    }
}

/// What a put and a delete have in common.
#[derive(Debug, Clone)]
struct Write {
    bucket: Bucket,
    key: Bytes,
    causality: Causality,
    w: Quorum,
    strict: bool,
    timeout: Option<Duration>,
}

impl Write {
    fn new(bucket: Bucket, key: Bytes, causality: Causality) -> Write {
        Write { bucket, key, causality, w: Quorum::default(), strict: false, timeout: None }
    }

    async fn make(
        &self,
        deadline: Option<Instant>,
        name: &str,
        build: impl Fn(&Write, u32) -> Message,
        body: &Bytes,
    ) -> Result<Written, Error> {
        check_key(&self.key)?;
        let inner = &self.bucket.client.inner;
        let deadline = deadline.unwrap_or_else(|| deadline_in(self.timeout.unwrap_or(inner.options.timeout_default())));
        let target = Target::Key(&self.bucket.name, &self.key);
        let message = |timeout_ms| build(self, timeout_ms);
        let frame = call(inner, Kind::Write, target, deadline, message, body).await?;
        match frame.message {
            Message::PutDone(done) => Ok(Written { context: done.context.into(), acks: done.acks }),
            other => Err(unexpected(name, &other)),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    siblings: Siblings,
    context: Context,
    acks: Acks,
}

impl Read {
    fn from_answer(found: wire::Found, mut body: Bytes) -> Result<Read, Error> {
        let total: u64 = found.lengths.iter().map(|&length| u64::from(length)).sum();
        if total != body.len() as u64 {
            return Err(Error::Unexpected { detail: format!("values of {total} bytes in a body of {}", body.len()) });
        }
        let siblings = match found.lengths[..] {
            [] => Siblings::None,
            [_] => Siblings::One(body),
            // The lengths add up to the body: no part is beyond it.
            _ => Siblings::Many(found.lengths.iter().map(|&length| body.split_to(length as usize)).collect()),
        };
        Ok(Read { siblings, context: found.context.into(), acks: found.acks })
    }

    /// The values. They share memory with what came along with them, 64 KiB or more: copy what is kept for long.
    pub fn siblings(&self) -> Siblings {
        self.siblings.clone()
    }

    /// The values, without another reference to them.
    pub fn into_siblings(self) -> Siblings {
        self.siblings
    }

    /// The value where only one is expected; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Siblings`] when there are several.
    pub fn single(&self) -> Result<Option<Bytes>, Error> {
        match &self.siblings {
            Siblings::None => Ok(None),
            Siblings::One(value) => Ok(Some(value.clone())),
            Siblings::Many(values) => Err(Error::Siblings { count: values.len() }),
        }
    }

    /// What was seen, absence included: write over it to replace it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many copies answered.
    pub fn acks(&self) -> Acks {
        self.acks
    }
}

/// A write or delete was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    context: Context,
    acks: Acks,
}

impl Written {
    pub(crate) fn nothing(read: &Read) -> Written {
        Written { context: read.context.clone(), acks: read.acks }
    }

    /// What was written, and what it replaced: write over it to go on.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many copies acknowledged.
    pub fn acks(&self) -> Acks {
        self.acks
    }
}

fn check_key(key: &Bytes) -> Result<(), Error> {
    check("key", key, KEY_BYTES_MAX)
}

fn check(what: &str, bytes: &[u8], max: usize) -> Result<(), Error> {
    match bytes.len() {
        0 => Err(Error::BadRequest { detail: format!("the {what} is empty") }),
        len if len > max => Err(too_large(what, len, max)),
        _ => Ok(()),
    }
}

/// A copy of a name or key that has a length it may have.
pub(crate) fn checked(what: &str, bytes: &[u8], max: usize) -> Result<Bytes, Error> {
    check(what, bytes, max)?;
    Ok(Bytes::copy_from_slice(bytes))
}

fn too_large(what: &str, len: usize, max: usize) -> Error {
    Error::TooLarge { detail: format!("the {what} has {len} bytes or more, at most {max} are allowed") }
}
