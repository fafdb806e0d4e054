//! Commands: arrays of strings, or lines. Decoded as they come, a part at a time; nothing is reserved for what is only
//! announced.

use bytes::{Buf, Bytes, BytesMut};

use super::inline;
use super::number::integer;
use crate::resp::limits::{ARGUMENTS_MAX, BULK_BYTES_MAX, COMMAND_BYTES_MAX, COUNT_LINE_MAX, INLINE_BYTES_MAX};

/// What comes is not Redis' protocol, or over a bound: the connection cannot go on. As Redis says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub struct ProtocolError(String);

/// Takes commands out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Strings that are still to come of the command.
    left: usize,
    /// The length of the next one, where it was said.
    length: Option<usize>,
    arguments: Vec<Bytes>,
    /// What they hold.
    bytes: usize,
    /// Of an incomplete line so much was looked through.
    searched: usize,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError(what.into()))
}

impl Decoder {
    /// The next command, never empty; `None`: more must come. What was taken is gone from `buf`.
    ///
    /// # Errors
    ///
    /// What is in `buf` cannot be understood, nor what comes after it.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            let is_begun = self.left > 0;
            let taken = match (is_begun, buf.first()) {
                (_, None) => return Ok(None),
                (false, Some(b'*')) => self.count(buf)?,
                (false, Some(_)) => match self.line(buf)? {
                    Some(words) if words.is_empty() => true,
                    Some(words) => return Ok(Some(words)),
                    None => false,
                },
                (true, _) => self.argument(buf)?,
            };
            if !taken {
                return Ok(None);
            }
            if is_begun && self.left == 0 {
                self.bytes = 0;
                return Ok(Some(std::mem::take(&mut self.arguments)));
            }
        }
    }

    /// What is held of a command that is not complete, in bytes, beside what `buf` holds.
    pub fn held(&self) -> usize {
        self.bytes + self.arguments.capacity() * size_of::<Bytes>()
    }

    /// Has a command begun that is not complete?
    pub fn is_within(&self, buf: &BytesMut) -> bool {
        self.left > 0 || !buf.is_empty()
    }

    /// `*3`: how many strings follow.
    fn count(&mut self, buf: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(line) = count_line(buf, "too big mbulk count string")? else { return Ok(false) };
        match integer(&line[1..]) {
            Some(count) if count <= 0 => {} // Redis passes over them, too
            Some(count) if count as u64 <= ARGUMENTS_MAX as u64 => self.left = count as usize,
            _ => return wrong("invalid multibulk length"),
        }
        Ok(true)
    }

    /// `$5`, and then the string.
    fn argument(&mut self, buf: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(length) = self.length else {
            if buf[0] != b'$' {
                return wrong(format!("expected '$', got '{}'", buf[0].escape_ascii()));
            }
            let Some(line) = count_line(buf, "too big bulk count string")? else { return Ok(false) };
            let length = integer(&line[1..]).and_then(|length| usize::try_from(length).ok());
            match length.filter(|length| *length <= BULK_BYTES_MAX && self.bytes + length <= COMMAND_BYTES_MAX) {
                Some(length) => self.length = Some(length),
                None => return wrong("invalid bulk length"),
            }
            return Ok(true);
        };
        if buf.len() < length + 2 {
            return Ok(false);
        }
        let string = buf.split_to(length).freeze();
        if !buf.starts_with(b"\r\n") {
            return wrong("expected the end of a line after a string");
        }
        buf.advance(2);
        self.bytes += length;
        self.arguments.push(string);
        (self.length, self.left) = (None, self.left - 1);
        Ok(true)
    }

    fn line(&mut self, buf: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let Some(end) = buf[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = buf.len();
            return if buf.len() > INLINE_BYTES_MAX { wrong("too big inline request") } else { Ok(None) };
        };
        let line = buf.split_to(self.searched + end + 1);
        self.searched = 0;
        let Some(words) = (line.len() <= INLINE_BYTES_MAX).then(|| inline::words(&line)) else {
            return wrong("too big inline request");
        };
        match words {
            Some(words) if words.len() > ARGUMENTS_MAX => wrong("too big inline request"),
            Some(words) => Ok(Some(words)),
            None => wrong("unbalanced quotes in request"),
        }
    }
}

/// A short line, without its end.
fn count_line(buf: &mut BytesMut, too_long: &str) -> Result<Option<BytesMut>, ProtocolError> {
    let looked = &buf[..buf.len().min(COUNT_LINE_MAX)];
    let Some(end) = looked.iter().position(|byte| *byte == b'\n') else {
        return if looked.len() == COUNT_LINE_MAX { wrong(too_long) } else { Ok(None) };
    };
    let mut line = buf.split_to(end + 1);
    line.truncate(end);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Ok(Some(line))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
