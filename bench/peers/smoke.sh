#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# smoke.sh [DIR] - run every driver that build.sh has built for a second, at 1 and at 32 in flight,
# and require that its line says verified and holds every field. It judges no speed. The data goes
# to DIR (default: build/bench/smoke), which is removed afterwards. Exit status: 0 all verified,
# 1 one is not, 3 nothing is built.
set -eu
cd "$(dirname "$0")/../.."
dir=${1:-build/bench/smoke}
fields="system version nodes in_flight value seconds operations p50_us p90_us p99_us p999_us max_us
    cpu_us_per_operation context_switches_per_operation sync verified"
ran=0
status=0
mkdir -p "$dir"
trap 'rm -rf "$dir/run"; rmdir "$dir" 2>/dev/null || :' EXIT

for driver in libraft hashicorp etcd; do
    [ -x "build/bench/$driver" ] || continue
    for in_flight in 1 32; do
        rm -rf "$dir/run"
        line=$("build/bench/$driver" --nodes 3 --in-flight "$in_flight" --value 256 --seconds 1 \
            --dir "$dir/run" 2>"$dir/run.log") || line=${line:-failed}
        ran=$((ran + 1))
        verdict=verified
        case $line in *'"verified":true}') ;; *) verdict="NOT VERIFIED" ;; esac
        case $line in *'"operations":0,'*) verdict="DID NOTHING" ;; esac
        for field in $fields; do
            case $line in *"\"$field\":"*) ;; *) verdict="NOT VERIFIED: no $field" ;; esac
        done
        echo "$driver, $in_flight in flight: $verdict"
        if [ "$verdict" != verified ]; then
            echo "    $line"
            sed 's/^/    /' "$dir/run.log"
            status=1
        fi
    done
done
rm -f "$dir/run.log"
[ "$ran" -gt 0 ] || { echo "smoke.sh: nothing is built; bench/peers/build.sh builds" >&2; exit 3; }
exit "$status"
