#!/usr/bin/env bash
# The console in a headless Chromium, against three nodes of `dynode dev` (tests/console.mjs). Needs chromium, node and npm
# (Debian: chromium nodejs npm), and playwright-core from npm; its browsers are not downloaded.
set -euo pipefail
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/dynode/target}"
export CHROMIUM="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}"
export PORT="${PORT:-17700}"
export MODULES="$CARGO_TARGET_DIR/console-test"
export SHOTS="${SHOTS:-$CARGO_TARGET_DIR/console-test/screenshots}"
[ -x "$CHROMIUM" ] || { echo 'There is no Chromium (Debian: apt-get install chromium).' >&2; exit 1; }
[ -d "$MODULES/node_modules/playwright-core" ] || npm install --silent --no-audit --no-fund --prefix "$MODULES" playwright-core@1.56.1

work="$(mktemp -d)"
export DATA="$work/data"
"$CARGO_TARGET_DIR/release/dynode" dev --data "$DATA" --base-port "$PORT" --partitions 64 >"$work/dev.log" 2>&1 &
dev=$!
trap 'kill $dev 2>/dev/null; wait $dev 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  curl -fs "http://127.0.0.1:$((PORT + 1))/health/ready" >/dev/null && break
  sleep 0.1
done
node "$(dirname "$0")/console.mjs"
