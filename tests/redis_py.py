"""redis-py's everyday calls: run by redis_py.sh, with the ports of a cluster's nodes."""

import sys
import threading

import redis


def everyday(node, other):
    node.delete(*(node.keys_used()))
    assert node.ping() and node.echo("hi") == "hi"
    assert node.set("name", "ada") and node.get("name") == "ada" and other.get("name") == "ada"
    assert node["name"] == "ada" and "name" in node and "nobody" not in node
    assert node.get("nobody") is None
    assert node.set("name", "eve", nx=True) is None and node.set("nobody", "x", xx=True) is None
    assert node.set("name", "eve", get=True) == "ada" and node.getset("name", "bob") == "eve"
    assert node.strlen("name") == 3 and node.append("name", "by") == 5 and node.getdel("name") == "bobby"
    assert node.mset({"a": 1, "b": b"\x32"}) and node.mget("a", "nobody", "b") == ["1", None, "2"]
    assert node.incr("n") == 1 and node.incrby("n", 41) == 42 and node.decr("n", 2) == 40
    assert node.setex("brief", 100, "v") and 0 < node.ttl("brief") <= 100 and 0 < node.pttl("brief") <= 100_000
    assert node.persist("brief") and node.ttl("brief") == -1 and node.expire("brief", 50, nx=True)
    assert node.expire("nobody", 5) is False and node.ttl("nobody") == -2
    assert node.setnx("once", 1) is True and node.setnx("once", 2) is False
    assert node.exists("a", "b", "nobody") == 2 and node.type("a") == "string" and node.type("nobody") == "none"
    assert sorted(node.scan_iter(match="?", count=2)) == ["a", "b", "n"]
    assert node.dbsize() == 5
    assert node.unlink("once") == 1 and node.delete("brief", "nobody") == 1
    with node.pipeline(transaction=False) as pipe:
        pipe.set("p", 1).incr("p").get("p").delete("p").get("p")
        assert pipe.execute() == [True, 2, "2", 1, None]
    assert node.info()["redis_mode"] == "standalone" and node.info("server")["tcp_port"] > 0
    assert node.config_get("append*") == {"appendonly": "yes"}
    assert node.client_setname("me") and node.client_getname() == "me" and node.client_id() > 0
    assert node.command_count() > 30 and "get" in node.command()


def refusals(node):
    node.set("word", "x")
    for call, words in [
        (lambda: node.incr("word"), "value is not an integer"),
        (lambda: node.lpush("l", 1), "unknown command"),
        (lambda: node.execute_command("SELECT", 1), "DB index is out of range"),
        (lambda: node.execute_command("GET"), "wrong number of arguments"),
        (lambda: node.set("k" * 1025, 1), "at most 1024"),
    ]:
        try:
            call()
        except redis.ResponseError as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)


def counting(ports, protocol):
    """Threads that share a node never lose an increment; a pool of connections grows as it must."""
    node = redis.Redis(port=ports[0], protocol=protocol)
    node.delete("count")
    threads = [threading.Thread(target=lambda: [node.incr("count") for _ in range(100)]) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert int(redis.Redis(port=ports[1]).get("count")) == 800


class Redis(redis.Redis):
    def keys_used(self):
        return ["name", "a", "b", "n", "brief", "once", "p", "word", "count"]


def main():
    ports = [int(port) for port in sys.argv[1:]]
    for protocol in (2, 3):
        nodes = [Redis(port=port, protocol=protocol, decode_responses=True) for port in ports]
        everyday(nodes[0], nodes[1])
        everyday(nodes[2], nodes[0])
        refusals(nodes[1])
        counting(ports, protocol)
        large = bytes(8 << 20)
        raw = redis.Redis(port=ports[0], protocol=protocol)
        assert raw.set("large", large) and redis.Redis(port=ports[2]).get("large") == large and raw.delete("large")
        print(f"redis-py {redis.__version__}, RESP{protocol}: all as it should be")


main()
