#!/bin/sh
# Make the secrets that compose.yaml names, in secrets/, readable by you alone. What is there stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ -s secrets/journal-key ] || openssl rand -base64 32 > secrets/journal-key
[ -s secrets/resume-secret ] || openssl rand -base64 32 > secrets/resume-secret
if [ ! -s secrets/openai-key ]; then
    if [ -z "${OPENAI_API_KEY:-}" ]; then
        printf 'the key of OpenAI: ' >&2
        read -r OPENAI_API_KEY
    fi
    printf '%s\n' "$OPENAI_API_KEY" > secrets/openai-key
fi
if [ ! -s secrets/demo-caller-key ]; then
    printf 'sk-unbroken-%s\n' "$(openssl rand -hex 24)" > secrets/demo-caller-key
fi
# Compose hands files on with their owner: the gateway runs as that one.
echo "UNBROKEN_USER=$(id -u):$(id -g)" > .env
echo "the key that callers send is in $PWD/secrets/demo-caller-key" >&2
