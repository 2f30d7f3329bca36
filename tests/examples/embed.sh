#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh PROGRAM - the example of the README counts, and goes on where it was when it runs again.
# Each run of this test has an address of its own, so that others on the machine do not matter.
set -eu
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
member=1=127.1.$(($$ / 250 % 250)).$(($$ % 250 + 1)):7101
"$program" "$member" | grep -x 'DONE: plus 5 is 5, read 5'
"$program" "$member" | grep -x 'DONE: plus 5 is 10, read 10'
