#!/bin/sh
# cancel.sh URL BATCH: cancels a batch, by curl.
curl --silent --show-error --write-out '\n%{http_code}\n' --request POST "$1/v1/batches/$2/cancel"
