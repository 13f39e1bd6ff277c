#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# alos beside Redis and beside a bare epoll echo server, in turn on this machine.
#
# Usage: testing/peers/run.sh [--rounds N] [--requests N] [--connections N] [--threads N]
#                             [--server PATH --bench PATH --echo PATH]
#
# Builds what it is not given with -c opt. Every round runs every contestant once, one
# after the other, so that what else the machine does falls on all of them; the table
# has the medians over the rounds. Loopback only, temporary directories, own ports; a
# run of the defaults is 5 rounds of 200,000 requests each and ends by itself.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source "$here/../ports.sh"
workspace=$(cd "$here/../.." && pwd)
rounds=5 requests=200000 connections=50 threads=1
documents=100000 document_bytes=300
server='' bench='' echo_server=''
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) rounds=$2 ;;
    --requests) requests=$2 ;;
    --connections) connections=$2 ;;
    --threads) threads=$2 ;;
    --server) server=$2 ;;
    --bench) bench=$2 ;;
    --echo) echo_server=$2 ;;
    *) sed -n '5,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift 2 || { echo "run.sh: a flag without a value" >&2; exit 2; }
done
if [ -z "$server" ] || [ -z "$bench" ] || [ -z "$echo_server" ]; then
  (cd "$workspace" && ./bazelw build -c opt //server //tools/bench //testing/peers:epoll_echo)
  server=${server:-$workspace/bazel-bin/server/server}
  bench=${bench:-$workspace/bazel-bin/tools/bench/bench}
  echo_server=${echo_server:-$workspace/bazel-bin/testing/peers/epoll_echo}
fi

scratch=$(mktemp -d)
children=()
finish() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

# start NAME PORT COMMAND...: in the background, waits until it listens.
start() {
  local name=$1 port=$2
  shift 2
  "$@" >"$scratch/$name.log" 2>&1 </dev/null &
  local child=$!
  children+=("$child")
  for _ in $(seq 300); do
    listening "$port" && return
    kill -0 "$child" 2>/dev/null || break
    sleep 0.1
  done
  echo "run.sh: $name does not start:" >&2
  cat "$scratch/$name.log" >&2
  exit 1
}

plain_port=$(free_port)
start alos "$plain_port" "$server" --port "localhost:$plain_port" --data-path "$scratch/alos"
secret_port=$(free_port)
start alos-encrypted "$secret_port" "$server" --port "localhost:$secret_port" \
  --data-path "$scratch/alos-encrypted" --username bench --password "bench password"

redis=false
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
  redis=true
  redis_port=$(free_port)
  mkdir "$scratch/redis"
  start redis "$redis_port" redis-server --port "$redis_port" --bind 127.0.0.1 \
    --dir "$scratch/redis" --save '' --appendonly yes --appendfsync everysec
else
  echo "Redis is not installed (Debian: redis-server, redis-tools); its rows are missing."
fi

common=(--connections "$connections" --threads "$threads" --documents "$documents"
  --document_bytes "$document_bytes" --json)

# field NAME: of the JSON line on standard input.
field() { sed -E "s/.*\"$1\":\"?([^,\"}]*).*/\1/"; }

# The sizes that the echo server imitates are those of alos's own frames.
declare -A request_size response_size echo_port
for operation in find-by-id insert-one; do
  line=$("$bench" --port "127.0.0.1:$plain_port" --operation $operation "${common[@]}" \
    --warmup 0 --requests 1000)
  request_size[$operation]=$(field request_bytes <<<"$line")
  response_size[$operation]=$(field response_bytes <<<"$line")
  echo_port[$operation]=$(free_port)
  # The echo server ends when its standard input does: give it one that stays open.
  start "echo-$operation" "${echo_port[$operation]}" \
    bash -c 'exec "$@" < <(exec sleep infinity)' - "$echo_server" "${echo_port[$operation]}" \
    "${response_size[$operation]}"
done

measured=$scratch/measured
load() { # NAME ARGUMENTS...
  local name=$1 line
  shift
  line=$("$bench" "${common[@]}" --requests "$requests" --warmup $((requests / 10)) "$@")
  printf '%s\t%s\t%s\t%s\n' "$name" "$(field per_second <<<"$line")" \
    "$(field p50_us <<<"$line")" "$(field p99_us <<<"$line")" >>"$measured"
}
redis_load() { # NAME TEST
  local line
  line=$(redis-benchmark -h 127.0.0.1 -p "$redis_port" -t "$2" -n "$requests" -c "$connections" \
    -d "$document_bytes" -r "$documents" --threads "$threads" --csv | tail -1)
  # "test","rps","avg","min","p50","p95","p99","max" (latencies in milliseconds)
  awk -F'","|"' -v name="$1" '{printf "%s\t%.0f\t%.1f\t%.1f\n", name, $3, $6 * 1000, $8 * 1000}' \
    <<<"$line" >>"$measured"
}

if $redis; then # so that GET finds something
  redis-benchmark -h 127.0.0.1 -p "$redis_port" -t set -n $((documents * 10)) -c "$connections" \
    -P 16 -d "$document_bytes" -r "$documents" -q >/dev/null
fi
secret=(--port "127.0.0.1:$secret_port" --username bench --password "bench password")
for round in $(seq "$rounds"); do
  echo "round $round of $rounds" >&2
  load 'alos FindByID' --port "127.0.0.1:$plain_port" --operation find-by-id
  if $redis; then redis_load 'redis GET' get; fi
  load 'echo of FindByID sizes' --port "127.0.0.1:${echo_port[find-by-id]}" --operation echo \
    --request_bytes "${request_size[find-by-id]}" --response_bytes "${response_size[find-by-id]}"
  load 'alos InsertOne (async)' --port "127.0.0.1:$plain_port" --operation insert-one
  if $redis; then redis_load 'redis SET (everysec)' set; fi
  load 'echo of InsertOne sizes' --port "127.0.0.1:${echo_port[insert-one]}" --operation echo \
    --request_bytes "${request_size[insert-one]}" --response_bytes "${response_size[insert-one]}"
  load 'alos FindByID, AES-256-GCM' "${secret[@]}" --operation find-by-id --cipher aes-256-gcm
  load 'alos InsertOne, AES-256-GCM' "${secret[@]}" --operation insert-one --cipher aes-256-gcm
  load 'alos FindByID, AEGIS-128L' "${secret[@]}" --operation find-by-id --cipher aegis-128l
  load 'alos InsertOne, AEGIS-128L' "${secret[@]}" --operation insert-one --cipher aegis-128l
done

echo
grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //' || true
echo "$(nproc) cores, Linux $(uname -r), $(date -u +%Y-%m-%d)"
$redis && redis-server --version | sed -E 's/.* v=([^ ]*).*/Redis \1, appendonly yes, appendfsync everysec/'
echo "$connections connections, one request under way on each, $threads thread(s) making load,"
echo "$document_bytes-byte documents, $requests requests, medians of $rounds rounds"
for operation in find-by-id insert-one; do
  echo "frames of $operation: ${request_size[$operation]} bytes there, ${response_size[$operation]} back"
done
echo
awk -F'\t' '
  function median(list, n,    a, i, j, x) {
    split(list, a, " ")
    for (i = 2; i <= n; i++) { x = a[i]; for (j = i - 1; j > 0 && a[j] + 0 > x + 0; j--) a[j + 1] = a[j]; a[j + 1] = x }
    return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
  }
  { if (!($1 in n)) order[++names] = $1
    n[$1]++; rate[$1] = rate[$1] " " $2; p50[$1] = p50[$1] " " $3; p99[$1] = p99[$1] " " $4 }
  function ratio(a, b) { return b in n ? sprintf("%.2f", median(rate[a], n[a]) / median(rate[b], n[b])) : "-" }
  END {
    printf "%-28s %12s %9s %9s %9s %9s\n", "", "per second", "p50 us", "p99 us", "x Redis", "x echo"
    for (i = 1; i <= names; i++) {
      name = order[i]
      peer = name ~ /FindByID/ ? "redis GET" : "redis SET (everysec)"
      bare = name ~ /FindByID/ ? "echo of FindByID sizes" : "echo of InsertOne sizes"
      ours = name ~ /^alos/
      printf "%-28s %12.0f %9.1f %9.1f %9s %9s\n", name, median(rate[name], n[name]), median(p50[name], n[name]),
             median(p99[name], n[name]), ours ? ratio(name, peer) : "", ours ? ratio(name, bare) : ""
    }
  }' "$measured"
