//! Requests as builders: what was not said has its default, and awaiting one makes it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;

use crate::call::{call, call_counted, deadline_in};
use crate::client::unexpected;
use crate::retry::Kind;
use crate::routing::Target;
use crate::wire::limits::{CONTENT_TYPE_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::wire::{self, Causality, Expiry, Frame, Message, Meta};
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
    at_least: Option<Bytes>,
}

impl Get {
    pub(crate) fn new(bucket: Bucket, key: Bytes) -> Get {
        Get { bucket, key, r: Quorum::default(), strict: false, timeout: None, at_least: None }
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

    /// What the answer must have seen: copies beyond `r` are asked until it has. See also [`Session`](crate::Session).
    pub fn at_least(mut self, context: &Context) -> Get {
        self.at_least = Some(context.to_bytes());
        self
    }

    /// Time that the read may take, retries included.
    pub fn timeout(mut self, timeout: Duration) -> Get {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) async fn make(self, deadline: Option<Instant>) -> Result<Read, Error> {
        let Get { bucket, key, r, strict, timeout, at_least } = self;
        check_key(&key)?;
        let inner = &bucket.client.inner;
        let deadline = deadline.unwrap_or_else(|| deadline_in(timeout.unwrap_or(inner.options.timeout_default())));
        let message = |timeout_ms| {
            let (bucket, key, at_least) = (bucket.name.clone(), key.clone(), at_least.clone());
            wire::Get { bucket, key, r, strict, timeout_ms, at_least }.into()
        };
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
    content_type: Bytes,
    expiry: Expiry,
    request: Option<u64>,
}

impl Put {
    pub(crate) fn new(bucket: Bucket, key: Bytes, value: Bytes) -> Put {
        let write = Write::new(bucket, key, Causality::Blind);
        Put { write, value, content_type: Bytes::new(), expiry: Expiry::OfBucket, request: None }
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

    /// What kind of value it is, such as `text/plain`, for readers to know: up to 255 bytes.
    pub fn content_type(mut self, content_type: impl AsRef<[u8]>) -> Put {
        let content_type = content_type.as_ref();
        self.content_type = Bytes::copy_from_slice(&content_type[..content_type.len().min(CONTENT_TYPE_BYTES_MAX + 1)]);
        self
    }

    /// When the value expires; as the bucket says by default.
    pub fn expiry(mut self, expiry: Expiry) -> Put {
        self.expiry = expiry;
        self
    }

    /// The value expires so long after it is written.
    pub fn ttl(self, ttl: Duration) -> Put {
        self.expiry(Expiry::After(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The id of this request, for a caller who may repeat it: a put that is repeated with the same id and value never becomes
    /// a sibling of itself. The client gives each put an id of its own, and repeats it with that.
    pub fn request_id(mut self, id: u64) -> Put {
        self.request = Some(id);
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
        if self.content_type.len() > CONTENT_TYPE_BYTES_MAX {
            return Err(too_large("content type", self.content_type.len(), CONTENT_TYPE_BYTES_MAX));
        }
        let (expiry, request) = (self.expiry, Some(self.request.unwrap_or_else(|| rand::rng().random())));
        let build = |w: &Write, timeout_ms| {
            let (bucket, key, causality) = (w.bucket.name.clone(), w.key.clone(), w.causality.clone());
            let content_type = self.content_type.clone();
            wire::Put { bucket, key, causality, w: w.w, strict: w.strict, timeout_ms, content_type, expiry, request }
                .into()
        };
        self.write.make(deadline, Kind::Repeatable, "Put", build, &self.value).await
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
        // What was seen can be removed twice; whatever is there is another thing each time.
        let repeatable = matches!(self.write.causality, Causality::Seen(_));
        let kind = if repeatable { Kind::Repeatable } else { Kind::Write };
        self.write.make(deadline, kind, "Delete", build, &Bytes::new()).await
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
        kind: Kind,
        name: &str,
        build: impl Fn(&Write, u32) -> Message,
        body: &Bytes,
    ) -> Result<Written, Error> {
        check_key(&self.key)?;
        let inner = &self.bucket.client.inner;
        let deadline = deadline.unwrap_or_else(|| deadline_in(self.timeout.unwrap_or(inner.options.timeout_default())));
        let target = Target::Key(&self.bucket.name, &self.key);
        let message = |timeout_ms| build(self, timeout_ms);
        let (frame, unknown_attempts) = call_counted(inner, kind, target, deadline, message, body).await?;
        match frame.message {
            Message::PutDone(done) => Ok(Written { context: done.context.into(), acks: done.acks, unknown_attempts }),
            other => Err(unexpected(name, &other)),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    siblings: Siblings,
    metas: Vec<Meta>,
    context: Context,
    acks: Acks,
}

impl Read {
    fn from_answer(found: wire::Found, mut body: Bytes) -> Result<Read, Error> {
        let total: u64 = found.siblings.iter().map(|sibling| u64::from(sibling.length)).sum();
        if total != body.len() as u64 {
            return Err(Error::Unexpected { detail: format!("values of {total} bytes in a body of {}", body.len()) });
        }
        let siblings = match found.siblings[..] {
            [] => Siblings::None,
            [_] => Siblings::One(body),
            // The lengths add up to the body: no part is beyond it.
            _ => Siblings::Many(found.siblings.iter().map(|s| body.split_to(s.length as usize)).collect()),
        };
        let metas = found.siblings.into_iter().map(|sibling| sibling.meta).collect();
        Ok(Read { siblings, metas, context: found.context.into(), acks: found.acks })
    }

    /// The values. They share memory with what came along with them, 64 KiB or more: copy what is kept for long.
    pub fn siblings(&self) -> Siblings {
        self.siblings.clone()
    }

    /// The values, without another reference to them.
    pub fn into_siblings(self) -> Siblings {
        self.siblings
    }

    /// What is said about each of the values, in their order: content type, expiry, when it was written.
    pub fn metas(&self) -> &[Meta] {
        &self.metas
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
    unknown_attempts: u32,
}

impl Written {
    pub(crate) fn nothing(read: &Read) -> Written {
        Written { context: read.context.clone(), acks: read.acks, unknown_attempts: 0 }
    }

    /// What was written, and what it replaced: write over it to go on.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How many copies acknowledged.
    pub fn acks(&self) -> Acks {
        self.acks
    }

    /// Attempts before the one that was acknowledged of which nobody knows whether they take effect. Such an attempt may
    /// arrive late, when what was written has been read and replaced already: its value is then back, once, as a sibling
    /// of what replaced it, for nobody had seen that attempt.
    pub fn unknown_attempts(&self) -> u32 {
        self.unknown_attempts
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
