#!/bin/bash
# Prints SQL that creates a stand-in for PgQue in a database, from the PgQ extension that is
# installed: the same tables and functions in schema pgque, with what differs written in
# test/pgque.sql. The differences were read in NikolayS/PgQue, sql/pgque.sql of commit c01eed65 and
# sql/pgque-additions/roles.sql of commit 04114cbb, version 0.2.0-dev.
set -eu
bin=${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
share=$("$bin/pg_config" --sharedir 2>/dev/null) || share=/usr/share/postgresql/$(basename "$(dirname "$bin")")
sql=$(ls "$share"/extension/pgq--[0-9].[0-9].sql | sort -V | tail -n 1)

# Of the extension's SQL: names, types of transaction numbers and snapshots.
echo 'create schema pgque;'
sed -e '/pg_extension_config_dump/d; /default_with_oids/d; /^create schema/d; /^create.*EXTENSION/d' \
	-e 's/\bpgq\b/pgque/g; s/\bpgq_\(reader\|writer\|admin\)\b/pgque_\1/g' \
	-e 's/ev_txid  *bigint  *not null default txid_current()/ev_txid xid8 not null default pg_current_xact_id()/' \
	-e 's/tick_snapshot  *txid_snapshot  *not null default txid_current_snapshot()/tick_snapshot pg_snapshot not null default pg_current_snapshot()/' \
	-e 's/\btxid_snapshot_\(xmin\|xmax\|xip\)(/pgque.snapshot_\1(/g' "$sql"
cat "$(dirname "$0")/pgque.sql"
