#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh - build the drivers of those peers that are installed into build/bench/, and name the
# Debian packages of those that are not. Nothing is downloaded. Exit status: 0 all built, 1 a build
# failed, 3 some are missing.
set -eu
cd "$(dirname "$0")/../.."
out=build/bench
mkdir -p "$out/gopath/src"
status=0

missing() { # what packages...
    what=$1
    shift
    echo "bench: no $what; as root: apt-get install --no-install-recommends $*" >&2
    [ "$status" = 1 ] || status=3
}
built() { echo "$out/$1  $2"; }
failed() {
    echo "bench: $1 was not built" >&2
    status=1
}
package_version() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo unknown; }

if pkg-config --exists raft libuv 2>/dev/null; then
    # shellcheck disable=SC2046 # lists of words
    if ${CC:-cc} -std=c11 -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
        -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla -Wundef -Wwrite-strings \
        -Wcast-qual -Wformat=2 -Wdouble-promotion -Werror \
        -DRAFT_VERSION="\"$(pkg-config --modversion raft)\"" -o "$out/libraft" \
        bench/peers/libraft.c bench/peers/measure.c $(pkg-config --cflags --libs raft libuv); then
        built libraft "libraft $(pkg-config --modversion raft)"
    else
        failed libraft
    fi
else
    missing libraft libraft-dev libuv1-dev
fi

# Debian's Go packages are sources under /usr/share/gocode; ours are found as "peers/...".
ln -sfn "$PWD/bench/peers" "$out/gopath/src/peers"
gocode=${GOCODE:-/usr/share/gocode}
go_build() { # program package-that-holds-the-version
    if GO111MODULE=off GOPATH="$PWD/$out/gopath:$gocode" GOFLAGS='' GOTOOLCHAIN=local \
        go build -ldflags "-X main.version=$(package_version "$2")" -o "$out/$1" "peers/$1"; then
        built "$1" "$2 $(package_version "$2"), $(go env GOVERSION)"
    else
        failed "$1"
    fi
}

if ! command -v go >/dev/null || [ ! -d "$gocode/src/golang.org/x/sys/unix" ]; then
    missing "Go, for hashicorp/raft and etcd" golang-go golang-golang-x-sys-dev
else
    if [ -d "$gocode/src/github.com/hashicorp/raft" ] &&
        [ -d "$gocode/src/github.com/hashicorp/raft-boltdb" ]; then
        go_build hashicorp golang-github-hashicorp-raft-dev
    else
        missing hashicorp/raft golang-github-hashicorp-raft-dev \
            golang-github-hashicorp-raft-boltdb-dev
    fi
    if command -v etcd >/dev/null && [ -d "$gocode/src/go.etcd.io/etcd/clientv3" ]; then
        go_build etcd etcd-server
    else
        missing etcd etcd-server golang-etcd-server-dev
    fi
fi
exit "$status"
