"""errors.py URL MODEL: what goes wrong is raised as the error that it is."""

import sys

from openai import APIStatusError, OpenAI

url, model = sys.argv[1:3]
client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def tell(call) -> None:
    try:
        call()
        print("nothing was raised")
    except APIStatusError as error:
        print(type(error).__name__, error.status_code, error.code)


tell(lambda: client.chat.completions.create(model=model, messages=[]))
tell(lambda: client.embeddings.create(model=model, input=""))
tell(lambda: client.batches.retrieve("batch_none"))
tell(lambda: client.files.list())
