//! By what a request is known on its way from node to node: for logs and traces, and nothing else.
//!
//! It travels between a frame's fixed part and its header, and only with requests for which somebody wants it; other
//! frames are not a byte longer for it.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::WireError;
use super::limits::{REQUEST_NAME_BYTES_MAX, TRACE_BYTES_MAX};

/// Where a request comes from, in words that logs and traces of all nodes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The request's name, as `X-Request-Id` has it.
    name: String,
    /// The trace that it is a part of, as W3C's `traceparent` has it; all zero: none.
    pub id: [u8; 16],
    /// The step that has led to it, in that trace; all zero: none.
    pub parent: [u8; 8],
}

impl Trace {
    /// Of a request by its name. `None` where it is no name: 1 to [`REQUEST_NAME_BYTES_MAX`] printable ASCII characters.
    pub fn named(name: &str) -> Option<Trace> {
        let fits = (1..=REQUEST_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_printable);
        fits.then(|| Trace { name: name.to_owned(), id: [0; 16], parent: [0; 8] })
    }

    /// As a part of that trace, caused by that step.
    #[must_use]
    pub fn within(self, id: [u8; 16], parent: [u8; 8]) -> Trace {
        Trace { id, parent, ..self }
    }

    /// The request's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads W3C's `traceparent`: the trace, the step, and whether it is recorded. `None` where it is none that this version
    /// knows.
    pub fn read_parent(text: &str) -> Option<([u8; 16], [u8; 8], bool)> {
        let mut parts = text.split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lengths = (version.len(), id.len(), parent.len(), flags.len()) == (2, 32, 16, 2);
        let is_small = [version, id, parent, flags]
            .iter()
            .all(|part| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        // Later versions may say more behind it; what stands here stays.
        if !lengths || !is_small || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let (id, parent) = (u128::from_str_radix(id, 16).ok()?, u64::from_str_radix(parent, 16).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (id != 0 && parent != 0).then(|| (id.to_be_bytes(), parent.to_be_bytes(), flags & 1 == 1))
    }

    /// How many bytes it takes.
    pub(super) fn len_bytes(&self) -> usize {
        TRACE_BYTES_MAX - REQUEST_NAME_BYTES_MAX + self.name.len()
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.id);
        out.put_slice(&self.parent);
        out.put_u8(self.name.len() as u8);
        out.put_slice(self.name.as_bytes());
    }

    /// Reads it from the beginning of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Trace, WireError> {
        let parts = bytes.split_first_chunk::<16>().and_then(|(id, rest)| {
            let (parent, rest) = rest.split_first_chunk::<8>()?;
            let (len, rest) = rest.split_first()?;
            Some((id, parent, rest.get(..usize::from(*len))?))
        });
        let (id, parent, name) = parts.ok_or(WireError::Trace)?;
        let name = std::str::from_utf8(name).ok().and_then(Trace::named).ok_or(WireError::Trace)?;
        Ok(name.within(*id, *parent))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_forge_no_line_of_a_log() {
        for name in ["", "a\nb", "a\u{7f}", "ä", &"x".repeat(256)] {
            assert_eq!(Trace::named(name), None, "{name:?}");
        }
        assert_eq!(Trace::named("7c 4e").unwrap().name(), "7c 4e");
    }

    #[test]
    fn a_traceparent_is_read_as_w3c_has_it() {
        let (id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let read = Trace::read_parent(&format!("00-{id}-{parent}-01")).unwrap();
        assert_eq!((read.0[0], read.0[15], read.1[0], read.1[7]), (0x0a, 0x9c, 0xb7, 0x31));
        assert!(read.2 && !Trace::read_parent(&format!("00-{id}-{parent}-02")).unwrap().2);
        assert!(Trace::read_parent(&format!("cc-{id}-{parent}-01-what")).is_some(), "of a later version");
        let zero = "0".repeat(32);
        for wrong in [
            format!("00-{id}-{parent}-01-what"),
            format!("ff-{id}-{parent}-01"),
            format!("00-{zero}-{parent}-01"),
            format!("00-{id}-0000000000000000-01"),
            format!("00-{}-{parent}-01", id.to_uppercase()),
            format!("00-+{}-{parent}-01", &id[1..]),
            "00".into(),
        ] {
            assert_eq!(Trace::read_parent(&wrong), None, "{wrong}");
        }
    }
}
