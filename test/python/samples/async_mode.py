"""async_mode.py URL MODEL: asks in mode async, and for what became of it, with the package's own client."""

import sys
import time

from openai import OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none")
taken = client.chat.completions.with_raw_response.create(
    model=model,
    messages=[{"role": "user", "content": "Name a lake."}],
    extra_headers={"X-Nightshift-Mode": "async"},
)
print(taken.status_code)
path = taken.headers["location"].removeprefix("/v1")
while True:
    request = client.get(path, cast_to=object)
    if request["result"] is not None:
        break
    time.sleep(0.1)
print(request["status"], request["result"]["body"]["choices"][0]["message"]["content"])
