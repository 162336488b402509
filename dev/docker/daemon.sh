# shellcheck shell=bash
# A Docker daemon of our own, and the image that others are made from; read by dev/test-docker, dev/test-compose and
# tests/compose/run. $work is a folder of the caller, $data where images are, `fail` says why it ends.

export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=1
# The client of Debian's package goes with its daemon.
docker() { /usr/bin/docker "$@"; }

start_daemon() {
    dockerd --data-root "$data" --exec-root "$work/exec" --pidfile "$work/pid" -H "$DOCKER_HOST" \
        --default-ulimit nofile="$(ulimit -Hn):$(ulimit -Hn)" "$@" >"$work/log" 2>&1 &
    for _ in $(seq 300); do
        ! docker version >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    fail "dockerd does not answer; $(tail -n 5 "$work/log")"
}

end_daemon() {
    [ -f "$work/pid" ] || return 0
    kill "$(cat "$work/pid")"
    while [ -f "$work/pid" ]; do sleep 0.2; done
    # What it leaves mounted.
    umount "$work"/exec/netns/* 2>/dev/null || true
}

# import_base FOLDER: Debian's packages stand for the official image, under its name; FOLDER keeps them.
import_base() {
    if [ ! -f "$1/bookworm.tar" ]; then
        debootstrap --variant=minbase bookworm "$work/root" >"$work/debootstrap.log" ||
            fail "no base; $(tail -n 3 "$work/debootstrap.log")"
        tar -C "$work/root" -cf "$1/bookworm.tar.new" .
        mv "$1/bookworm.tar.new" "$1/bookworm.tar"
    fi
    docker image inspect debian:bookworm-slim >/dev/null 2>&1 ||
        docker import - debian:bookworm-slim <"$1/bookworm.tar" >/dev/null
}
