//! What a key holds, and the context of what was seen.

use bytes::Bytes;

/// The values of a key: none, one, or several that were written without knowledge of each other.
///
/// There is no way from here to "the" value that forgets the others: look at all three cases, or say what you expect
/// with [`Read::single`](crate::Read::single).
#[must_use = "a key may have several values"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Siblings {
    /// The key has no value.
    None,
    /// The key has one value.
    One(Bytes),
    /// The key has several values, at least two. Write a merged one over the context they were read with.
    Many(Vec<Bytes>),
}

impl Siblings {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        matches!(self, Siblings::None)
    }

    /// All values, in an order that is the same for every reader.
    pub fn as_slice(&self) -> &[Bytes] {
        match self {
            Siblings::None => &[],
            Siblings::One(value) => std::slice::from_ref(value),
            Siblings::Many(values) => values,
        }
    }

    /// All values, in an order that is the same for every reader.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.as_slice().iter()
    }

    /// All values as a list.
    pub fn into_vec(self) -> Vec<Bytes> {
        match self {
            Siblings::None => Vec::new(),
            Siblings::One(value) => vec![value],
            Siblings::Many(values) => values,
        }
    }
}

impl From<Vec<Bytes>> for Siblings {
    fn from(mut values: Vec<Bytes>) -> Siblings {
        match (values.len(), values.pop()) {
            (1, Some(value)) => Siblings::One(value),
            (_, Some(last)) => {
                values.push(last);
                Siblings::Many(values)
            }
            (_, None) => Siblings::None,
        }
    }
}

impl<'a> IntoIterator for &'a Siblings {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Siblings {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

/// What a reader has seen of one key, or a writer has made of it: give it to the next write, which then replaces just
/// that ([`Put::over`](crate::Put::over)).
///
/// The bytes are sealed: they mean something to the cluster only, and only for the key they came with. They may be
/// stored, or passed on to another process, and stay valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Context(Bytes);

impl Context {
    /// The sealed bytes, to store or to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The sealed bytes, without a copy.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }
}

/// From bytes that once came out of a context. Whether they are genuine, the node says.
impl From<Bytes> for Context {
    fn from(bytes: Bytes) -> Context {
        Context(bytes)
    }
}

/// From bytes that once came out of a context. Whether they are genuine, the node says.
impl From<Vec<u8>> for Context {
    fn from(bytes: Vec<u8>) -> Context {
        Context(bytes.into())
    }
}

impl AsRef<[u8]> for Context {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_say_how_many_they_are() {
        let values = |n: usize| (0..n).map(|i| Bytes::from(vec![i as u8])).collect::<Vec<_>>();
        for n in 0..4 {
            let siblings = Siblings::from(values(n));
            assert_eq!((siblings.len(), siblings.is_empty()), (n, n == 0));
            assert_eq!(siblings.iter().cloned().collect::<Vec<_>>(), values(n));
            assert!(match &siblings {
                Siblings::None => n == 0,
                Siblings::One(_) => n == 1,
                Siblings::Many(all) => n > 1 && all.len() == n,
            });
            assert_eq!(siblings.into_vec(), values(n));
        }
    }
}
