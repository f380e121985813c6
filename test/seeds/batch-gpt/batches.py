"""batches.py URL [completed | not_completed]: the batches, of one kind or all, as many pages as there are."""

import sys

from openai import OpenAI

url, kind = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
client = OpenAI(base_url=f"{url}/v1", api_key="none")
for batch in client.batches.list(limit=2):
    if kind is None or (batch.status == "completed") == (kind == "completed"):
        print(batch.id, batch.status, batch.request_counts.completed, batch.request_counts.total)
