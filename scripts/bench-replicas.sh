#!/usr/bin/env bash
# Prints what durability, replication and a second branch cost: memory, durable, two durable branches and three durable
# replicas, measured in one run on this machine; then the start after a crash, and how long writes stand still when the leader is killed.
# Options come from the environment: DURATION (8s), THREADS of each server (2), FAILOVERS (20), ACCOUNTS of the large
# ledger (10000000), FOLDER for the data, which should be on the disk that is to be measured (a new folder in the current directory), PROFILE (release; dev).
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)

DURATION=${DURATION:-8s}
THREADS=${THREADS:-2}
FAILOVERS=${FAILOVERS:-20}
ACCOUNTS=${ACCOUNTS:-10000000}
PROFILE=${PROFILE:-release}

(cd "$ROOT" && cargo build --profile "$PROFILE" --locked --quiet --bins)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
BIN=$TARGET/${PROFILE/#dev/debug}
WORK=$(mktemp -d -p "${FOLDER:-$PWD}" bench-replicas.XXXXXX)
declare -A PID=() ADDRESS=()

# crash ID: kills a server as a loss of power would, without the shell's word about it.
crash() {
    kill -9 "${PID[$1]}" 2>/dev/null || true
    wait "${PID[$1]}" 2>/dev/null || true
}

stop() {
    local id
    for id in "${!PID[@]}"; do
        crash "$id"
    done
    PID=() ADDRESS=()
    rm -rf "$WORK"/data-*
}
trap 'stop; rm -rf "$WORK"' EXIT

# launch ID PORT OPTIONS...: starts a server and waits until it listens.
launch() {
    local id=$1 port=$2
    shift 2
    : >"$WORK/server-$id"
    "$BIN/bank-server" 127.0.0.1 "$port" "$THREADS" "$@" >>"$WORK/server-$id" 2>>"$WORK/log-$id" &
    PID[$id]=$!
    until ADDRESS[$id]=$(grep -oE '127\.0\.0\.1:[0-9]+' "$WORK/server-$id" | head -n 1) && [[ -n ${ADDRESS[$id]} ]]; do
        kill -0 "${PID[$id]}"
        sleep 0.01
    done
}

memory() {
    stop
    launch 1 0
}

durable() {
    stop
    launch 1 0 --data-dir "$WORK/data-1"
}

# A port that was free a moment ago, and that the system gives to nobody by itself.
free_port() {
    local port
    while :; do
        port=$((10000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

replica() {
    launch "$1" "${PORTS[$1]}" --replica "$1" --peers "$PEERS" --data-dir "$WORK/data-$1"
}

replicas() {
    stop
    PORTS=([1]=$(free_port) [2]=$(free_port) [3]=$(free_port))
    PEERS=1=127.0.0.1:${PORTS[1]},2=127.0.0.1:${PORTS[2]},3=127.0.0.1:${PORTS[3]}
    local id
    for id in 1 2 3; do replica "$id"; done
    SERVERS=${ADDRESS[1]},${ADDRESS[2]},${ADDRESS[3]}
    "$BIN/bank-client" --server "$SERVERS" --timeout 20s -o plain open >/dev/null
}

# Two durable branches of one server each, with an account at the second.
branches() {
    stop
    PORTS=([1]=$(free_port) [2]=$(free_port))
    launch 1 "${PORTS[1]}" --branch mumbai --data-dir "$WORK/data-1" --route "delhi=127.0.0.1:${PORTS[2]}"
    launch 2 "${PORTS[2]}" --branch delhi --data-dir "$WORK/data-2" --route "mumbai=127.0.0.1:${PORTS[1]}"
    "$BIN/bank-client" --server "${ADDRESS[2]}" -o plain open >/dev/null
}

# leader: the number of the replica that leads.
leader() {
    local id=
    until id=$("$BIN/bank-client" --server "$SERVERS" -o plain status | awk '$5 == "LEADER" { print $3 }') && [[ -n $id ]]; do
        sleep 0.05
    done
    echo "$id"
}

# bench ID OPTIONS...: one run against a server; its JSON goes to $WORK/run.
bench() {
    local address=${ADDRESS[$1]}
    shift
    "$BIN/bank-client" --server "$address" -o json bench --duration "$DURATION" "$@" >"$WORK/run"
}

# field NAME: a number of the last run.
field() {
    grep -oE "\"$1\": *[0-9.]+" "$WORK/run" | head -n 1 | grep -oE '[0-9.]+$'
}

row() {
    printf '%-44s %12s %9s %9s %9s\n' "$@"
}

# line NAME BASE ID OPTIONS...: one run, its row, and its rate as a share of BASE (- for none). Sets RATE.
line() {
    local name=$1 base=$2 share=-
    shift 2
    bench "$@"
    RATE=$(field rate)
    [[ $base == - ]] || share=$(awk -v rate="$RATE" -v base="$base" 'BEGIN { printf "%.2f", rate / base }')
    row "$name" "$RATE" "$share" "$(field p50Us)" "$(field p99Us)"
}

milliseconds() {
    date +%s%3N
}

UNARY='--inflight 64'
ONE='--inflight 1'
BUSY='--inflight 8 --rate 4000'
ELSEWHERE='--mix transfer --transfer-to delhi/1'
BULK='--batch 1024 --inflight 16 --submit'

echo "$(nproc) cores, each server with $THREADS threads, $DURATION a run; latencies in microseconds"
row measurement ops/s share p50 p99
# shellcheck disable=SC2086 # the options are several words
{
    memory
    line 'deposit, 64 in flight, memory' - 1 $UNARY
    memory_unary=$RATE
    line 'deposit, 1 in flight, memory' - 1 $ONE
    memory_one=$RATE
    memory
    line 'Submit of 1024, memory' - 1 $BULK
    memory_bulk=$RATE

    durable
    line 'deposit, 64 in flight, durable (of memory)' "$memory_unary" 1 $UNARY
    durable_unary=$RATE
    line 'deposit, 1 in flight, durable (of memory)' "$memory_one" 1 $ONE
    line 'transfer inside, 64 in flight (of durable)' "$durable_unary" 1 $UNARY --mix transfer
    branches
    line 'transfer to another branch, 256 in flight' - 1 --inflight 256 $ELSEWHERE
    line 'transfer to another branch, 1 in flight' - 1 $ONE $ELSEWHERE
    durable
    line 'Submit of 1024, durable (of memory)' "$memory_bulk" 1 $BULK
    durable_bulk=$RATE

    crash 1
    "$BIN/bank-server" verify "$WORK/data-1" >"$WORK/verified"
    behind=$(($(awk '$1 == "sequence" { print $2 }' "$WORK/verified") - $(awk '$1 == "snapshot" { print $5 }' "$WORK/verified")))
    began=$(milliseconds)
    launch 1 0 --data-dir "$WORK/data-1"
    started=$(($(milliseconds) - began))

    replicas
    at=$(leader)
    line 'deposit, 64 in flight, three (of durable)' "$durable_unary" "$at" $UNARY
    line 'deposit, 64 in flight, three, at a follower' "$durable_unary" "$((at % 3 + 1))" $UNARY
    line 'deposit, 1 in flight, three' - "$at" $ONE
    follower=$((at % 3 + 1))
    bench "$at" $BUSY --read-at "${ADDRESS[$follower]}"
    row 'session read at a follower, steady writes' - - "$(field readP50Us)" "$(field readP99Us)"
    row '  the deposits before them' - - "$(field writeP50Us)" "$(field writeP99Us)"
    replicas
    line 'Submit of 1024, three (of durable)' "$durable_bulk" "$(leader)" $BULK
}
echo "start after kill -9: $started ms, with $behind commands behind the snapshot"

# A large ledger: deposits go on until a snapshot of it was taken meanwhile, then it starts again.
newest_snapshot() {
    find "$WORK/data-1/snapshot" -name '*.snap' | sort | tail -n 1
}

durable
# shellcheck disable=SC2086 # the options are several words
bench 1 $BULK --accounts "$ACCOUNTS"
DURATION=3s
while :; do
    before=$(newest_snapshot)
    bench 1 --inflight 64
    if [[ $(newest_snapshot) != "$before" ]]; then break; fi
    quiet=$(field p99Us)
done
echo "p99 of deposits with $ACCOUNTS accounts: ${quiet:-?} us, $(field p99Us) us in the $DURATION in which a snapshot was taken"
crash 1
began=$(milliseconds)
launch 1 0 --data-dir "$WORK/data-1"
echo "start with $ACCOUNTS accounts after kill -9: $(($(milliseconds) - began)) ms"

replicas
for ((round = 0; round < FAILOVERS; round++)); do
    at=$(leader)
    began=$(milliseconds)
    kill -9 "${PID[$at]}" && wait "${PID[$at]}" 2>/dev/null || true
    "$BIN/bank-client" --server "$SERVERS" --timeout 30s -o plain deposit 1 0.01 >/dev/null
    echo "$(($(milliseconds) - began))"
    replica "$at"
done >"$WORK/failovers"
sort -n "$WORK/failovers" | awk '{ all[NR] = $1 } END { print "failover in ms: p50 " all[int((NR + 1) / 2)] ", p99 " all[NR] " (of " NR ")" }'
