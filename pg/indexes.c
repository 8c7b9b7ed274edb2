/*
 * The indexes of dest_table as statements that make the same on a partition after its rows, which
 * is faster than to copy them by LIKE before. All are left to LIKE if a statement might say one of
 * them in another way: with expressions, which the search_path may change, or with what the
 * definition does not tell.
 */
#include <stdlib.h>

#include "pq.h"

static const char indexes_sql[] =
	"SELECT CASE WHEN k.oid IS NOT NULL THEN 'ALTER TABLE '"
	" WHEN i.indisunique THEN 'CREATE UNIQUE INDEX ON ' ELSE 'CREATE INDEX ON ' END,"
	" CASE WHEN k.oid IS NOT NULL THEN"
	" ' ADD '" PQ_OWN("||") "pg_catalog.pg_get_constraintdef(k.oid)"
	" ELSE pg_catalog.substr(d.def, pg_catalog.strpos(d.def, ' USING ')) END,"
	" (i.indexprs IS NULL AND i.indpred IS NULL"
	" AND x.reltablespace" PQ_OWN("=") "0::pg_catalog.oid"
	" AND (k.oid IS NULL OR (x.reloptions IS NULL"
	" AND k.contype" PQ_OWN("<>") "'x'::pg_catalog.\"char\"))"
	" AND pg_catalog.obj_description(x.oid, 'pg_class') IS NULL"
	" AND pg_catalog.strpos(pg_catalog.concat(x.relname, c.relname, n.nspname), ' USING ')"
	PQ_OWN("=") "0)::pg_catalog.int4"
	" FROM pg_catalog.pg_index i"
	" CROSS JOIN LATERAL pg_catalog.pg_get_indexdef(i.indexrelid) d (def)"
	" JOIN pg_catalog.pg_class x ON x.oid" PQ_OWN("=") "i.indexrelid"
	" JOIN pg_catalog.pg_class c ON c.oid" PQ_OWN("=") "i.indrelid"
	" JOIN pg_catalog.pg_namespace n ON n.oid" PQ_OWN("=") "c.relnamespace"
	" LEFT JOIN pg_catalog.pg_constraint k ON k.conindid" PQ_OWN("=") "i.indexrelid"
	" AND k.conrelid" PQ_OWN("=") "i.indrelid"
	" AND k.contype" PQ_OWN("=") "ANY ('{p,u,x}'::pg_catalog.\"char\"[])"
	" WHERE i.indrelid" PQ_OWN("=");

int indexes_look(struct pq *lane, const struct dest *d, struct indexes *x, bool *yes,
	struct err *e)
{
	struct buf sql = { 0 };

	*yes = false;
	indexes_clear(x);
	x->dest = d;
	buf_str(&sql, indexes_sql);
	buf_regclass(&sql, d->schema, d->table);
	buf_str(&sql, " ORDER BY i.indexrelid");
	int rc = pq_query(lane, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	size_t n = (size_t)pq_rows(lane);
	x->at = mem_alloc((n + 1) * sizeof *x->at);
	*yes = true;
	for (int i = 0; i < (int)n; i++) {
		*yes &= pq_int(lane, i, 2, 0) != 0;
		x->at[x->n++] = (struct index_sql){ mem_text(pq_value(lane, i, 0)),
			mem_text(pq_value(lane, i, 1)) };
	}
	return 0;
}

void indexes_add(struct buf *sql, const struct indexes *x, const char *partition)
{
	for (size_t i = 0; i < x->n; i++) {
		buf_str(sql, x->at[i].before);
		buf_qualified(sql, x->dest->schema, span_of(partition));
		buf_fmt(sql, "%s;", x->at[i].after);
	}
}

void indexes_clear(struct indexes *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->at[i].before);
		free(x->at[i].after);
	}
	free(x->at);
	*x = (struct indexes){ 0 };
}
