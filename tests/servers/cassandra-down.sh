#!/usr/bin/env bash
# Ends the node that `cassandra-up.sh DIRECTORY` started; it writes down what it holds first.
set -euo pipefail
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/common.sh"
stop_server "${1:?usage: cassandra-down.sh DIRECTORY}" 60
