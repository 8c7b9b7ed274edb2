#!/usr/bin/python3
"""Keeps the latest rows as a person would in Python: a statement for each event. For comparison.

    apply.py config.ini

Ends when the queue is empty.
"""

import configparser
import sys
from urllib.parse import unquote_plus

import psycopg2

config = configparser.ConfigParser()
config.read(sys.argv[1])
keys = config["peer"]
fields = [f.strip() for f in keys["fields"].split(",")]
src, dst = psycopg2.connect(keys["src_db"]), psycopg2.connect(keys["dst_db"])
events, rows = src.cursor(), dst.cursor()
known = set()


def partition(row):
    name = keys["dest_table"] + "_" + row[keys["part_field"]][:10].replace("-", "_")
    if name not in known:
        rows.execute("select to_regclass(%s)", [name])
        if not rows.fetchone()[0]:
            rows.execute(keys["part_template"].replace("_DEST_TABLE", name).replace("_PARENT", keys["dest_table"]))
        known.add(name)
    return name


def apply(kind, data):
    row = {k: unquote_plus(v) for k, v in (pair.split("=", 1) for pair in data.split("&"))}
    name = partition(row)
    if kind == "D":
        rows.execute(f"delete from {name} where id = %s", [row["id"]])
        return
    rows.execute(
        f"insert into {name} ({', '.join(fields)}) values ({', '.join(['%s'] * len(fields))})"
        f" on conflict (id) do update set {', '.join(f'{f} = excluded.{f}' for f in fields)}",
        [row[f] for f in fields])


while True:
    events.execute("select pgq.next_batch(%s, 'bench')", [keys["queue_name"]])
    batch = events.fetchone()[0]
    if batch is None:
        break
    events.execute("select ev_type, ev_data from pgq.get_batch_events(%s)", [batch])
    for ev_type, data in events.fetchall():
        apply(ev_type[0], data)
    dst.commit()
    events.execute("select pgq.finish_batch(%s)", [batch])
    src.commit()
