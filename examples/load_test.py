"""How much a server of examples/serve.py takes: images per second, and how long an answer takes.

python examples/load_test.py http://127.0.0.1:8000/detect photo.jpg --clients 8 --seconds 10
"""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a detection server.")
    parser.add_argument("address")
    parser.add_argument("image", type=Path)
    parser.add_argument("--clients", type=int, default=8, help="that ask at the same time")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    address, body = urlsplit(options.address), options.image.read_bytes()
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()

    def ask() -> None:
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        while (start := time.perf_counter()) - began < options.seconds:
            connection.request("POST", address.path, body)
            response = connection.getresponse()
            response.read()
            seconds.append(time.perf_counter() - start)
            statuses[response.status] += 1
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(options.clients)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    elapsed = time.perf_counter() - began
    median, slow = 1000 * np.percentile(seconds, [50, 99])
    print(f"{len(seconds) / elapsed:.1f} images/s, {median:.0f} ms in the median, {slow:.0f} ms at the 99th percentile")
    print("answers: " + ", ".join(f"{count} with status {status}" for status, count in sorted(statuses.items())))


if __name__ == "__main__":
    main()
