#!/bin/sh
# Works out the lock files from pyproject.toml, with hashes and without the address of any index.
# Keeps the versions they have where it can; `tools/lock.sh --upgrade` takes newer ones.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

echo "lock: fetching uv"
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install -qq --disable-pip-version-check uv

compile() {
  out=$1
  shift
  echo "lock: $out"
  "$scratch/venv/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --no-header --no-emit-index-url --no-emit-find-links --output-file "$out" "$@"
}

compile requirements-build.lock --group build "$@"
compile requirements.lock pyproject.toml --group build --constraint requirements-build.lock "$@"
compile requirements-dev.lock pyproject.toml --group dev --all-extras --constraint requirements.lock "$@"
