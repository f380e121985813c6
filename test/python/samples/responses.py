"""responses.py URL MODEL: one response."""

import sys

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
print(client.responses.create(model=model, input="Name a lake.").output_text)
