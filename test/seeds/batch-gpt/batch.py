"""batch.py URL BATCH: how a batch is."""

import sys

from openai import OpenAI

url, batch_id = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
batch = client.batches.retrieve(batch_id)
print(batch.id, batch.status)
