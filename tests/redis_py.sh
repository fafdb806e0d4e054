#!/usr/bin/env bash
# redis-py (PyPI) on a running cluster: its everyday calls, as people make them, with both versions of the protocol. Needs
# python3 with venv, and PyPI.
set -euo pipefail
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/dynode/target}"
venv="$CARGO_TARGET_DIR/redis-py-venv"
work="$(mktemp -d)"
port="${PORT:-17700}"

[ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import redis' 2>/dev/null ||
  { python3 -m venv "$venv" && "$venv/bin/pip" install -q redis==6.4.0; }

"$CARGO_TARGET_DIR/release/dynode" dev --data "$work/data" --base-port "$port" --partitions 16 >"$work/dev.log" &
dev=$!
trap 'kill $dev 2>/dev/null; wait $dev 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  curl -fs "http://127.0.0.1:$((port + 1))/health/ready" >/dev/null && break
  sleep 0.1
done
"$venv/bin/python" "$(dirname "$0")/redis_py.py" "$((port + 2))" "$((port + 12))" "$((port + 22))"
