"""many.py URL MODEL: 20 calls at once, of which no two have the same words, and 3 with the same."""

import asyncio
import sys

from openai import AsyncOpenAI

url, model = sys.argv[1:3]


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")

    async def ask(words: str) -> str:
        completion = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": words}]
        )
        return completion.choices[0].message.content or ""

    words = [f"Name lake {number}." for number in range(20)] + ["Name any lake."] * 3
    for answer in await asyncio.gather(*[ask(one) for one in words]):
        print(answer)


asyncio.run(main())
