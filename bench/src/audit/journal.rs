//! The journal: every write with its outcome and what it had seen, in memory and as JSON lines.

use std::collections::BTreeMap;
use std::io::{BufRead, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Id, Run};

/// The version of the file.
const FORMAT: u32 = 2;

/// What a writer was told about its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It is done.
    Acknowledged,
    /// It may be done.
    Unknown,
    /// It is not done and never will be.
    Failed,
}

/// How a write was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Over what a read saw.
    Over,
    /// Over nothing.
    Blind,
    /// Over the writer's own last write, with the context that its acknowledgement brought.
    Follow,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub id: Id,
    /// To which key.
    pub key: u32,
    /// How.
    pub kind: Kind,
    /// What became of it, as far as the writer knows.
    pub fate: Fate,
    /// The values that it replaces.
    pub seen: Box<[Id]>,
    /// Attempts, beside one, that may have arrived late: the value may come back so often after it was replaced.
    pub late: u32,
    /// The kind of error, when there was one.
    pub error: Option<Box<str>>,
    /// When it ended, in nanoseconds of the audit's clock.
    pub ended: u64,
}

/// One read of a register: see [`super::register`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Of which key.
    pub key: u32,
    /// When it began, in nanoseconds of the audit's clock.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// The values that it gave.
    pub values: Box<[Id]>,
}

/// All writes of an audit.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// The audit.
    pub run: Run,
    /// The bucket.
    pub bucket: String,
    /// When it started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The writes.
    pub writes: Vec<Write>,
    /// Every read and every write is strict, with `r + w > n`: no read may miss what was acknowledged before it began. Only
    /// then are reads kept.
    pub is_strict: bool,
    /// The reads.
    pub reads: Vec<Read>,
    /// Values that were read on the way and that no audit should find: key, and what is wrong.
    pub strange: Vec<(u32, String)>,
    /// Nothing is missing at its end.
    pub complete: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    dynode_audit: u32,
    run: String,
    bucket: String,
    keys: u32,
    started_unix_ms: u64,
    #[serde(default)]
    strict: bool,
}

#[derive(Serialize, Deserialize)]
struct ReadLine {
    read: Vec<String>,
    key: u32,
    began_ns: u64,
    ended_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    key: u32,
    kind: Kind,
    outcome: Fate,
    seen: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    late: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    ended_ns: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[derive(Serialize, Deserialize)]
struct Strange {
    strange: String,
    key: u32,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyLine {
    Write(Line),
    Read(ReadLine),
    Strange(Strange),
    End(End),
}

impl Journal {
    /// Nothing written yet.
    pub fn new(run: Run, bucket: &str, started_unix_ms: u64) -> Journal {
        let (writes, reads, strange) = (Vec::new(), Vec::new(), Vec::new());
        let (bucket, is_strict, complete) = (bucket.into(), false, true);
        Journal { run, bucket, started_unix_ms, writes, is_strict, reads, strange, complete }
    }

    /// The writes of each key.
    pub fn by_key(&self) -> BTreeMap<u32, Vec<&Write>> {
        let mut keys: BTreeMap<u32, Vec<&Write>> = (0..self.run.keys).map(|key| (key, Vec::new())).collect();
        for write in &self.writes {
            keys.entry(write.key).or_default().push(write);
        }
        keys
    }

    /// How many writes had this fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.writes.iter().filter(|w| w.fate == fate).count() as u64
    }

    /// Errors by kind.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let mut errors = BTreeMap::new();
        for error in self.writes.iter().filter_map(|w| w.error.as_deref()) {
            *errors.entry(error.to_string()).or_default() += 1;
        }
        errors
    }

    /// Writes it to a file.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let say = |e: std::io::Error| format!("cannot write the journal {}: {e}", path.display());
        let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(say)?);
        self.write_to(&mut out).and_then(|()| out.flush()).map_err(say)
    }

    /// Reads it from a file.
    pub fn load(path: &Path) -> Result<Journal, String> {
        let file = std::fs::File::open(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Journal::read_from(std::io::BufReader::new(file)).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn write_to(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let line = |out: &mut dyn std::io::Write, json: serde_json::Result<String>| writeln!(out, "{}", json?);
        let head = Head {
            dynode_audit: FORMAT,
            run: self.run.name.clone(),
            bucket: self.bucket.clone(),
            keys: self.run.keys,
            started_unix_ms: self.started_unix_ms,
            strict: self.is_strict,
        };
        line(out, serde_json::to_string(&head))?;
        for write in &self.writes {
            let text = Line {
                id: write.id.to_string(),
                key: write.key,
                kind: write.kind,
                outcome: write.fate,
                seen: write.seen.iter().map(ToString::to_string).collect(),
                late: write.late,
                error: write.error.as_deref().map(str::to_string),
                ended_ns: write.ended,
            };
            line(out, serde_json::to_string(&text))?;
        }
        for read in &self.reads {
            let values = read.values.iter().map(ToString::to_string).collect();
            let text = ReadLine { read: values, key: read.key, began_ns: read.began, ended_ns: read.ended };
            line(out, serde_json::to_string(&text))?;
        }
        for (key, strange) in &self.strange {
            line(out, serde_json::to_string(&Strange { strange: strange.clone(), key: *key }))?;
        }
        if self.complete {
            line(out, serde_json::to_string(&End { end: self.writes.len() }))?;
        }
        Ok(())
    }

    fn read_from(input: impl BufRead) -> Result<Journal, String> {
        let mut lines = input.lines().enumerate();
        let not_one = "this is not a journal that `dynode-bench audit --journal FILE` wrote";
        let (_, head) = lines.next().ok_or(not_one)?;
        let head: Head = serde_json::from_str(&head.map_err(|e| e.to_string())?).map_err(|_| not_one)?;
        if head.dynode_audit != FORMAT {
            return Err(format!("journal format {}, and this dynode-bench reads {FORMAT}", head.dynode_audit));
        }
        let run = Run { name: head.run, keys: head.keys };
        let mut journal = Journal::new(run, &head.bucket, head.started_unix_ms);
        (journal.complete, journal.is_strict) = (false, head.strict);
        for (number, line) in lines {
            let line = line.map_err(|e| e.to_string())?;
            match serde_json::from_str(&line) {
                Ok(AnyLine::Write(line)) => journal.writes.push(line.parsed(number)?),
                Ok(AnyLine::Read(line)) => journal.reads.push(line.parsed(number)?),
                Ok(AnyLine::Strange(s)) => journal.strange.push((s.key, s.strange)),
                Ok(AnyLine::End(End { end })) if end == journal.writes.len() => journal.complete = true,
                Ok(AnyLine::End(End { end })) => {
                    return Err(format!("it ends with {end} writes, but has {}", journal.writes.len()));
                }
                Err(e) => return Err(format!("line {}: {e}", number + 1)),
            }
        }
        Ok(journal)
    }
}

impl Line {
    fn parsed(self, number: usize) -> Result<Write, String> {
        let say = |e: String| format!("line {}: {e}", number + 1);
        Ok(Write {
            id: self.id.parse().map_err(say)?,
            key: self.key,
            kind: self.kind,
            fate: self.outcome,
            seen: self.seen.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(say)?,
            late: self.late,
            error: self.error.map(String::into_boxed_str),
            ended: self.ended_ns,
        })
    }
}

impl ReadLine {
    fn parsed(self, number: usize) -> Result<Read, String> {
        let values = self.read.iter().map(|id| id.parse()).collect::<Result<_, _>>();
        let values = values.map_err(|e: String| format!("line {}: {e}", number + 1))?;
        Ok(Read { key: self.key, began: self.began_ns, ended: self.ended_ns, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let mut journal = Journal::new(Run { name: "18c3".into(), keys: 3 }, "bench", 1_700_000_000_000);
        for number in 1..=4 {
            journal.writes.push(Write {
                id: Id { writer: 7, number },
                key: number % 3,
                kind: [Kind::Over, Kind::Blind, Kind::Follow][number as usize % 3],
                fate: [Fate::Acknowledged, Fate::Unknown, Fate::Failed][number as usize % 3],
                seen: (1..number).map(|number| Id { writer: 7, number }).collect(),
                late: number % 2,
                error: (number % 3 > 0).then(|| "overloaded".into()),
                ended: u64::from(number),
            });
        }
        journal.is_strict = true;
        let values = Box::new([Id { writer: 7, number: 1 }, Id { writer: 7, number: 4 }]);
        journal.reads.push(Read { key: 1, began: 5, ended: 6, values });
        journal.reads.push(Read { key: 2, began: 7, ended: 8, values: Box::new([]) });
        journal.strange.push((2, "damaged".into()));
        journal
    }

    #[test]
    fn a_journal_there_and_back_is_the_same() {
        let journal = journal();
        let mut text = Vec::new();
        journal.write_to(&mut text).expect("memory");
        assert_eq!(Journal::read_from(text.as_slice()), Ok(journal.clone()));
        assert_eq!(journal.by_key().len(), 3);
        assert_eq!(journal.errors(), BTreeMap::from([("overloaded".to_string(), 3)]));
        // Without its last line it is known to be cut.
        let cut = text[..text.len() - 2].iter().rposition(|b| *b == b'\n').expect("lines") + 1;
        assert_eq!(Journal::read_from(&text[..cut]).map(|j| j.complete), Ok(false));
    }

    #[test]
    fn what_is_no_journal_is_refused_with_its_line() {
        let read = |text: &str| Journal::read_from(text.as_bytes());
        assert!(read("").is_err_and(|e| e.contains("not a journal")));
        assert!(read("{}").is_err_and(|e| e.contains("not a journal")));
        let head = "{\"dynode_audit\":2,\"run\":\"a\",\"bucket\":\"b\",\"keys\":1,\"started_unix_ms\":0}\n";
        assert!(read(&head.replace(":2,\"run", ":9,\"run")).is_err_and(|e| e.contains("format 9")));
        assert!(read(&format!("{head}{{\"id\":3}}\n")).is_err_and(|e| e.contains("line 2")));
        assert!(read(&format!("{head}{{\"end\":7}}\n")).is_err_and(|e| e.contains("7 writes")));
    }
}
