"""Publishes one event: python3 publish.py TOPIC DATA. Prints the event's id. Standard library only."""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

HUB = os.environ.get("TIDINGS_URL", "http://127.0.0.1:4000")
ATTEMPTS = 8


def publish(topic: str, data: str) -> str:
    # The same key at every attempt: if only the answer was lost, the hub says where the event already stands.
    headers = {"Content-Type": "text/plain", "Idempotency-Key": str(uuid.uuid4())}
    if os.environ.get("TIDINGS_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["TIDINGS_KEY"]
    url = HUB + "/topics?" + urllib.parse.urlencode({"topic": topic})
    request = urllib.request.Request(url, data.encode(), headers, method="POST")
    for attempt in range(1, ATTEMPTS + 1):
        wait_s = min(0.25 * 2**attempt, 5) * random.uniform(0.5, 1)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["last_id"]
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code}: {error.read().decode(errors='replace').strip()}"
            if error.code < 500:
                break  # our mistake: trying again would not help
            wait_s = max(wait_s, float(error.headers.get("Retry-After") or 0))
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            problem = str(error) or type(error).__name__  # no connection, or no whole answer
        if attempt < ATTEMPTS:
            time.sleep(wait_s)
    raise RuntimeError(f"not published: {problem}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: publish.py TOPIC DATA")
    try:
        print(publish(sys.argv[1], sys.argv[2]))
    except RuntimeError as error:
        sys.exit(str(error))
