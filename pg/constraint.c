/*
 * What the keys of tables say where rows are replaced, with row_mode = keep_latest: foreign keys
 * that point there, and unique keys.
 */
#include <inttypes.h>

#include "pq.h"

/* Appends the names as WITH asked (oid). */
static void add_asked(struct buf *sql, const struct dest *d, const struct table_name *names,
	size_t n)
{
	buf_str(sql, "asked (oid) AS (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? "), (" : "(");
		buf_regclass(sql, d->schema, names[i].name);
	}
	buf_str(sql, "))");
}

/* Foreign keys to the tables whose oids are in `asked`, or to their children. */
static const char references_sql[] =
	", tree (oid) AS (SELECT oid FROM asked UNION"
	" SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i"
	" ON i.inhparent" PQ_OWN("=") "tree.oid)"
	" SELECT k.conname, k.conrelid::pg_catalog.regclass, k.confrelid::pg_catalog.regclass"
	" FROM pg_catalog.pg_constraint k JOIN tree ON tree.oid" PQ_OWN("=") "k.confrelid"
	" WHERE k.contype" PQ_OWN("=") "'f'::pg_catalog.\"char\" LIMIT 1";

int constraint_referenced(struct pq *dst, const struct dest *d, const struct table_name *names,
	size_t n, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "WITH RECURSIVE ");
	add_asked(&sql, d, names, n);
	buf_str(&sql, references_sql);
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		err_set(e, ERR_SHAPE, "foreign key %s of %s points to %s, where row_mode ="
			" keep_latest replaces rows: deleting them would delete or refuse those of"
			" %s. Drop it", pq_value(dst, 0, 0), pq_value(dst, 0, 1),
			pq_value(dst, 0, 2), pq_value(dst, 0, 1));
	buf_free(&sql);
	return e->code;
}

/* A unique key refuses a second row at once, among all rows of the table and its children. */
static const char unique_sql[] =
	" SELECT 1 FROM asked WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i"
	" JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "i.indrelid"
	" WHERE i.indrelid" PQ_OWN("=") "asked.oid AND i.indisunique AND i.indimmediate"
	" AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
	" AND (c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\" OR NOT EXISTS (SELECT 1"
	" FROM pg_catalog.pg_inherits h WHERE h.inhparent" PQ_OWN("=") "c.oid))"
	" AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a"
	" WHERE a.attrelid" PQ_OWN("=") "i.indrelid"
	" AND a.attnum" PQ_OWN("=") "ANY (i.indkey::pg_catalog.int2[])"
	" AND a.attname::pg_catalog.text" PQ_OWN("<>") "ALL (ARRAY[";

/* Appends a condition on the index c's column a: it is not one that has one value in the partition:
 * in that of a day a date, and in that of a value this. */
static void add_constant(struct buf *sql, const struct dest *d)
{
	struct span part = dest_part_target(d);
	bool day = d->period.method == PERIOD_DAILY, list = d->period.method == PERIOD_LIST;

	if (!part.p || (!day && !list))
		return;
	buf_str(sql, " AND NOT (a.attname" PQ_OWN("="));
	buf_literal(sql, part);
	buf_str(sql, "::pg_catalog.name");
	if (day)
		buf_str(sql, " AND a.atttypid" PQ_OWN("=") "1082::pg_catalog.oid");
	if (day && d->period.zoned)     /* its offset may make a moment another day's */
		buf_str(sql, " AND c.relispartition");
	buf_str(sql, ")");
}

int constraint_unique(struct pq *dst, const struct dest *d, const struct table_name *names,
	size_t n, const struct span *key, size_t nkey, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	*yes = true;
	buf_str(&sql, "WITH ");
	add_asked(&sql, d, names, n);
	buf_str(&sql, unique_sql);
	for (size_t i = 0; i < nkey; i++) {
		buf_str(&sql, i ? ", " : "");
		buf_literal(&sql, key[i]);
	}
	buf_str(&sql, "]::pg_catalog.text[])");
	add_constant(&sql, d);
	buf_str(&sql, ")) LIMIT 1");
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_rows(dst) == 0;
	buf_free(&sql);
	return e->code;
}

/* Counts no more rows than it takes to see that there are too many. */
void constraint_add_distinct(struct buf *sql, const struct dest *d, struct span table,
	const struct span *key, size_t nkey, int64_t most)
{
	buf_str(sql, "SELECT 1 WHERE CASE WHEN (SELECT pg_catalog.count(*) FROM (SELECT FROM ");
	buf_qualified(sql, d->schema, table);
	buf_fmt(sql, " LIMIT %" PRId64 ") r)" PQ_OWN("<=") "%" PRId64
		" THEN NOT EXISTS (SELECT FROM ", most + 1, most);
	buf_qualified(sql, d->schema, table);
	buf_str(sql, " GROUP BY ");
	for (size_t i = 0; i < nkey; i++) {
		buf_str(sql, i ? ", " : "");
		buf_ident(sql, key[i]);
	}
	buf_str(sql, " HAVING pg_catalog.count(*)" PQ_OWN(">") "1) END;");
}
