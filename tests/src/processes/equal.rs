//! Whether the owners' copies are equal, or contain all that anybody had at some moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dynode_client::Topic;
use serde_json::Value;

use super::Node;

/// What all owners' own copies say of each other: nothing, when every one is equal to the others.
///
/// # Errors
///
/// A node does not answer.
pub async fn differences(nodes: &[Node]) -> Result<Vec<String>, String> {
    let mut seen: BTreeMap<u64, (String, Value)> = BTreeMap::new();
    let mut found = Vec::new();
    for node in nodes {
        let report = node.report(Topic::LocalClocks).await?;
        let copies = report["copies"].as_array().cloned().unwrap_or_default();
        for copy in copies.iter().filter(|copy| copy["owner"] == true) {
            let partition = copy["partition"].as_u64().unwrap_or(u64::MAX);
            if copy["content"] != copy["content_kept"] {
                found.push(format!("partition {partition} on {}: its content is not what is kept of it", node.name));
            }
            let facts = serde_json::json!([copy["clock"], copy["content"], copy["keys"]]);
            match seen.get(&partition) {
                None => {
                    seen.insert(partition, (node.name.clone(), facts));
                }
                Some((_, other)) if *other == facts => {}
                Some((name, other)) => {
                    found.push(format!("partition {partition}: {name} has {other}, {} has {facts}", node.name));
                }
            }
        }
    }
    Ok(found)
}

/// Waits until all owners' copies are equal. How long it took.
///
/// # Errors
///
/// What still differs when time is up.
pub async fn wait_until_equal(nodes: &[Node], within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        // Cheap questions first: the copies are counted by reading them.
        let mut whole = true;
        for node in nodes {
            let status = node.status().await?;
            let sync = &status["sync"];
            let up = status["peers"].as_array().is_some_and(|peers| peers.iter().all(|peer| peer["up"] == true));
            whole &= up && sync["lacking"] == 0 && sync["pulling"] == 0;
        }
        let took = began.elapsed();
        let differences = if whole { differences(nodes).await? } else { vec!["a node lacks something".into()] };
        if differences.is_empty() {
            return Ok(took);
        }
        if took > within {
            return Err(format!("after {took:?}: {}", differences[..differences.len().min(3)].join("; ")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The dots that copies contain: by partition and actor, runs in order.
type Dots = BTreeMap<u64, BTreeMap<String, Vec<(u64, u64)>>>;

/// What all nodes' copies contained at about one moment, such as that of a heal. It is there once every node has told;
/// then copies can be asked whether they contain it, while writes go on.
#[derive(Debug, Default)]
pub struct Moment {
    told: BTreeMap<String, Dots>,
    /// All of it together: what stand-ins hold, too.
    all: Dots,
}

impl Moment {
    /// Asks all nodes; what each contains the first time that it answers is taken in. Nothing is returned when every node
    /// answers, sees all others, and every owner's copy contains what is to be contained; else what is missing.
    pub async fn missing(&mut self, nodes: &[Node]) -> Option<String> {
        // Cheap questions first: for the clocks every copy is read.
        for node in nodes {
            let status = match node.status().await {
                Ok(status) => status,
                Err(why) => return Some(format!("{} does not answer: {why}", node.name)),
            };
            let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
            if !self.told.contains_key(&node.name)
                && let Ok(report) = node.report(Topic::LocalClocks).await
            {
                self.take(&node.name, dots(&report, false));
            }
            if let Some(peer) = peers.iter().find(|peer| peer["up"] != true) {
                return Some(format!("{} does not see {}", node.name, peer["name"]));
            }
        }
        for node in nodes {
            let report = match node.report(Topic::LocalClocks).await {
                Ok(report) => report,
                Err(why) => return Some(format!("{} does not answer: {why}", node.name)),
            };
            for (partition, own) in dots(&report, true) {
                let wanted = self.all.get(&partition).into_iter().flatten();
                for (actor, run) in wanted.flat_map(|(actor, runs)| runs.iter().map(move |run| (actor, run))) {
                    let has = own.get(actor).is_some_and(|runs| runs.iter().any(|(a, b)| *a <= run.0 && run.1 <= *b));
                    if !has {
                        return Some(format!("partition {partition}: {} lacks some of {actor} {run:?}", node.name));
                    }
                }
            }
        }
        None
    }

    fn take(&mut self, node: &str, told: Dots) {
        for (partition, actors) in &told {
            for (actor, runs) in actors {
                let all = self.all.entry(*partition).or_default().entry(actor.clone()).or_default();
                *all = union(all.iter().chain(runs).copied());
            }
        }
        self.told.insert(node.into(), told);
    }
}

/// The dots of a node's copies, as it reports them.
fn dots(report: &Value, owned_only: bool) -> Dots {
    let copies = report["copies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let copies = copies.iter().filter(|copy| !owned_only || copy["owner"] == true);
    let number = |text: &str| text.trim().parse().unwrap_or(0);
    let run = |text: &str| match text.split_once('-') {
        Some((first, last)) => (number(first), number(last)),
        None => (number(text), number(text)),
    };
    let clock = |copy: &Value| {
        let actors = copy["clock"].as_object().into_iter().flatten();
        let runs = |runs: &Value| union(runs.as_str().unwrap_or_default().split(',').map(run));
        actors.map(|(actor, told)| (actor.clone(), runs(told))).collect()
    };
    copies.map(|copy| (copy["partition"].as_u64().unwrap_or(u64::MAX), clock(copy))).collect()
}

/// Runs in order, those that touch as one.
fn union(runs: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = runs.collect();
    runs.sort_unstable();
    let mut all: Vec<(u64, u64)> = Vec::new();
    for (first, last) in runs {
        match all.last_mut() {
            Some(run) if first <= run.1.saturating_add(1) => run.1 = run.1.max(last),
            _ => all.push((first, last)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn runs_that_touch_are_one() {
        assert_eq!(union([(5, 9), (1, 3), (4, 4), (11, 12)].into_iter()), [(1, 9), (11, 12)]);
    }

    #[test]
    fn a_moment_is_all_that_anybody_had() {
        let copy = |owner: bool, clock: Value| json!({ "partition": 3, "owner": owner, "clock": clock });
        let told = |copy: Value| dots(&json!({ "copies": [copy] }), false);
        let mut moment = Moment::default();
        moment.take("n1", told(copy(true, json!({ "a.1": "1-7, 9" }))));
        moment.take("n2", told(copy(false, json!({ "a.1": "8", "b.1": "1" }))));
        assert_eq!(moment.all[&3]["a.1"], [(1, 9)]);
        assert_eq!(moment.all[&3]["b.1"], [(1, 1)]);
        assert!(dots(&json!({ "copies": [copy(false, json!({}))] }), true).is_empty());
    }
}
