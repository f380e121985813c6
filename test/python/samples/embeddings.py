"""embeddings.py URL MODEL: two vectors, and of each its length and the kind of its numbers."""

import sys

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
embeddings = client.embeddings.create(model=model, input=["a lake", "a river"])
for item in embeddings.data:
    print(item.index, len(item.embedding), type(item.embedding[0]).__name__)
