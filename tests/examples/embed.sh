#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh PROGRAM - the example of the README counts, and goes on where it was when it runs again.
# Each run of this test has an address and a port of its own, so that others on the machine, also
# who listens at all addresses, do not matter.
set -eu
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
member=1=127.1.$(($$ / 250 % 250)).$(($$ % 250 + 1)):$((10000 + $$ % 20000))
for sum in 5 10; do
    "$program" "$member" >said || { cat said; exit 1; }
    cat said
    grep -qx "DONE: plus 5 is $sum, read $sum" said
done
