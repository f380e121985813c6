#!/bin/sh
# batch.sh URL BATCH: how a batch is, by curl.
curl --silent --show-error --write-out '\n%{http_code}\n' "$1/v1/batches/$2"
