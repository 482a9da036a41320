#!/usr/bin/env bash
# Ends the node that `cassandra-up.sh DIRECTORY` started; it writes down what it holds first. With `now` behind DIRECTORY it is killed.
set -euo pipefail
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/common.sh"
dir=${1:?usage: cassandra-down.sh DIRECTORY [now]}
if [ "${2:-}" = now ]; then kill_server "$dir"; else stop_server "$dir" 60; fi
