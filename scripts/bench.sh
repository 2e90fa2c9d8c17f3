#!/usr/bin/env bash
# Prints the table of measurements: each against a server of its own on a free port, all on this machine.
# Options come from the environment: DURATION (8s), THREADS of the server (2), ACCOUNTS of the large run (10000000).
set -euo pipefail
cd "$(dirname "$0")/.."

DURATION=${DURATION:-8s}
THREADS=${THREADS:-2}
ACCOUNTS=${ACCOUNTS:-10000000}

cargo build --release --locked --quiet
BIN=${CARGO_TARGET_DIR:-target}/release
WORK=$(mktemp -d)
SERVER=
ADDRESS=

stop() {
    if [[ -n $SERVER ]]; then
        kill "$SERVER" 2>/dev/null || true
        wait "$SERVER" 2>/dev/null || true
        SERVER=
    fi
}
trap 'stop; rm -rf "$WORK"' EXIT

start() {
    stop
    : >"$WORK/server"
    "$BIN/bank-server" 127.0.0.1 0 "$THREADS" >>"$WORK/server" &
    SERVER=$!
    until ADDRESS=$(grep -oE '127\.0\.0\.1:[0-9]+' "$WORK/server"); do
        kill -0 "$SERVER"
        sleep 0.05
    done
}

# bench OPTIONS...: one run; its JSON goes to $WORK/run.
bench() {
    "$BIN/bank-client" --server "$ADDRESS" -o json bench --duration "$DURATION" "$@" >"$WORK/run"
}

# field NAME: a number of the last run.
field() {
    grep -oE "\"$1\": *[0-9.]+" "$WORK/run" | head -n 1 | grep -oE '[0-9.]+$'
}

resident_kib() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$SERVER/status"
}

row() {
    printf '%-34s %12s %12s %9s %9s %9s %9s\n' "$@"
}

# line NAME OPTIONS...: one run on a new server, and its row.
line() {
    local name=$1
    shift
    start
    bench "$@"
    row "$name" "$(field rate)" "$(field noopRate)" "$(field ratio)" "$(field p50Us)" "$(field p99Us)" "$(field noopP50Us)"
}

echo "$(nproc) cores, server with $THREADS threads, $DURATION a run; latencies in microseconds"
row measurement ops/s no-op/s ratio p50 p99 no-op-p50
line 'deposit, 64 in flight' --inflight 64
line 'deposit, 64 in flight, hot' --inflight 64 --hot
line 'deposit, 1 in flight' --inflight 1
line 'mixed, 64 in flight' --mix deposit=50,withdraw=20,transfer=20,interest=5,balance=5
line 'ExecuteBatch of 1024' --batch 1024 --inflight 16
line 'ExecuteBatch of 1024, hot' --batch 1024 --inflight 16 --hot
line 'Submit of 1024' --batch 1024 --inflight 16 --submit
line 'Submit of 1024, hot' --batch 1024 --inflight 16 --submit --hot

# The first run fills what is bounded (journal, request ids), so that the growth is the accounts'.
start
bench --batch 1024 --inflight 16
small=$(field rate)
before=$(resident_kib)
bench --batch 1024 --inflight 16 --accounts "$ACCOUNTS"
after=$(resident_kib)
large=$(field rate)
row "ExecuteBatch, $ACCOUNTS accounts" "$large" "$(field noopRate)" "$(field ratio)" "$(field p50Us)" "$(field p99Us)" "$(field noopP50Us)"
echo "cost of a command: $((1000000000 / small)) ns with 1000 accounts, $((1000000000 / large)) ns with $ACCOUNTS"
echo "memory: $(((after - before) * 1024 / ACCOUNTS)) bytes an account ($before KiB before, $after KiB after)"
