//! A bucket: where requests begin.

use bytes::Bytes;

use crate::call::{call, deadline_in};
use crate::client::unexpected;
use crate::keys::Keys;
use crate::many::Many;
use crate::request::{Delete, Get, Put};
use crate::retry::Kind;
use crate::routing::Target;
use crate::session::Session;
use crate::update::Update;
use crate::wire::limits::KEY_BYTES_MAX;
use crate::wire::{BucketIs, GetBucket, Message, SetBucket};
use crate::{Client, Error, Siblings};

/// A bucket of a cluster. Cheap to clone.
///
/// Keys are any bytes, 1 to 1,024 of them; a request with another key fails with
/// [`BadRequest`](crate::Error::BadRequest) or [`TooLarge`](crate::Error::TooLarge) before anything is sent.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: Bytes,
}

impl Bucket {
    pub(crate) fn new(client: Client, name: Bytes) -> Bucket {
        Bucket { client, name }
    }

    /// The bucket's name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The client that the bucket belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Get {
        Get::new(self.clone(), own(key.as_ref()))
    }

    /// Writes a value of up to 8 MiB, without knowledge of what is there: that becomes a sibling, unless
    /// [`over`](Put::over) or [`over_current`](Put::over_current) say otherwise.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Put {
        Put::new(self.clone(), own(key.as_ref()), value.into())
    }

    /// Deletes what the coordinator's own copy holds of a key; with [`over`](Delete::over), only what was seen.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Delete {
        Delete::new(self.clone(), own(key.as_ref()))
    }

    /// Reads many keys: [`get`](Bucket::get) for each, some under way at a time. See [`Many`].
    pub fn get_many(&self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Many<Get> {
        self.many(keys.into_iter().map(|key| (own(key.as_ref()), self.get(key))))
    }

    /// Writes many keys: [`put`](Bucket::put) for each, some under way at a time. See [`Many`].
    pub fn put_many(&self, pairs: impl IntoIterator<Item = (impl AsRef<[u8]>, impl Into<Bytes>)>) -> Many<Put> {
        self.many(pairs.into_iter().map(|(key, value)| (own(key.as_ref()), self.put(key, value))))
    }

    /// Deletes many keys: [`delete`](Bucket::delete) for each, some under way at a time. See [`Many`].
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Many<Delete> {
        self.many(keys.into_iter().map(|key| (own(key.as_ref()), self.delete(key))))
    }

    fn many<R>(&self, requests: impl Iterator<Item = (Bytes, R)>) -> Many<R> {
        Many::new(self.clone(), requests.collect())
    }

    /// Reads a key, has `merge` make one value of what was read, and writes that over it. See [`Update`].
    pub fn update<'a>(
        &self,
        key: impl AsRef<[u8]>,
        merge: impl FnMut(Siblings) -> Option<Bytes> + Send + 'a,
    ) -> Update<'a> {
        Update::new(self.clone(), own(key.as_ref()), Box::new(merge))
    }

    /// What the bucket is like, as a node knows it.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] and its like.
    pub async fn properties(&self) -> Result<BucketIs, Error> {
        let message = GetBucket { bucket: self.name.clone() };
        self.ask_about(Kind::Read, "GetBucket", message.into()).await
    }

    /// Changes what the bucket is like: `bucket.change(|change| change.kind = Some(BucketKind::Lww))`. What is not said stays.
    /// The node that takes it tells the others; those that are away hear of it when they are back.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] for what cannot be; [`Error::Unreachable`] and its like.
    pub async fn change(&self, change: impl FnOnce(&mut SetBucket)) -> Result<BucketIs, Error> {
        let mut message = SetBucket { bucket: self.name.clone(), ..SetBucket::default() };
        change(&mut message);
        message.bucket = self.name.clone();
        self.ask_about(Kind::Repeatable, "SetBucket", message.into()).await
    }

    async fn ask_about(&self, kind: Kind, name: &str, message: Message) -> Result<BucketIs, Error> {
        let inner = &self.client.inner;
        let deadline = deadline_in(inner.options.timeout_default());
        let frame = call(inner, kind, Target::Any, deadline, |_| message.clone(), &Bytes::new()).await?;
        match frame.message {
            Message::BucketIs(is) => Ok(is),
            other => Err(unexpected(name, &other)),
        }
    }

    /// Begins a session: its reads see what it has read and written before, at any `r`. See [`Session`].
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// Lists the bucket's keys in byte order. See [`Keys`].
    pub fn keys(&self) -> Keys {
        Keys::new(self.clone())
    }
}

/// The key as the request keeps it. One over the limit is refused when the request is made, so it is not copied whole.
fn own(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&key[..key.len().min(KEY_BYTES_MAX + 1)])
}
