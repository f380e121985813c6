"""streams.py URL MODEL: a chat completion and a response as streams, and the helpers that put a stream together."""

import sys

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none", timeout=2, max_retries=0)
messages = [{"role": "user", "content": "Name a lake."}]

chunks = client.chat.completions.create(
    model=model, messages=messages, stream=True, stream_options={"include_usage": True}
)
text, tokens = "", 0
for chunk in chunks:
    text += "".join(choice.delta.content or "" for choice in chunk.choices)
    tokens = chunk.usage.total_tokens if chunk.usage else tokens
print(text, tokens > 0)

with client.chat.completions.stream(model=model, messages=messages) as stream:
    print(stream.get_final_completion().choices[0].message.content)

events = list(client.responses.create(model=model, input="Name a lake.", stream=True))
print(events[0].type, events[-1].type, events[-1].response.output_text)

with client.responses.stream(model=model, input="Name a lake.") as stream:
    print(stream.get_final_response().output_text)
