#!/usr/bin/python3
"""The plain consumer that a person writes in Python for the job of table_dispatcher.py: for comparison.

    peer.py config.ini

Keys beside those of every pgq consumer: remote_db, dest_table, fields, part_field, part_template.
Ends when the queue is empty.
"""

import sys

import pgq.remoteconsumer
import skytools


class Peer(pgq.remoteconsumer.SerialConsumer):
    def __init__(self, args):
        super().__init__("peer", "src_db", "dst_db", args)
        self.known = set()

    def reload(self):
        super().reload()
        self.dest_table = self.cf.get("dest_table")
        self.fields = self.cf.getlist("fields")
        self.part_field = self.cf.get("part_field")
        self.template = self.cf.get("part_template")

    def process_remote_batch(self, db, batch_id, event_list, dst_db):
        curs = dst_db.cursor()
        tables = {}
        for ev in event_list:
            row = skytools.db_urldecode(ev.ev_data)
            name = self.dest_table + "_" + row[self.part_field][:10].replace("-", "_")
            tables.setdefault(name, []).append([row[f] for f in self.fields])
            ev.tag_done()
        for name, rows in tables.items():
            if name not in self.known and not skytools.exists_table(curs, name):
                curs.execute(self.template.replace("_DEST_TABLE", name).replace("_PARENT", self.dest_table))
            self.known.add(name)
            skytools.magic_insert(curs, name, rows, self.fields)


if __name__ == "__main__":
    Peer(sys.argv[1:]).start()
