"""A server of another version of burn: accepts a WebSocket, reads the client's first frame, and refuses it.

Writes its port to a file. What it answers is the one message that burn promises to leave as it is in every version.
"""

import base64
import hashlib
import os
import socketserver
import sys

REFUSAL = b"\x92\x81\xabInitRefused\x81\xb4IncompatibleProtocol\x91" + bytes([int(sys.argv[2])]) + b"\x00"


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        key = b""
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                key = value.strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        length = self.rfile.read(2)[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self.rfile.read(2))
        self.rfile.read(4 + length)
        self.wfile.write(bytes([0x82, len(REFUSAL)]) + REFUSAL + b"\x88\x00")


with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(server.server_address[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    server.serve_forever()
