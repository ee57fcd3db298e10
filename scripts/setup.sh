#!/bin/sh
# Make the virtual environment and put into it what a target of the Makefile needs.
#
#   VENV=.venv PYTHON=python3.12 scripts/setup.sh dev|demo
#
# Installs with uv: pip's resolver takes minutes over the vendors' SDKs. Where there is no uv, pip
# puts one into the environment. Leaves a stamp, which the Makefile compares with pyproject.toml.
set -eu

what=${1:?say what to set up: dev or demo}
venv=${VENV:-.venv}
say() { printf '%s\n' "set-up: $*" >&2; }

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || { say "$PYTHON is missing or older than Python 3.11"; exit 1; }
        printf '%s' "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$candidate"; then
            printf '%s' "$candidate"
            return
        fi
    done
}

make_venv() {
    python=$(find_python)
    if [ -z "$python" ]; then
        if command -v uv >/dev/null 2>&1; then
            say "no Python 3.11 or later here, uv fetches one"
            uv venv --quiet --python '>=3.11' "$venv"
            return
        fi
        say "needs Python 3.11 or later; set PYTHON=... to the one to use"
        exit 1
    fi
    say "making $venv with $("$python" --version)"
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$python" "$venv"
    elif ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        say "$python cannot make virtual environments; install its venv package" \
            "(Debian: python3-venv), or uv"
        exit 1
    fi
}

if [ -e "$venv/bin/python" ] && ! new_enough "$venv/bin/python"; then
    say "$venv has no working Python 3.11 or later, so it is made again"
    rm -rf "$venv"
fi
[ -e "$venv/bin/python" ] || make_venv

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet uv
    uv=$venv/bin/uv
fi

install() {
    say "installing: $*"
    "$uv" pip install --quiet --python "$venv/bin/python" -c constraints.txt "$@"
}

case $what in
dev)
    install -e '.[demo,gateway,httpx,lab,mcp,otel,redis,report]' --group dev
    ;;
demo)
    # The demo shows the same with a built-in server where there is no llama.cpp for this machine.
    install -e '.[demo]' || { say "going on without llama.cpp"; install -e '.[openai]'; }
    ;;
*)
    say "do not know '$what': dev or demo"
    exit 2
    ;;
esac
touch "$venv/.set-up-$what"
