//! Sessions: whoever reads sees what the session has read and written before, however few copies are asked.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::SESSION_KEYS_MAX;
use crate::request::{Delete, Get, Put, Read, Written};
use crate::{Bucket, Context, Error};

/// One reader's and writer's view of a bucket, one request after the other: see [`Bucket::session`].
///
/// It remembers of each key the context of what it saw or wrote last. A read asks for at least that (*read-your-writes*,
/// *monotonic reads*), so `r` may be one; a write replaces it, as [`Put::over`] does. Where the copies that can be reached
/// have not seen it in time, the read fails with [`Error::NotSeenYet`], and does not go back in time.
///
/// A write that ended as [`Error::OutcomeUnknown`] is not remembered: later reads may show it or not.
#[derive(Debug, Clone)]
pub struct Session {
    bucket: Bucket,
    seen: BTreeMap<Bytes, Context>,
}

impl Session {
    pub(crate) fn new(bucket: Bucket) -> Session {
        Session { bucket, seen: BTreeMap::new() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// What the session has seen of a key: to hand over to another session, in another process maybe.
    pub fn context(&self, key: impl AsRef<[u8]>) -> Option<&Context> {
        self.seen.get(key.as_ref())
    }

    /// Takes over what another session has seen of a key, in place of what this one has.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] when the session remembers too many keys.
    pub fn resume(&mut self, key: impl AsRef<[u8]>, context: Context) -> Result<(), Error> {
        self.room_for(key.as_ref())?;
        self.seen.insert(Bytes::copy_from_slice(key.as_ref()), context);
        Ok(())
    }

    /// Forgets all that was seen.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// As [`Bucket::get`]; [`Error::NotSeenYet`] when no copies that answer in time have seen what this session has;
    /// [`Error::BadRequest`] when the session remembers too many keys.
    pub async fn get(&mut self, key: impl AsRef<[u8]>) -> Result<Read, Error> {
        self.get_with(key, |get| get).await
    }

    /// As [`Session::get`], on other terms than the defaults: `session.get_with("k", |get| get.r(Quorum::One))`.
    ///
    /// # Errors
    ///
    /// As [`Session::get`].
    pub async fn get_with(&mut self, key: impl AsRef<[u8]>, terms: impl FnOnce(Get) -> Get) -> Result<Read, Error> {
        let key = key.as_ref();
        self.room_for(key)?;
        let mut get = terms(self.bucket.get(key));
        if let Some(context) = self.seen.get(key) {
            get = get.at_least(context);
        }
        let read = get.await?;
        self.seen.insert(Bytes::copy_from_slice(key), read.context().clone());
        Ok(read)
    }

    /// Writes a value over what the session has seen of the key; where it has seen nothing, beside what is there.
    ///
    /// # Errors
    ///
    /// As [`Bucket::put`]; [`Error::BadRequest`] when the session remembers too many keys.
    pub async fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Written, Error> {
        self.put_with(key, value, |put| put).await
    }

    /// As [`Session::put`], on other terms than the defaults.
    ///
    /// # Errors
    ///
    /// As [`Session::put`].
    pub async fn put_with(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        terms: impl FnOnce(Put) -> Put,
    ) -> Result<Written, Error> {
        let key = key.as_ref();
        self.room_for(key)?;
        let mut put = terms(self.bucket.put(key, value));
        if let Some(context) = self.seen.get(key) {
            put = put.over(context);
        }
        let written = put.await?;
        self.seen.insert(Bytes::copy_from_slice(key), written.context().clone());
        Ok(written)
    }

    /// Deletes what the session has seen of the key; where it has seen nothing, what the coordinator's copy holds.
    ///
    /// # Errors
    ///
    /// As [`Bucket::delete`]; [`Error::BadRequest`] when the session remembers too many keys.
    pub async fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<Written, Error> {
        self.delete_with(key, |delete| delete).await
    }

    /// As [`Session::delete`], on other terms than the defaults.
    ///
    /// # Errors
    ///
    /// As [`Session::delete`].
    pub async fn delete_with(
        &mut self,
        key: impl AsRef<[u8]>,
        terms: impl FnOnce(Delete) -> Delete,
    ) -> Result<Written, Error> {
        let key = key.as_ref();
        self.room_for(key)?;
        let mut delete = terms(self.bucket.delete(key));
        if let Some(context) = self.seen.get(key) {
            delete = delete.over(context);
        }
        let written = delete.await?;
        self.seen.insert(Bytes::copy_from_slice(key), written.context().clone());
        Ok(written)
    }

    /// Forgetting a key in silence would break the promise for it.
    fn room_for(&self, key: &[u8]) -> Result<(), Error> {
        if self.seen.len() < SESSION_KEYS_MAX || self.seen.contains_key(key) {
            return Ok(());
        }
        let detail = format!("the session remembers {SESSION_KEYS_MAX} keys: begin another, or forget them");
        Err(Error::BadRequest { detail })
    }
}
