//! A bucket: where requests begin.

use bytes::Bytes;

use crate::keys::Keys;
use crate::request::{Delete, Get, Put};
use crate::session::Session;
use crate::update::Update;
use crate::wire::limits::KEY_BYTES_MAX;
use crate::{Client, Siblings};

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

    /// Reads a key, has `merge` make one value of what was read, and writes that over it. See [`Update`].
    pub fn update<'a>(
        &self,
        key: impl AsRef<[u8]>,
        merge: impl FnMut(Siblings) -> Option<Bytes> + Send + 'a,
    ) -> Update<'a> {
        Update::new(self.clone(), own(key.as_ref()), Box::new(merge))
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
