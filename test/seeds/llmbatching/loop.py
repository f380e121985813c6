"""loop.py URL MODEL: asks by the openai package, whose base URL has no /v1, until the answer is there."""

import os
import sys
import time

from openai import OpenAI, UnprocessableEntityError

url, model = sys.argv[1:3]
client = OpenAI(base_url=url, api_key=os.environ["API_KEY"])
while True:
    try:
        response = client.responses.create(model=model, input="Name a river.")
        break
    except UnprocessableEntityError:
        print("not yet", file=sys.stderr, flush=True)
        time.sleep(float(os.environ.get("PAUSE_MS", "60000")) / 1000)
print(response.output_text)
