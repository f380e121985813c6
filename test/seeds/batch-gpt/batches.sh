#!/bin/sh
# batches.sh URL: all batches, by curl.
curl --silent --show-error --write-out '\n%{http_code}\n' "$1/v1/batches"
