//! Keys whatever their values: are they there, away with them, all of them.

use std::sync::Arc;

use super::{Answers, Asked, Done, Outcome, is, number, sum, syntax};
use crate::resp::app::App;
use crate::resp::codec::Reply;
use crate::resp::glob::Pattern;
use crate::resp::op::Op;
use crate::resp::scan::{self, Wanted};

pub(super) fn del(asked: &mut Asked<'_>) -> Done {
    let ops = asked.words[1..].iter().map(|key| (key.clone(), Op::Delete));
    asked.on_keys(ops, sum)
}

pub(super) fn exists(asked: &mut Asked<'_>) -> Done {
    let ops = asked.words[1..].iter().map(|key| (key.clone(), Op::Exists));
    asked.on_keys(ops, sum)
}

pub(super) fn kind(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Type)
}

pub(super) fn scan(asked: &mut Asked<'_>) -> Done {
    let wrong = || Reply::err("invalid cursor");
    let cursor = std::str::from_utf8(&asked.words[1]).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
    let mut wanted = Wanted { cursor, ..Wanted::default() };
    for pair in asked.words[2..].chunks(2) {
        let [option, value] = pair else { return Err(syntax()) };
        if is(option, "match") {
            wanted.pattern = Some(Pattern::new(value));
        } else if is(option, "count") {
            match number(value)? {
                count if count > 0 => wanted.count = usize::try_from(count).unwrap_or(usize::MAX),
                _ => return Err(syntax()),
            }
        } else if is(option, "type") {
            wanted.only_other_types = !is(value, "string");
        } else {
            return Err(syntax());
        }
    }
    Ok(later(asked.app, |app| async move {
        match scan::page(&app, &wanted).await {
            Ok((cursor, keys)) => {
                let keys = keys.into_iter().map(Reply::Bulk).collect();
                Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(keys)])
            }
            Err(refusal) => refusal,
        }
    }))
}

pub(super) fn dbsize(asked: &mut Asked<'_>) -> Done {
    Ok(later(asked.app, |app| async move {
        match scan::count(&app).await {
            Ok(count) => Reply::Integer(count as i64),
            Err(refusal) => refusal,
        }
    }))
}

/// What is begun only when everything before it in the pipeline is done.
fn later<F>(app: &Arc<App>, work: impl FnOnce(Arc<App>) -> F + Send + 'static) -> Outcome
where
    F: Future<Output = Reply> + Send + 'static,
{
    let app = Arc::clone(app);
    Outcome::Later(Box::pin(async move { Answers::from(work(app).await) }))
}
