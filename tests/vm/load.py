"""Load through the site's nginx: clients that keep their connections.

load.py SECONDS CLIENTS    until SECONDS are over or SIGTERM; then one JSON object

A kept connection that is closed before its next request has any answer is `stale`: as every browser
does (RFC 9112, 9.3.1), that request is sent once more on a new one. Nothing else is ever tried again.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import threading
import time

over = threading.Event()
lock = threading.Lock()
answers: dict[str, int] = {}
failed: list[str] = []
stale: list[float] = []


def client(until: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=20)
    while time.monotonic() < until and not over.is_set():
        kept = connection.sock is not None
        try:
            try:
                ask(connection)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                connection.close()
                if not kept:
                    raise
                stale.append(time.time())
                ask(connection)
        except (OSError, http.client.HTTPException) as error:
            failed.append(repr(error))
            connection.close()
        time.sleep(0.01)


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/", headers={"Host": "www.example.com"})
    answer = connection.getresponse()
    said = answer.read().decode()
    word = said.split(" ")[0] if answer.status == 200 else str(answer.status)
    with lock:
        answers[word] = answers.get(word, 0) + 1
    if answer.status != 200:
        failed.append(str(answer.status))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    until = time.monotonic() + float(sys.argv[1])
    clients = [threading.Thread(target=client, args=(until,)) for _ in range(int(sys.argv[2]))]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    total = sum(answers.values())
    said = {"requests": total, "answers": answers, "failed": failed[:20], "stale": stale}
    print(json.dumps(said))


main()
