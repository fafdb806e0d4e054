//! A network namespace a node, joined by a bridge: packets between two nodes vanish without a word, as on a real network,
//! which a proxy cannot do. Needs root and `ip`.
//!
//! A one-way cut is an entry in the sender's neighbour table that names a machine which is not there. Neither firewall nor
//! scheduler modules are needed, and TCP hears nothing: no refusal, no reset, only silence.

use rand::RngExt;

use super::system;

/// The machine that is not there.
const NOBODY: &str = "02:de:ad:00:00:fe";

/// What a slow node's link lets through. One way of `tc` or the other is there on most systems.
const SLOW: [&str; 2] = ["netem delay 50ms rate 4mbit limit 1000", "tbf rate 1mbit burst 16kb latency 1s"];

/// Namespaces `<name>-0`, `<name>-1`, …, and a bridge. Removed when this is dropped.
pub struct Spaces {
    /// Short: names of interfaces have fifteen characters.
    name: String,
    /// The first three parts of all addresses.
    net: String,
    count: usize,
    made: usize,
}

impl Spaces {
    /// Makes as many as there are nodes.
    ///
    /// # Errors
    ///
    /// The system does not allow it; nothing is left behind.
    pub fn new(count: usize) -> Result<Spaces, String> {
        remove_leftovers();
        let name = format!("dyc{}", std::process::id());
        let net = free_net()?;
        let mut spaces = Spaces { name, net, count, made: 0 };
        let (bridge, net) = (spaces.name.clone(), spaces.net.clone());
        system(&format!("ip link add {bridge} type bridge"))?;
        system(&format!("ip addr add {net}.254/24 dev {bridge}"))?;
        system(&format!("ip link set {bridge} up"))?;
        for i in 0..count {
            let (space, outside) = (spaces.space(i), spaces.outside(i));
            system(&format!("ip netns add {space}"))?;
            spaces.made += 1;
            system(&format!("ip link add {outside} type veth peer name eth0 netns {space}"))?;
            system(&format!("ip link set {outside} master {bridge} up"))?;
            system(&format!("ip -n {space} link set lo up"))?;
            system(&format!("ip -n {space} link set eth0 address {} up", mac(i)))?;
            system(&format!("ip -n {space} addr add {}/24 dev eth0", spaces.address(i)))?;
        }
        Ok(spaces)
    }

    /// A node's address.
    pub fn address(&self, i: usize) -> String {
        format!("{}.{}", self.net, i + 1)
    }

    /// The command that runs a program beside a node.
    pub fn prefix(&self, i: usize) -> Vec<String> {
        ["ip", "netns", "exec"].map(str::to_string).into_iter().chain([self.space(i)]).collect()
    }

    /// What one node sends another vanishes.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), String> {
        self.neighbour(from, to, NOBODY)
    }

    /// Nothing vanishes, and nobody is slow.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn heal(&self) -> Result<(), String> {
        for from in 0..self.count {
            for to in (0..self.count).filter(|to| *to != from) {
                self.neighbour(from, to, &mac(to))?;
            }
            // Only there when the node was slow.
            let _ = system(&format!("ip netns exec {} tc qdisc del dev eth0 root", self.space(from)));
            let _ = system(&format!("tc qdisc del dev {} root", self.outside(from)));
        }
        Ok(())
    }

    /// A node's link is slow both ways, to everybody.
    ///
    /// # Errors
    ///
    /// The system has neither way of doing it.
    pub fn slow(&self, i: usize) -> Result<(), String> {
        let slow = |how: &str| {
            system(&format!("ip netns exec {} tc qdisc replace dev eth0 root {how}", self.space(i)))?;
            system(&format!("tc qdisc replace dev {} root {how}", self.outside(i)))
        };
        slow(SLOW[0]).or_else(|_| slow(SLOW[1])).map(|_| ())
    }

    fn neighbour(&self, from: usize, to: usize, mac: &str) -> Result<(), String> {
        let (space, to) = (self.space(from), self.address(to));
        system(&format!("ip -n {space} neigh replace {to} lladdr {mac} dev eth0 nud permanent")).map(|_| ())
    }

    fn space(&self, i: usize) -> String {
        format!("{}-{i}", self.name)
    }

    fn outside(&self, i: usize) -> String {
        format!("{}v{i}", self.name)
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for i in 0..self.made {
            // With its namespace it would go as well, but some time later.
            let _ = system(&format!("ip link del {}", self.outside(i)));
            let _ = system(&format!("ip netns del {}", self.space(i)));
        }
        let _ = system(&format!("ip link del {}", self.name));
    }
}

fn mac(i: usize) -> String {
    format!("02:de:ad:00:01:{i:02x}")
}

/// A part of 10.0.0.0/8 that no route here knows.
fn free_net() -> Result<String, String> {
    let routes = system("ip -4 route show table all")?;
    let mut random = rand::rng();
    let found = (0..100).map(|_| format!("10.{}.{}", random.random_range(100..250), random.random_range(0..250)));
    found.into_iter().find(|net| !routes.contains(net.as_str())).ok_or_else(|| "no free network in 10.0.0.0/8".into())
}

/// Removes what processes that were killed have left.
fn remove_leftovers() {
    let ours = |name: &str| {
        let pid = name.strip_prefix("dyc")?.split(['-', ' ']).next()?.parse::<u32>().ok()?;
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(pid)
    };
    for line in system("ip netns list").unwrap_or_default().lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if let Some(pid) = ours(name) {
            let _ = system(&format!("ip netns del {name}"));
            let _ = system(&format!("ip link del dyc{pid}"));
        }
    }
}
