"""Begins an upload to /echo, says so, and ends it when standard input says so. Prints what is echoed."""

import socket
import sys

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
print("begun", flush=True)
sys.stdin.readline()
connection.sendall(b"-last")
got = b""
while piece := connection.recv(65536):
    got += piece
    if got.endswith(b"first-last"):
        break
print(got.split(b"\r\n\r\n")[-1].decode())
