/*
 * May partitions be created in the transaction that loads them? As dest_table's entries in the
 * catalogue say: nobody is kept waiting until its commit.
 */
#include <string.h>

#include "pq.h"

/* An event trigger may lock anything, until the commit. */
#define NO_EVENT_TRIGGER \
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger g" \
	" WHERE g.evtenabled" PQ_OWN("<>") "'D'::pg_catalog.\"char\"" \
	" AND g.evtevent" PQ_OWN("<>") "'login'::pg_catalog.name)"

/* Is dest_table, c, a plain table? Its oid follows. */
static const char inherits_sql[] =
	" FROM pg_catalog.pg_class c"
	" WHERE c.relkind" PQ_OWN("=") "'r'::pg_catalog.\"char\""
	NO_EVENT_TRIGGER
	" AND c.oid" PQ_OWN("=");

/* Is it a top-level partitioned table whose ATTACH locks nothing that others wait for: no default
 * partition, no foreign key, no event trigger? */
static const char inside_sql[] =
	" FROM pg_catalog.pg_class c"
	" JOIN pg_catalog.pg_partitioned_table t ON t.partrelid" PQ_OWN("=") "c.oid"
	" WHERE NOT c.relispartition"
	" AND t.partdefid" PQ_OWN("=") "0::pg_catalog.oid"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k"
	" WHERE k.contype" PQ_OWN("=") "'f'::pg_catalog.\"char\""
	" AND (k.conrelid" PQ_OWN("=") "c.oid"
	" OR k.confrelid" PQ_OWN("=") "c.oid))"
	NO_EVENT_TRIGGER
	" AND c.oid" PQ_OWN("=");

/* Further conditions: a row that comes before ATTACH is like one that comes after it. */
static const char last_sql[] =
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger r"
	" WHERE r.tgrelid" PQ_OWN("=") "c.oid"
	" AND (r.tgtype" PQ_OWN("&") "1::pg_catalog.int2)" PQ_OWN("<>") "0::pg_catalog.int2)"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a"
	" WHERE a.attrelid" PQ_OWN("=") "c.oid AND a.attnum" PQ_OWN(">") "0::pg_catalog.int2"
	" AND a.attidentity" PQ_OWN("<>") "''::pg_catalog.\"char\")"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication p WHERE p.puballtables)"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication_rel p"
	" WHERE p.prrelid" PQ_OWN("=") "c.oid)";

/* Appends FROM and WHERE: they give a row if partitions may be created in that way. */
static void add_may(struct buf *sql, const struct pq *lane, const struct dest *d,
	enum entry_way way)
{
	buf_str(sql, way == ENTRY_INHERITS ? inherits_sql : inside_sql);
	buf_regclass(sql, d->schema, d->table);
	if (way != ENTRY_ATTACHED_LAST)
		return;
	buf_str(sql, last_sql);
	if (pq_server(lane)->version >= 150000)
		buf_str(sql, " AND NOT EXISTS (SELECT 1"
			" FROM pg_catalog.pg_publication_namespace p"
			" WHERE p.pnnspid" PQ_OWN("=") "c.relnamespace)");
}

int entry_try(struct pq *lane, const struct dest *d, enum entry_way way, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	*yes = false;
	/* ATTACH locks the parent AccessExclusive there */
	if (way != ENTRY_INHERITS && pq_server(lane)->version < 120000)
		return 0;
	buf_str(&sql, "SELECT pg_catalog.pg_try_advisory_xact_lock(");
	part_add_lock_key(&sql, d);
	buf_str(&sql, ")");
	add_may(&sql, lane, d, way);
	if (pq_query(lane, buf_cstr(&sql), e) == 0 && pq_rows(lane) > 0)
		*yes = strcmp(pq_value(lane, 0, 0), "t") == 0;
	buf_free(&sql);
	return e->code;
}

int entry_last(struct pq *lane, const struct dest *d, bool alone, int lock_timeout_ms,
	bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SET LOCAL lock_timeout = %d; LOCK TABLE ONLY ", lock_timeout_ms);
	buf_qualified(&sql, d->schema, d->table);
	buf_fmt(&sql, " IN %s MODE; SET LOCAL lock_timeout = %d; SELECT 1",
		alone ? "SHARE UPDATE EXCLUSIVE" : "ROW EXCLUSIVE", DATA_LOCK_TIMEOUT_MS);
	add_may(&sql, lane, d, ENTRY_ATTACHED_LAST);
	*yes = pq_query(lane, buf_cstr(&sql), e) == 0 && pq_rows(lane) > 0;
	buf_free(&sql);
	return e->code;
}
