#!/bin/sh
# Publishes one event with curl: sh curl.sh TOPIC DATA. Prints the event's id. curl 7.87 or newer.
#
# The key makes a repetition harmless: if only the answer was lost, the hub says where the event already stands.
set -eu

[ $# -eq 2 ] || { echo "usage: curl.sh TOPIC DATA" >&2; exit 2; }
hub=${TIDINGS_URL:-http://127.0.0.1:4000}
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Without --fail, a refusal (4xx) is no error for curl and so is not tried again; a dead connection, 408, 429 and 5xx are.
set -- --data-raw "$2" --url-query "topic=$1" --header "Idempotency-Key: $key" --header 'Content-Type: text/plain'
[ -z "${TIDINGS_KEY:-}" ] || set -- "$@" --header "Authorization: Bearer $TIDINGS_KEY"
said=$(curl --silent --show-error --max-time 10 --retry 8 --retry-all-errors --retry-max-time 60 \
  --output "$answer" --write-out '%{http_code} %header{tidings-id}' "$@" "$hub/topics")

case $said in
  "200 "*) echo "${said#* }" ;;
  *) echo "not published: HTTP ${said%% *}: $(cat "$answer")" >&2; exit 1 ;;
esac
