"""Asks for / on connections of its own, again and again, until standard input ends. Prints what came of it as JSON:
answered, refused (nothing was answered, not even its beginning), cut (an answer that began and was not this one whole).
"""

import json
import select
import socket
import sys
import threading

ADDRESS = ("127.0.0.1", int(sys.argv[1]))
EXPECTED = sys.argv[2].encode()
counts = {"answered": 0, "refused": 0, "cut": 0}
lock = threading.Lock()
over = threading.Event()


def one():
    got = b""
    try:
        with socket.create_connection(ADDRESS, timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while piece := connection.recv(65536):
                got += piece
    except OSError:
        pass
    if not got:
        return "refused"
    return "answered" if got.startswith(b"HTTP/1.1 200") and got.endswith(EXPECTED) else "cut"


def client():
    while not over.is_set():
        outcome = one()
        with lock:
            counts[outcome] += 1
        over.wait(0.005)


threads = [threading.Thread(target=client) for _ in range(8)]
for t in threads:
    t.start()
print("begun", flush=True)
select.select([sys.stdin], [], [])
over.set()
for t in threads:
    t.join()
print(json.dumps(counts))
