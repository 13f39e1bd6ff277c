#!/bin/bash
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Imports files through a server, kills it with -9, restarts it and compares every
# document with its file, byte for byte; then the same after an orderly stop. In both
# durability modes, over an encrypted connection.
#
# Usage: round_trip.sh SERVER IMPORT COMPARE 'COLLECTION FILE [FLAGS...]'...
#   FLAGS are those of import and compare, for instance --number-ids.
set -euo pipefail

server=$1 import=$2 compare=$3
shift 3

scratch=$(mktemp -d)
child=
finish() {
  [ -z "$child" ] || kill -9 "$child" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

source "$(dirname "$0")/../ports.sh"
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

port=$(free_port)

echo "round trip password" >"$scratch/password"
connection=(--port "localhost:$port" --username trip --password-file "$scratch/password")

start() { # MODE
  local begun
  begun=$(milliseconds)
  "$server" "${connection[@]}" --data-path "$scratch/$1" --sync-mode "$1" >>"$scratch/log" 2>&1 &
  child=$!
  for _ in $(seq 600); do
    if listening "$port"; then
      echo "server up after $(($(milliseconds) - begun)) ms"
      return
    fi
    kill -0 "$child" 2>/dev/null || break
    sleep 0.05
  done
  echo "the server does not start:"
  tail -50 "$scratch/log"
  exit 1
}

stop() { # SIGNAL EXPECTED_STATUS
  local status=0
  kill "-$1" "$child"
  wait "$child" 2>/dev/null || status=$?
  child=
  if [ "$status" != "$2" ]; then
    echo "the server ended with status $status after SIG$1, expected $2:"
    tail -50 "$scratch/log"
    exit 1
  fi
}

compare_all() {
  local collection file flags
  for spec in "$@"; do
    read -r collection file flags <<<"$spec"
    # shellcheck disable=SC2086
    "$compare" "${connection[@]}" --collection "$collection" $flags "$file" || {
      tail -50 "$scratch/log"
      exit 1
    }
  done
}

for mode in async sync; do
  echo "-- $mode"
  start $mode
  for spec in "$@"; do
    read -r collection file flags <<<"$spec"
    # shellcheck disable=SC2086
    "$import" "${connection[@]}" --quiet --collection "$collection" $flags "$file"
  done
  stop KILL 137
  echo "after kill -9:"
  start $mode
  compare_all "$@"
  stop TERM 0
  echo "after SIGTERM:"
  start $mode
  compare_all "$@"
  stop TERM 0
  echo "$(du -sk "$scratch/$mode" | cut -f1) KiB on disk"
done
