#!/usr/bin/env bash
# Holds a running cluster against its own description with schemathesis: no 5xx, no answer that is not described, what is
# malformed refused. Needs python3 with venv, and PyPI.
#
# One check is left out: that all requests which fit the description are accepted. A context that was never given, or a
# quorum of 9 where there are 3 copies, fits it, and is refused.
set -euo pipefail
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/dynode/target}"
venv="$CARGO_TARGET_DIR/openapi-venv"
work="$(mktemp -d)"
port="${PORT:-17600}"

[ -x "$venv/bin/schemathesis" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install -q schemathesis==4.32.5; }

"$CARGO_TARGET_DIR/release/dynode" dev --data "$work/data" --base-port "$port" --partitions 16 >"$work/dev.log" &
dev=$!
trap 'kill $dev 2>/dev/null; wait $dev 2>/dev/null || true; rm -rf "$work"' EXIT
url="http://127.0.0.1:$((port + 1))"
for _ in $(seq 300); do
  curl -fs "$url/health/ready" >/dev/null && break
  sleep 0.1
done
cd "$work" # it keeps notes where it runs
"$venv/bin/schemathesis" run "$url/openapi.json" --checks all --exclude-checks positive_data_acceptance \
  --max-examples "${EXAMPLES:-200}" --seed "${SEED:-7}" --no-color
