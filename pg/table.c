/*
 * The target's tables as they are, found by the role's search_path as a COPY would find them:
 * whether one exists, and which columns it has; and what part_template would make.
 */
#include <stdio.h>
#include <string.h>

#include "pq.h"

/* ---- part_template */

void table_words(struct buf *words, const struct dest *d)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz0123456789_$";

	buf_str(words, " ");
	for (const char *p = d->part_template; p && *p; p++) {
		char low = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
		if (strchr(name, low) || (unsigned char)low >= 0x80)
			buf_add(words, &low, 1);
		else if (words->p[words->len - 1] != ' ')
			buf_str(words, " ");
	}
	buf_str(words, " ");
}

bool table_makes_children(const struct dest *d)
{
	struct buf words = { 0 };

	table_words(&words, d);
	const char *text = buf_cstr(&words);
	bool makes = strstr(text, " partition of ") || strstr(text, " attach partition ") ||
		strstr(text, " inherits ");
	buf_free(&words);
	return makes;
}

/* ---- what is there */

int table_find(struct pq *dst, const struct dest *d, struct span table, struct table *t,
	struct err *e)
{
	struct buf sql = { 0 };

	*t = (struct table){ 0 };
	buf_str(&sql, "SELECT c.oid,"
		" (c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\")::pg_catalog.int4"
		" FROM pg_catalog.pg_class c WHERE c.oid" PQ_OWN("="));
	buf_regclass(&sql, d->schema, table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0) {
		snprintf(t->oid, sizeof t->oid, "%s", pq_value(dst, 0, 0));
		t->partitioned = pq_int(dst, 0, 1, 0);
	}
	buf_free(&sql);
	return e->code;
}

int table_lacks(struct pq *dst, const struct table *t, const struct span *column, size_t n,
	size_t *which, struct err *e)
{
	struct buf sql = { 0 };

	*which = n;
	buf_str(&sql, PQ_OWN_PATH "SELECT i - 1 FROM unnest(ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_str(&sql, i ? "," : "");
		buf_literal(&sql, column[i]);
	}
	buf_fmt(&sql, "]::text[]) WITH ORDINALITY AS wanted (name, i)"
		" WHERE EXISTS (SELECT 1 FROM pg_class WHERE oid = '%s')"
		" AND NOT EXISTS (SELECT 1 FROM pg_attribute"
		" WHERE attrelid = '%s' AND attnum > 0 AND NOT attisdropped"
		" AND attname::text = name)"
		" ORDER BY i LIMIT 1", t->oid, t->oid);
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		*which = (size_t)pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

/* An enum's binary form is that of a text, and a domain's that of its base type: the server makes
 * the domain's checks then too. */
int table_columns(struct pq *dst, const struct dest *d, struct span table,
	struct table_columns **columns, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT a.attname, a.atttypid,"
		" CASE WHEN b.typtype" PQ_OWN("=") "'e'::pg_catalog.\"char\""
		" THEN 25::pg_catalog.oid ELSE b.oid END"
		" FROM pg_catalog.pg_attribute a"
		" JOIN pg_catalog.pg_type t ON t.oid" PQ_OWN("=") "a.atttypid"
		" JOIN pg_catalog.pg_type b ON b.oid" PQ_OWN("=") "CASE"
		" WHEN t.typtype" PQ_OWN("=") "'d'::pg_catalog.\"char\" THEN t.typbasetype"
		" ELSE t.oid END"
		" WHERE NOT a.attisdropped AND a.attnum" PQ_OWN(">") "0"
		" AND a.attrelid" PQ_OWN("="));
	buf_regclass(&sql, d->schema, table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0) {
		size_t n = (size_t)pq_rows(dst);
		size_t size = sizeof **columns + n * sizeof *(*columns)->at;
		struct table_columns *list = memset(mem_alloc(size), 0, size);
		for (list->n = 0; list->n < n; list->n++) {
			struct table_column *column = &list->at[list->n];
			snprintf(column->name, sizeof column->name, "%s",
				pq_value(dst, (int)list->n, 0));
			column->type = (uint32_t)pq_int(dst, (int)list->n, 1, 0);
			column->kind = binary_kind(pq_value(dst, (int)list->n, 2));
		}
		*columns = list;
	}
	buf_free(&sql);
	return e->code;
}

/* What is generated has a default here. */
const char table_no_default[] = "NOT a.atthasdef AND t.typdefault IS NULL";

/* A column that is NOT NULL, as an identity is, or of a domain may refuse a NULL that is named. */
int table_fills(struct pq *dst, const struct dest *d, struct tally *columns, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT a.attname, CASE WHEN t.typtype" PQ_OWN("=") "'e'::pg_catalog.\"char\""
		" THEN 25::pg_catalog.oid ELSE t.oid END"
		" FROM pg_catalog.pg_attribute a"
		" JOIN pg_catalog.pg_type t ON t.oid" PQ_OWN("=") "a.atttypid"
		" WHERE NOT a.attisdropped AND NOT a.attnotnull AND a.attnum" PQ_OWN(">") "0"
		" AND t.typtype" PQ_OWN("<>") "'d'::pg_catalog.\"char\""
		" AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT')");
	buf_fmt(&sql, " AND %s AND a.attrelid" PQ_OWN("="), table_no_default);
	buf_regclass(&sql, d->schema, d->table);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		for (int row = 0; row < pq_rows(dst); row++)
			if (binary_kind(pq_value(dst, row, 1)) != BINARY_NONE)
				tally_add(columns, pq_value(dst, row, 0), 0);
	buf_free(&sql);
	return e->code;
}

void table_add_size(struct buf *sql, const struct pq *dst)
{
	static const char total[] = "pg_catalog.pg_total_relation_size(c.oid)";

	if (pq_server(dst)->version >= 120000)
		buf_fmt(sql, "coalesce((SELECT pg_catalog.sum("
			"pg_catalog.pg_total_relation_size(relid))::pg_catalog.int8"
			" FROM pg_catalog.pg_partition_tree(c.oid)), %s)", total);
	else
		buf_str(sql, total);
}

void table_add_named(struct buf *sql, const struct dest *d, const char *oid)
{
	size_t n = period_suffix_len(d->period.method);
	struct buf table = { 0 };

	buf_literal(&table, d->table);
	const char *name = buf_cstr(&table);
	if (period_is_dated(&d->period))
		buf_fmt(sql, "right(relname::text, %zu) ~ '%s' AND left(relname::text, -%zu) = %s",
			n, period_pattern(d->period.method), n, name);
	else
		buf_fmt(sql, "left(relname::text, length(%s)) = %s AND substr(relname::text,"
			" length(%s) + 1) ~ '%s'", name, name, name,
			period_pattern(d->period.method));
	if (d->period.method == PERIOD_LIST)
		buf_fmt(sql, " AND EXISTS (SELECT FROM pg_inherits WHERE inhrelid = %s)", oid);
	buf_free(&table);
}

/* Does a partition generate the columns that dest_table generates? Children do, and so do copies of
 * it if part_template says so. */
static bool is_inherited(const struct dest *d)
{
	struct buf words = { 0 };

	if (d->part_by == PART_BY_NOTHING || !d->part_template || table_makes_children(d))
		return true;
	table_words(&words, d);
	const char *text = buf_cstr(&words);
	bool copied = (strstr(text, " including all ") || strstr(text, " including generated ")) &&
		!strstr(text, " excluding generated ");
	buf_free(&words);
	return copied;
}

int table_generated(struct pq *dst, const struct dest *d, struct tally *columns, struct err *e)
{
	struct table parent;
	struct buf sql = { 0 };

	if (pq_server(dst)->version < 120000 || table_find(dst, d, d->table, &parent, e) < 0 ||
	    !*parent.oid || !is_inherited(d))
		return e->code;
	buf_fmt(&sql, "SELECT attname FROM pg_catalog.pg_attribute"
		" WHERE attrelid" PQ_OWN("=") "'%s'::pg_catalog.oid"
		" AND attnum" PQ_OWN(">") "0::pg_catalog.int2"
		" AND attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\"", parent.oid);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		for (int row = 0; row < pq_rows(dst); row++)
			tally_add(columns, pq_value(dst, row, 0), 0);
	buf_free(&sql);
	return e->code;
}

int table_lists_generated(struct pq *dst, const struct dest *d, size_t *which, struct err *e)
{
	struct tally columns = { 0 };

	*which = d->nfield;
	if (d->nfield && table_generated(dst, d, &columns, e) == 0)
		for (size_t i = d->nfield; i-- > 0;)
			for (size_t k = 0; k < columns.n; k++)
				if (span_is(d->field[i].target, columns.at[k].name))
					*which = i;
	tally_clear(&columns);
	return e->code;
}

bool table_is_model(const struct dest *d, const struct table *t, struct span column)
{
	if (t->partitioned || !d->part_template)
		return t->partitioned;
	return *t->oid && strstr(d->part_template, "_PARENT") &&
		!memmem(d->part_template, strlen(d->part_template), column.p, column.n);
}
