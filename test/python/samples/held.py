"""held.py URL MODEL: a call by a client that waits two seconds, and tries again as often as it does by itself."""

import sys

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none", timeout=2, max_retries=100)
completion = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Name a lake."}],
)
print(completion.choices[0].message.content)
