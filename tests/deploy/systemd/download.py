"""Clients whose answers are under way: each asks for /large, reads its beginning, says so when all of them have, and reads
on when standard input says so. Prints as JSON how many answers came whole, and how many were cut.

usage: download.py PORT BYTES ENDING
"""

import json
import socket
import sys

CLIENTS = 8
port, size, ending = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()


class Answer:
    def __init__(self):
        # Little of it fits between the two: the rest must come from the server that has begun.
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.got = b""
        while b"\r\n\r\n" not in self.got:
            piece = self.socket.recv(4096)
            if not piece:
                sys.exit(f"no answer has begun: {self.got!r}")
            self.got += piece
        head, _, body = self.got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"another answer: {head!r}")
        self.read, self.tail = len(body), body[-len(ending):]

    def is_whole(self):
        try:
            while piece := self.socket.recv(1 << 20):
                self.read += len(piece)
                self.tail = (self.tail + piece)[-len(ending):]
        except OSError:
            return False
        return self.read == size and self.tail == ending


answers = [Answer() for _ in range(CLIENTS)]
print("begun", flush=True)
sys.stdin.readline()
whole = sum(answer.is_whole() for answer in answers)
print(json.dumps({"whole": whole, "cut": CLIENTS - whole}))
