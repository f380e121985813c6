#!/bin/sh
# chat.sh URL MODEL: one chat completion by curl. Prints the answer as it came, and its status on a line of its own.
curl --silent --show-error --write-out '\n%{http_code}\n' "$1/v1/chat/completions" \
  --header 'Content-Type: application/json' \
  --data '{"model": "'"$2"'", "messages": [{"role": "user", "content": "Name a star."}]}'
