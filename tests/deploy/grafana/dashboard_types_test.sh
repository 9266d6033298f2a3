#!/bin/bash
# The dashboard's JSON against the types of Grafana's own schema; and a wrong one, so that it is known that the types see
# anything. Needs npm and its registry: skipped (77) without.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
if ! command -v npm > /dev/null; then
  echo "skipped: npm is not installed (deploy/install-packages browser)"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$here"/package*.json "$scratch"
cd "$scratch"
if ! npm ci --ignore-scripts --no-audit --no-fund --silent; then
  echo "skipped: the packages could not be had from npm's registry"
  exit 77
fi
types_take() {
  {
    echo "import type { Dashboard } from '@grafana/schema';"
    echo "export const dashboard: Dashboard ="
    cat
  } > dashboard.ts
  node_modules/.bin/tsc --noEmit --strict --skipLibCheck --moduleResolution bundler --module esnext --target es2022 dashboard.ts
}
types_take < "$here/../../../deploy/grafana/dashboards/fiberd.json"
for wrong in 's/"gridPos"/"gridPlace"/' 's/"refresh": 2/"refresh": "2"/' 's/"editable": true/"editable": 1/'; do
  if sed "$wrong" "$here/../../../deploy/grafana/dashboards/fiberd.json" | types_take > /dev/null; then
    echo "FAILED: the types take a dashboard with $wrong"
    exit 1
  fi
done
echo "4 passed, 0 failed"
