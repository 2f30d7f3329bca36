#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deps.sh build|test|bench - install what is missing, from Debian 12's packages: to build, to test
# as well, or to build and to measure against other systems. Costs one dpkg-query when nothing is.
# As root, or with a sudo that asks nothing, it installs; otherwise it prints the exact command and
# fails.
set -eu

build="
    gcc libc6-dev binutils cmake ninja-build pkgconf
    libuv1-dev libxxhash-dev libmicrohttpd-dev libjansson-dev libcyaml-dev libyaml-dev
    libhiredis-dev"
test="
    ccache clang clang-format clang-tidy libclang-rt-14-dev llvm gcovr util-linux
    libcmocka-dev redis-server redis-tools valgrind
    python3 python3-pytest python3-redis python3-requests python3-psutil"
bench="
    python3 redis-server libraft-dev golang-go golang-golang-x-sys-dev
    golang-github-hashicorp-raft-dev golang-github-hashicorp-raft-boltdb-dev
    etcd-server golang-etcd-server-dev"

case "${1:-}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
bench) wanted="$build $bench" ;;
*) echo "usage: tools/deps.sh build|test|bench" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "deps.sh: not a Debian system; these packages or their like are needed:" $wanted >&2
    exit 0 # the configure step names what is not there
fi

# shellcheck disable=SC2086 # a list of words
missing=$({
    printf '%s\n' $wanted
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
        awk '$1 == "installed" { print $2; print $2 }'
} | sort | uniq -c | awk '$1 == 1 { print $2 }' | tr '\n' ' ')
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "Packages are missing. As root:" >&2
    echo "    apt-get update && apt-get install --no-install-recommends $missing" >&2
    exit 1
fi
echo "installing $missing"
$as_root apt-get -qq update || echo "deps.sh: apt-get update failed, trying with the old lists" >&2
# shellcheck disable=SC2086 # lists of words
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -y install --no-install-recommends $missing >/dev/null
