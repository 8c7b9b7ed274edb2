/*
 * The types of columns, on both sides: may values go from one to the other in binary form?
 */
#include <inttypes.h>

#include "pq.h"

/* Appends rows of name, oid of the type, number. */
static void add_wanted(struct buf *sql, const struct span *column, const int64_t *type, size_t n)
{
	buf_str(sql, "(VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, column[i]);
		buf_fmt(sql, "::pg_catalog.name, %" PRId64 "::pg_catalog.int8::pg_catalog.oid,"
			" %zu)", type ? type[i] : 0, i);
	}
	buf_str(sql, ") w (name, type, i)");
}

#define COLUMN_OF "a.attname" PQ_OWN("=") "w.name AND a.attnum" PQ_OWN(">") "0" \
	" AND NOT a.attisdropped AND a.attrelid" PQ_OWN("=")

int types_find(struct pq *q, int64_t table, const struct span *column, size_t n, int64_t *type,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT coalesce(a.atttypid, 0::pg_catalog.oid)::pg_catalog.int8 FROM ");
	add_wanted(&sql, column, NULL, n);
	buf_fmt(&sql, " LEFT JOIN pg_catalog.pg_attribute a ON " COLUMN_OF "%" PRId64
		"::pg_catalog.int8::pg_catalog.oid ORDER BY w.i", table);
	int rc = pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	for (size_t i = 0; rc == 0 && i < n; i++)
		type[i] = pq_int(q, (int)i, 0, 0);
	return rc;
}

/* Built-in types but those that hold an oid of this database, or depend on its locale or encoding:
 * reg..., oid, money, xml, "char", and what has no binary form. */
bool types_is_portable(int64_t type)
{
	static const int64_t portable[] = {
		16, 17, 20, 21, 23, 25, 114, 700, 701, 869, 650, 829, 774, 1042, 1043, 1082, 1083,
		1114, 1184, 1186, 1266, 1560, 1562, 1700, 2950, 3802, 600, 601, 602, 603, 604, 628,
		718, 3904, 3906, 3908, 3910, 3912, 3926, 1000, 1001, 1005, 1007, 1016, 1009, 1015,
		1021, 1022, 1231, 1182, 1115, 1185, 1187, 2951, 3807, 199, 1041,
	};

	for (size_t i = 0; i < sizeof portable / sizeof *portable; i++)
		if (portable[i] == type)
			return true;
	return false;
}

/* Counts by table, since looking for each column of each table takes four times as long. */
int types_fit(struct pq *dst, const struct dest *d, const struct tally *tables,
	const struct span *column, size_t n, const int64_t *type, bool *yes, struct err *e)
{
	struct buf sql = { 0 };
	size_t wanted = 0;

	for (size_t i = 0; i < n; i++)
		wanted += type[i] != 0;
	*yes = true;
	if (!tables->n)
		return 0;
	buf_str(&sql, "SELECT 1 FROM pg_catalog.unnest(ARRAY[");
	for (size_t i = 0; i < tables->n; i++) {
		buf_str(&sql, i ? ", " : "");
		buf_regclass(&sql, d->schema, span_of(tables->at[i].name));
	}
	buf_str(&sql, "]) t (oid) LEFT JOIN (pg_catalog.pg_attribute a JOIN ");
	add_wanted(&sql, column, type, n);
	buf_fmt(&sql, " ON a.attname" PQ_OWN("=") "w.name AND a.atttypid" PQ_OWN("=") "w.type)"
		" ON a.attrelid" PQ_OWN("=") "t.oid AND a.attnum" PQ_OWN(">") "0"
		" AND NOT a.attisdropped GROUP BY t.oid HAVING pg_catalog.count(w.i)"
		PQ_OWN("<>") "%zu LIMIT 1", wanted);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_rows(dst) == 0;
	buf_free(&sql);
	return e->code;
}
