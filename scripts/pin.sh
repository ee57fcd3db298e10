#!/bin/sh
# Write constraints.txt: the newest versions that fit, for every platform and Python we support.
set -eu
uv=$(command -v uv) || { echo "pin: needs uv" >&2; exit 1; }
{
    echo "# The versions that the project is tested with; written by \`make constraints\`. Addresses of"
    echo "# registries do not belong here."
    "$uv" pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
        --quiet --upgrade --no-annotate --no-header --no-emit-index-url --no-emit-find-links
} > constraints.new
mv constraints.new constraints.txt
