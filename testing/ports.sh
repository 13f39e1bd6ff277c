# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
#
# To be sourced: TCP ports of this machine.

# Whether something listens on PORT.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints a port that nothing listens on.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 20000))
    listening "$port" || { echo "$port"; return; }
  done
  echo "$0: no free port" >&2
  return 1
}
