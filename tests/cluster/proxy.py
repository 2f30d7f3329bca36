# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy whose speed can be changed: one budget of bytes for all connections of a link. It can
also stand still with its connections open, as half-open ones do.

It takes no more than it may pass on, so a slow link fills the sender's sockets as a real one does.
"""
import socket
import threading
import time

from kelp import free_ports

PIECE = 1024


class Link:
    """A budget shared by proxies; rate is bytes a second, None for no limit."""

    def __init__(self):
        self.rate = None
        self.moves = threading.Event()  # cleared: nothing passes, and every connection stays
        self.moves.set()
        self.lock = threading.Lock()
        self.free_at = 0.0
        self.passed = 0

    def spend(self, count):
        """Waits until count bytes may pass."""
        self.moves.wait()
        with self.lock:
            self.passed += count
            if self.rate is None:
                return
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + count / self.rate
            wait = self.free_at - now
        if wait > 0:
            time.sleep(min(wait, 5))


class Proxy:
    def __init__(self, target_port, link):
        self.target_port, self.link = target_port, link
        [self.port] = free_ports(1)  # and none that was given to a node that does not run yet
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            except OSError:
                near.close()
                continue
            for s in (near, far):
                s.settimeout(None)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [near, far]
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while True:
                data = source.recv(65536 if self.link.rate is None else PIECE)
                if not data:
                    break
                step = PIECE if self.link.rate else len(data)
                for begin in range(0, len(data), step):  # others get their turn in between
                    self.link.spend(len(data[begin:begin + step]))
                    sink.sendall(data[begin:begin + step])
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends every connection, whatever is under way; new ones are taken."""
        sockets, self.sockets = self.sockets, []
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended already

    def close(self):
        self.listener.close()
        for s in self.sockets:
            try:
                s.close()
            except OSError:
                pass
