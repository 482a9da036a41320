#!/usr/bin/env bash
# Ends the broker that `kafka-up.sh DIRECTORY` started; it writes down what it holds first.
set -euo pipefail
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/common.sh"
stop_server "${1:?usage: kafka-down.sh DIRECTORY}" 30
