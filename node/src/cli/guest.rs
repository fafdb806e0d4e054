//! What a node that comes to a running cluster must learn before it starts: which cluster it is, who owns what, and whether
//! its secret is the right one.

use std::path::Path;
use std::time::Duration;

use dynode_client::{Client, Error, Layout, Topic, inspect};

use super::output::Failure;
use crate::config::{File, node_id};
use crate::shell::knock;

/// The nodes that were named have so long to answer, each.
const ANSWER_TIME: Duration = Duration::from_secs(3);

/// Asks the nodes that the file names. Writes the cluster's id into it where it is missing. `None`: nobody can be reached.
pub(super) fn look(file: &mut File) -> Result<Option<Layout>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new("system", format!("the system refuses a runtime: {e}")))?;
    let found = runtime.block_on(ask(file));
    runtime.shutdown_background();
    match found? {
        Some((cluster, layout)) => {
            file.cluster.id = cluster.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(Some(layout))
        }
        None if file.cluster.id.is_empty() => Err(nobody(file)),
        None => Ok(None),
    }
}

pub(super) fn nobody(file: &File) -> Failure {
    unreachable(&file.join)
}

fn unreachable(join: &[String]) -> Failure {
    Failure::new("unreachable", format!("none of {} can be reached", join.join(", ")))
        .advice("A guest first comes to a cluster that runs: start one of these nodes, or name another with --join.")
}

async fn ask(file: &File) -> Result<Option<([u8; 16], Layout)>, Failure> {
    let mut client = Client::builder().timeout(ANSWER_TIME);
    let meant = hex(&file.cluster.id).and_then(|id| <[u8; 16]>::try_from(id).ok());
    if let Some(id) = meant {
        client = client.cluster(id);
    }
    let client = match client.connect(&file.join).await {
        Ok(client) => client,
        Err(Error::Unreachable { .. } | Error::TimedOut) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let (cluster, layout) = (client.cluster(), (*client.layout()).clone());
    let own = node_id(&cluster, &file.name);
    let secret = hex(&file.cluster.secret).unwrap_or_default();
    if let Some(member) = layout.member(own).filter(|member| member.addr != file.listen) {
        let what = format!("a member of that cluster is called `{}`, and listens on {}", file.name, member.addr);
        return Err(Failure::new("name", what).advice("Give this node another --name."));
    }
    // Whoever of the members answers knows the secret.
    let (asked, _) = client.node();
    if let Some(member) = layout.member(asked).filter(|member| member.id != own)
        && let Err(why) = knock(member.clone(), own, cluster, &secret).await
    {
        let what = format!("`{}` refuses this node: {why}", member.name);
        return Err(Failure::new("refused", what).advice(
            "Is the secret that of this cluster? It stands in the dynode.toml of each of its nodes, under [cluster].",
        ));
    }
    Ok(Some((cluster, layout)))
}

/// The secret as a node on this machine tells it.
pub(super) fn secret_of(join: &[String]) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new("system", format!("the system refuses a runtime: {e}")))?;
    let mut refused = None;
    for addr in join {
        match runtime.block_on(inspect(addr, Topic::Secret, ANSWER_TIME)) {
            Ok(report) => {
                let report: serde_json::Value = serde_json::from_slice(&report).unwrap_or_default();
                if let Some(secret) = report["secret"].as_str().filter(|secret| hex(secret).is_some()) {
                    return Ok(secret.into());
                }
            }
            Err(Error::Unreachable { .. } | Error::TimedOut) => {}
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) => Err(Failure::new("secret", format!("{why}"))
            .advice("Give --secret FILE: the dynode.toml of a node of the cluster, or a copy of the secret in it.")),
        None => Err(unreachable(join)),
    }
}

/// The secret in a file: in the dynode.toml of another node, or alone.
pub(super) fn secret_in(place: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(place).map_err(|e| Failure::file(place, &e))?;
    if let Ok(file) = toml::from_str::<File>(&text) {
        return Ok(file.cluster.secret);
    }
    let text = text.trim();
    match hex(text).is_some_and(|secret| secret.len() >= 16) {
        true => Ok(text.into()),
        false => {
            let what = format!("{}: neither a dynode.toml nor at least 32 hexadecimal digits", place.display());
            Err(Failure::new("config", what)
                .advice("Give the dynode.toml of a node of the cluster, or a copy of its secret."))
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
