#!/usr/bin/env bash
# Writes a.toml, b.toml and c.toml for a new cluster of three machines, with an id and a secret of its own.
#   deploy/make-configs.sh 10.0.0.1 10.0.0.2 10.0.0.3 [FOLDER]
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here="$(cd "$(dirname "$0")" && pwd)"
into="${4:-.}"
hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
id="$(hex 16)"
secret="$(hex 32)"
umask 077 # whoever knows the secret can pass for a node
names=(a b c)
for at in 0 1 2; do
  addresses=("$1" "$2" "$3")
  sed -e "1d; s/NAME/${names[$at]}/; s/ADDRESS_A/$1/; s/ADDRESS_B/$2/; s/ADDRESS_C/$3/; s/ADDRESS/${addresses[$at]}/" \
    -e "s/CLUSTER_ID/$id/; s/CLUSTER_SECRET/$secret/" "$here/dynode.toml" >"$into/${names[$at]}.toml"
done
echo "written: $into/a.toml $into/b.toml $into/c.toml (they hold the secret: keep them private)"
