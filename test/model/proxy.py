"""A proxy between program and server that cuts connections.

usage: proxy.py LISTEN_SOCKET SERVER_SOCKET CUTS SEED

Of three connections one is left alone. The others end after a number of bytes, in either direction,
that is any from some dozens to some millions; and one COMMIT in twenty is the last thing that is
passed on, or is not passed on any more. File CUTS gets a byte for each.
"""

import asyncio
import os
import random
import sys


class Connection:
    def __init__(self, chance, client, server, cuts):
        self.chance, self.cuts = chance, cuts
        self.writers = (client[1], server[1])
        self.readers = (client[0], server[0])
        self.calm = chance.random() < 1 / 3

    def cut(self):
        self.cuts.write(b".")
        self.end()

    def end(self):
        for writer in self.writers:
            writer.transport.abort()

    async def pass_on(self, data, writer):
        writer.write(data)
        await writer.drain()

    async def meddle(self, data, writer):
        """With a COMMIT in it: true when the connection ended here."""
        if self.calm or b"COMMIT" not in data or self.chance.random() > 1 / 20:
            return False
        if self.chance.random() < 1 / 2:
            await self.pass_on(data, writer)
            await asyncio.sleep(self.chance.choice([0, 0.001, 0.02]))
        self.cut()
        return True

    async def pump(self, reader, writer, from_client):
        left = float("inf") if self.calm else 2 ** self.chance.uniform(6, 22)
        try:
            while data := await reader.read(65536):
                if from_client and await self.meddle(data, writer):
                    return
                await self.pass_on(data[: int(min(left, len(data)))], writer)
                left -= len(data)
                if left < 0:
                    self.cut()
                    return
        except OSError:
            pass
        self.end()

    async def run(self):
        await asyncio.gather(
            self.pump(self.readers[0], self.writers[1], True),
            self.pump(self.readers[1], self.writers[0], False),
        )


async def main():
    listen, server, cuts, seed = sys.argv[1:]
    chance, cuts = random.Random(seed), open(cuts, "ab", buffering=0)

    async def handle(reader, writer):
        try:
            other = await asyncio.open_unix_connection(server)
        except OSError:
            writer.transport.abort()
            return
        await Connection(chance, (reader, writer), other, cuts).run()

    await asyncio.start_unix_server(handle, listen)
    os.chmod(listen, 0o777)
    await asyncio.Event().wait()


asyncio.run(main())
