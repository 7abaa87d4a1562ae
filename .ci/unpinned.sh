#!/usr/bin/env bash
# Prints requirements-dev.txt with the newest of everything, and with the torch that is asked for: unpinned.sh torch==2.11.0
set -euo pipefail
cd "$(dirname "$0")/.."
echo "${1:?which torch? such as torch, or torch==2.11.0}"
sed -E '/^#|^torch==/d; s/==.*//' requirements-dev.txt
