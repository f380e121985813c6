#!/bin/sh
# ask.sh URL MODEL: one response by curl. Prints the answer as it came, and its status on a line of its own.
curl --silent --show-error --write-out '\n%{http_code}\n' "$1/responses" \
  --header "Authorization: Bearer $API_KEY" \
  --header 'Content-Type: application/json' \
  --data '{"model": "'"$2"'", "input": [{"role": "user", "content": "Name a river."}]}'
