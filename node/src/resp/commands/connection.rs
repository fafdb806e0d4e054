//! The connection itself: greetings, names, farewell.

use super::{Asked, Done, arity, is, syntax};
use crate::resp::codec::{Protocol, Reply, integer};
use crate::resp::limits::NAME_BYTES_MAX;
use crate::resp::session::Session;

/// The version of Redis whose words these are.
pub(super) const REDIS_VERSION: &str = "7.2.0";

pub(super) fn ping(asked: &mut Asked<'_>) -> Done {
    match &asked.words[1..] {
        [] => Ok(Reply::Simple("PONG").into()),
        [word] => Ok(Reply::Bulk(word.clone()).into()),
        _ => Err(arity("ping")),
    }
}

pub(super) fn echo(asked: &mut Asked<'_>) -> Done {
    Ok(Reply::Bulk(asked.words[1].clone()).into())
}

pub(super) fn quit(asked: &mut Asked<'_>) -> Done {
    asked.session.quits = true;
    Ok(Reply::OK.into())
}

pub(super) fn select(asked: &mut Asked<'_>) -> Done {
    match integer(&asked.words[1]) {
        Some(0) => Ok(Reply::OK.into()),
        Some(_) => Err(Reply::err("DB index is out of range")),
        None => Err(super::no_integer()),
    }
}

pub(super) fn auth(asked: &mut Asked<'_>) -> Done {
    match &asked.words[1..] {
        [_password] => Err(Reply::err(
            "AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        )),
        [user, _password] => login(user).map(|()| Reply::OK.into()),
        _ => Err(syntax()),
    }
}

/// There is one user, `default`, who needs no password: any will do, as Redis has it.
fn login(user: &[u8]) -> Result<(), Reply> {
    match user {
        b"default" => Ok(()),
        _ => Err(Reply::Error("WRONGPASS invalid username-password pair or user is disabled.".into())),
    }
}

pub(super) fn hello(asked: &mut Asked<'_>) -> Done {
    let mut words = asked.words[1..].iter();
    let protocol = match words.next() {
        None => asked.session.protocol,
        Some(version) => match integer(version) {
            Some(2) => Protocol::V2,
            Some(3) => Protocol::V3,
            Some(_) => return Err(Reply::Error("NOPROTO unsupported protocol version".into())),
            None => return Err(Reply::err("Protocol version is not an integer or out of range")),
        },
    };
    let mut name = None;
    while let Some(option) = words.next() {
        if is(option, "auth") {
            let (Some(user), Some(_password)) = (words.next(), words.next()) else { return Err(option_syntax(option)) };
            login(user)?;
        } else if is(option, "setname") {
            name = Some(checked_name(words.next().ok_or_else(|| option_syntax(option))?)?);
        } else {
            return Err(option_syntax(option));
        }
    }
    let session = &mut *asked.session;
    session.protocol = protocol;
    session.name = name.unwrap_or_else(|| std::mem::take(&mut session.name));
    let version = if protocol == Protocol::V3 { 3 } else { 2 };
    let said = [
        ("server", Reply::text("redis")),
        ("version", Reply::text(REDIS_VERSION)),
        ("proto", Reply::Integer(version)),
        ("id", Reply::Integer(session.id)),
        ("mode", Reply::text("standalone")),
        ("role", Reply::text("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(said.into_iter().map(|(name, value)| (Reply::text(name), value)).collect()).into())
}

fn option_syntax(option: &[u8]) -> Reply {
    Reply::err(format!("Syntax error in HELLO option '{}'", option.escape_ascii()))
}

fn checked_name(name: &[u8]) -> Result<String, Reply> {
    match std::str::from_utf8(name) {
        Ok(text) if name.iter().all(u8::is_ascii_graphic) && name.len() <= NAME_BYTES_MAX => Ok(text.to_string()),
        _ => Err(Reply::err("Client names cannot contain spaces, newlines or special characters.")),
    }
}

pub(super) fn client(asked: &mut Asked<'_>) -> Done {
    let words = &asked.words[1..];
    let session = &mut *asked.session;
    let of = |name: &str| is(&words[0], name);
    let done = |reply: Reply, words_wanted: usize, name: &str| match words.len() == words_wanted {
        true => Ok(reply.into()),
        false => Err(arity(&format!("client|{name}"))),
    };
    if of("id") {
        done(Reply::Integer(session.id), 1, "id")
    } else if of("getname") {
        let name = if session.name.is_empty() { Reply::Null } else { Reply::text(session.name.as_str()) };
        done(name, 1, "getname")
    } else if of("setname") {
        let [_, name] = words else { return Err(arity("client|setname")) };
        session.name = checked_name(name)?;
        Ok(Reply::OK.into())
    } else if of("setinfo") {
        let [_, what, value] = words else { return Err(arity("client|setinfo")) };
        set_info(session, what, value)
    } else if of("info") {
        done(Reply::Text(session.line()), 1, "info")
    } else if of("no-evict") || of("no-touch") {
        // Nothing is evicted, and nothing looked up is remembered.
        match words {
            [_, switch] if is(switch, "on") || is(switch, "off") => Ok(Reply::OK.into()),
            _ => Err(syntax()),
        }
    } else {
        Err(unknown_subcommand(&words[0], "CLIENT"))
    }
}

fn set_info(session: &mut Session, what: &[u8], value: &[u8]) -> Done {
    let fits = |value: &[u8]| value.iter().all(u8::is_ascii_graphic) && value.len() <= NAME_BYTES_MAX;
    let (place, name) = if is(what, "lib-name") {
        (&mut session.library, "lib-name")
    } else if is(what, "lib-ver") {
        (&mut session.library_version, "lib-ver")
    } else {
        return Err(Reply::err(format!("Unrecognized option '{}'", what.escape_ascii())));
    };
    match std::str::from_utf8(value) {
        Ok(text) if fits(value) => {
            *place = text.to_string();
            Ok(Reply::OK.into())
        }
        _ => Err(Reply::err(format!("{name} cannot contain spaces, newlines or special characters."))),
    }
}

pub(super) fn unknown_subcommand(word: &[u8], command: &str) -> Reply {
    let word = word[..word.len().min(128)].escape_ascii();
    Reply::err(format!("unknown subcommand '{word}'. Try {command} HELP."))
}
