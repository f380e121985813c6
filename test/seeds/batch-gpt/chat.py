"""chat.py URL MODEL: one chat completion by the openai package, set up for nothing but the URL."""

import sys

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
completion = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Name a star."}],
)
print(completion.choices[0].message.content)
