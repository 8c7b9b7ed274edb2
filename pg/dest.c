/*
 * Tables of the target as they are: found by the role's search_path, as a COPY would find them,
 * and asked about apart from it.
 */
#include <stdio.h>
#include <string.h>

#include "pg.h"

int dest_find(struct pq *dst, const struct conf *c, struct span table, struct dest *d, struct err *e)
{
	struct buf sql = { 0 };

	*d = (struct dest){ 0 };
	buf_str(&sql, "SELECT c.oid, (c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\")::pg_catalog.int4"
		" FROM pg_catalog.pg_class c WHERE c.oid" PQ_OWN("="));
	buf_regclass(&sql, c->schema, table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0) {
		snprintf(d->oid, sizeof d->oid, "%s", pq_value(dst, 0, 0));
		d->partitioned = pq_int(dst, 0, 1, 0);
	}
	buf_free(&sql);
	return e->code;
}

int dest_lacks(struct pq *dst, const struct dest *d, const struct span *column, size_t n, size_t *which, struct err *e)
{
	struct buf sql = { 0 };

	*which = n;
	buf_str(&sql, PQ_OWN_PATH "SELECT i - 1 FROM unnest(ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_str(&sql, i ? "," : "");
		buf_literal(&sql, column[i]);
	}
	buf_fmt(&sql, "]::text[]) WITH ORDINALITY AS wanted (name, i) WHERE NOT EXISTS (SELECT 1 FROM pg_attribute"
		" WHERE attrelid = '%s' AND attnum > 0 AND NOT attisdropped AND attname::text = name) ORDER BY i LIMIT 1", d->oid);
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		*which = (size_t)pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

bool dest_template_says(const struct conf *c, const char *words)
{
	return c->part_template && strcasestr(c->part_template, words);
}

bool dest_makes_partitions(const struct conf *c)
{
	return dest_template_says(c, "partition of") || dest_template_says(c, "attach partition");
}

bool dest_is_model(const struct conf *c, const struct dest *d, struct span column)
{
	if (d->partitioned || !c->part_template)
		return d->partitioned;
	return *d->oid && strstr(c->part_template, "_PARENT") &&
		!memmem(c->part_template, strlen(c->part_template), column.p, column.n);
}
