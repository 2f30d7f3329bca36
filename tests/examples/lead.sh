#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lead.sh PROGRAM - leadership moves, by request and because the leader demotes itself, and who
# began to work ends it. Each run has an address and ports of its own: others on the machine, also
# who listens at all addresses, do not matter.
set -eu
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
host=127.2.$(($$ / 250 % 250)).$(($$ % 250 + 1))
port=$((10000 + $$ % 20000))
"$program" "$host:$port" "$host:$((port + 1))" "$host:$((port + 2))" >said || { cat said; exit 1; }
cat said
grep -qx 'moved from node [123] to node [123]' said
grep -qx 'node [123] is a learner now, and follows' said
awk '/begins to work/ { if (works[$2]++) exit 1; begun++ }
     /ends its work/ { works[$2] = 0 }
     END { for (id in works) if (works[id]) exit 1; if (begun < 3) exit 1 }' said
