"""cancel.py URL BATCH: cancels a batch."""

import sys

from openai import OpenAI

url, batch_id = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
batch = client.batches.cancel(batch_id)
print(batch.id, batch.status)
