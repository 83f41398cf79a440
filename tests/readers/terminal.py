"""A terminal for tests: runs a command on one, passes keys from stdin to it, and what it shows to stdout.

Usage: terminal.py COLUMNS PROGRAM ARGUMENT...; ends with the program's exit code.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

ASKS_FOR_CURSOR = b"\x1b[6n"

columns, command = int(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    os.execv(command[0], command)

watched = [0, terminal]
unseen = b""
while True:
    ready, _, _ = select.select(watched, [], [])
    if 0 in ready:
        keys = os.read(0, 65536)
        if keys:
            os.write(terminal, keys)
        else:
            watched.remove(0)
    if terminal in ready:
        try:
            shown = os.read(terminal, 65536)
        except OSError:
            # So Linux says that the program has closed it.
            break
        if not shown:
            break
        # The question may come in two pieces.
        unseen += shown
        while ASKS_FOR_CURSOR in unseen:
            unseen = unseen.split(ASKS_FOR_CURSOR, 1)[1]
            os.write(terminal, b"\x1b[1;1R")
        unseen = unseen[-(len(ASKS_FOR_CURSOR) - 1) :]
        sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()

sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
