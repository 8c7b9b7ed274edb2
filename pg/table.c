/*
 * Tables of the target as they are, found by the role's search_path as a COPY would find them: is one
 * there, which columns has it, and is it one that rows may go to?
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg.h"

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
	bool makes = strstr(text, " partition of ") || strstr(text, " attach partition ") || strstr(text, " inherits ");
	buf_free(&words);
	return makes;
}

/* ---- what is there */

int table_find(struct pq *dst, const struct dest *d, struct span table, struct table *t,
	struct err *e)
{
	struct buf sql = { 0 };

	*t = (struct table){ 0 };
	buf_str(&sql, "SELECT c.oid, (c.relkind" PQ_OWN("=") "'p'::pg_catalog.\"char\")::pg_catalog.int4"
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
	buf_fmt(&sql, "]::text[]) WITH ORDINALITY AS wanted (name, i) WHERE NOT EXISTS (SELECT 1 FROM pg_attribute"
		" WHERE attrelid = '%s' AND attnum > 0 AND NOT attisdropped AND attname::text = name) ORDER BY i LIMIT 1", t->oid);
	if (n && pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) > 0)
		*which = (size_t)pq_int(dst, 0, 0, 0);
	buf_free(&sql);
	return e->code;
}

/* Children generate what their parent does, and so do copies of it if they are told to. */
static bool is_inherited(const struct dest *d)
{
	struct buf words = { 0 };

	if (d->part_by == PART_BY_NOTHING || !d->part_template || table_makes_children(d))
		return true;
	table_words(&words, d);
	bool copied = strstr(buf_cstr(&words), " including all ") || strstr(buf_cstr(&words), " including generated ");
	copied = copied && !strstr(buf_cstr(&words), " excluding generated ");
	buf_free(&words);
	return copied;
}

int table_generated(struct pq *dst, const struct dest *d, struct tally *columns, struct err *e)
{
	struct table parent;
	struct buf sql = { 0 };

	if (pq_server_version(dst) < 120000 || table_find(dst, d, d->table, &parent, e) < 0 || !*parent.oid || !is_inherited(d))
		return e->code;
	buf_fmt(&sql, "SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid" PQ_OWN("=") "'%s'::pg_catalog.oid"
		" AND attnum" PQ_OWN(">") "0::pg_catalog.int2 AND attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\"", parent.oid);
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

/* ---- the right table
 *
 * Whoever may create tables on our search_path can put one under a partition's name, to read our
 * rows or to have us run a trigger. And a partition that was one may be no more: detached, or its
 * parent renamed and another put in its place. */

/* Is parent m, with the name m.relname, one that the template means? */
static void add_is_meant(struct buf *sql, const struct dest *d)
{
	struct buf words = { 0 };

	table_words(&words, d);
	buf_str(&words, d->part_template ? d->part_template : "");
	buf_str(sql, "pg_catalog.strpos(");
	buf_literal(sql, (struct span){ words.p, words.len });
	buf_str(sql, ", CASE WHEN pg_catalog.quote_ident(m.relname)" PQ_OWN("=") "m.relname::pg_catalog.text"
		" THEN ' '" PQ_OWN("||") "m.relname::pg_catalog.text" PQ_OWN("||") "' ' ELSE pg_catalog.quote_ident(m.relname) END)"
		PQ_OWN(">") "0");
	if (!d->part_template || !strstr(d->part_template, "_PARENT"))  /* whose are they, then? */
		buf_str(sql, " OR top.oid IS NULL");
	buf_free(&words);
}

/* Of a row i of pg_inherits: not one that is being detached. */
static const char *attached(const struct pq *dst)
{
	return pq_server_version(dst) >= 140000 ? " AND NOT i.inhdetachpending" : "";
}

/* The names with their tables' oids, and of each table and all that is above it those. */
static void add_tables(struct buf *sql, const struct pq *dst, const struct dest *d, const struct table_name *names, size_t n)
{
	buf_str(sql, "WITH RECURSIVE want (name, old, oid) AS (VALUES ");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? ", (" : "(");
		buf_literal(sql, names[i].name);
		buf_fmt(sql, "::pg_catalog.text, %s, ", names[i].old ? "true" : "false");
		buf_regclass(sql, d->schema, names[i].name);
		buf_str(sql, ")");
	}
	buf_fmt(sql, "), up (part, oid) AS (SELECT oid, oid FROM want UNION SELECT up.part, i.inhparent FROM up"
		" JOIN pg_catalog.pg_inherits i ON i.inhrelid" PQ_OWN("=") "up.oid%s), top (oid) AS (SELECT ", attached(dst));
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, ") ");
}

/* A query for those that are not right: name, why, and whose it is. */
static void add_wrong(struct buf *sql, const struct pq *dst, const struct dest *d, const struct table_name *names, size_t n)
{
	add_tables(sql, dst, d, names, n);
	buf_str(sql, "SELECT want.name, CASE WHEN want.oid IS NULL THEN 'gone' WHEN other.n" PQ_OWN(">") "0 AND NOT other.meant"
		" THEN 'other' WHEN stranger.name IS NOT NULL THEN 'stranger' ELSE 'loose' END AS why,"
		" CASE WHEN other.n" PQ_OWN(">") "0 THEN other.name ELSE stranger.name END AS whose"
		" FROM want CROSS JOIN top"
		" CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n, pg_catalog.min(m.oid::pg_catalog.regclass::pg_catalog.text) AS name,"
		" pg_catalog.bool_or(");
	add_is_meant(sql, d);
	buf_fmt(sql, ") AS meant FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class m ON m.oid" PQ_OWN("=") "i.inhparent"
		" WHERE i.inhrelid" PQ_OWN("=") "want.oid%s) other"
		" LEFT JOIN LATERAL (SELECT r.rolname::pg_catalog.text AS name FROM pg_catalog.pg_class c"
		" JOIN pg_catalog.pg_roles r ON r.oid" PQ_OWN("=") "c.relowner JOIN pg_catalog.pg_class t ON t.oid" PQ_OWN("=") "top.oid"
		" WHERE c.oid" PQ_OWN("=") "want.oid AND t.relowner" PQ_OWN("<>") "c.relowner AND NOT r.rolsuper"
		" AND r.rolname" PQ_OWN("<>") "current_user) stranger ON true"
		" WHERE NOT EXISTS (SELECT FROM up WHERE up.part" PQ_OWN("=") "want.oid AND up.oid" PQ_OWN("=") "top.oid)"
		" AND (want.oid IS NULL OR stranger.name IS NOT NULL OR (other.n" PQ_OWN(">") "0 AND NOT other.meant)"
		" OR (other.n" PQ_OWN("=") "0 AND NOT want.old AND %s))", attached(dst), table_makes_children(d) ? "true" : "false");
}

int table_look(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n, struct err *e)
{
	struct buf sql = { 0 };

	add_wrong(&sql, dst, d, names, n);
	pq_query(dst, buf_cstr(&sql), e);
	buf_free(&sql);
	return e->code;
}

int table_wrong(struct pq *dst, const struct dest *d, int row, bool *loose, struct err *e)
{
	const char *name = pq_value(dst, row, 0), *why = pq_value(dst, row, 1), *whose = pq_value(dst, row, 2);

	*loose = strcmp(why, "loose") == 0;
	if (*loose)
		return err_set(e, ERR_SHAPE, "table %s is no child of %s, as part_template makes them: rows in it would not be in %s."
			" Attach it (ALTER TABLE ... ATTACH PARTITION, or INHERIT), or rename it, so that a new one is made", name,
			d->dest_table, d->dest_table);
	if (strcmp(why, "other") == 0)
		return err_set(e, ERR_SHAPE, "table %s is a child of %s, not of %s: no row goes there. Rename it, so that a new one"
			" is made; or, if %s is meant, name that in part_template, if only in a comment", name, whose, d->dest_table, whose);
	if (strcmp(why, "stranger") == 0)
		return err_set(e, ERR_RIGHTS, "table %s is not ours to fill: it belongs to %s, is no partition of %s, and its owner"
			" is another", name, whose, d->dest_table);
	return err_set(e, ERR_CONFLICT, "table %s is there no more under that name", name);
}

/* The oids of the tables, for an operator before it. */
static void add_any(struct buf *sql, const struct dest *d, const struct table_name *names, size_t n)
{
	buf_str(sql, "ANY (ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_str(sql, i ? "," : "");
		buf_regclass(sql, d->schema, names[i].name);
	}
	buf_str(sql, "])");
}

/* Those that are children of dest_table itself: much cheaper than add_wrong. */
static void add_children(struct buf *sql, const struct pq *dst, const struct dest *d, const struct table_name *names, size_t n)
{
	buf_str(sql, "FROM pg_catalog.pg_inherits i WHERE i.inhrelid" PQ_OWN("="));
	add_any(sql, d, names, n);
	buf_str(sql, " AND i.inhparent" PQ_OWN("="));
	buf_regclass(sql, d->schema, d->table);
	buf_str(sql, attached(dst));
}

static int are_children(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n, bool *yes,
	struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "SELECT pg_catalog.count(*) ");
	add_children(&sql, dst, d, names, n);
	if (pq_query(dst, buf_cstr(&sql), e) == 0)
		*yes = pq_int(dst, 0, 0, 0) == (int64_t)n;
	buf_free(&sql);
	return e->code;
}

int table_right(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n,
	bool *children, size_t *which, struct err *e)
{
	bool loose;

	*children = true;
	if (n == 0 || d->part_by == PART_BY_NOTHING ||
	    are_children(dst, d, names, n, children, e) < 0 || *children)
		return e->code;
	if (table_look(dst, d, names, n, e) < 0 || pq_rows(dst) == 0)
		return e->code;
	for (size_t i = 0; which && i < n; i++)
		if (span_is(names[i].name, pq_value(dst, 0, 0)))
			*which = i;
	return table_wrong(dst, d, 0, &loose, e);
}

/* What no integer is read from. They stand in the server's message, in any language. */
#define NO_CHILDREN "tdispatch: children: "
#define NOT_GENERATED "tdispatch: generated: "

/* A column of the query that follows, which fails unless it has so many rows. */
static void add_must_be(struct buf *sql, const char *what, size_t n)
{
	buf_fmt(sql, "SELECT CASE WHEN pg_catalog.count(*)" PQ_OWN("<>") "%zu THEN ('%s'" PQ_OWN("||")
		"pg_catalog.count(*)::pg_catalog.text)::pg_catalog.int4 END ", n, what);
}

void table_add_children(struct buf *sql, const struct pq *dst, const struct dest *d, const struct table_name *names, size_t n)
{
	if (n == 0 || d->part_by == PART_BY_NOTHING)
		return;
	add_must_be(sql, NO_CHILDREN, n);
	add_children(sql, dst, d, names, n);
	buf_str(sql, ";");
}

void table_add_generated(struct buf *sql, const struct dest *d, const struct table_name *names, size_t n, const struct tally *columns)
{
	if (n == 0 || columns->n == 0)
		return;
	add_must_be(sql, NOT_GENERATED, n * columns->n);
	buf_str(sql, "FROM pg_catalog.pg_attribute WHERE attrelid" PQ_OWN("="));
	add_any(sql, d, names, n);
	buf_str(sql, " AND attgenerated" PQ_OWN("<>") "''::pg_catalog.\"char\" AND attname" PQ_OWN("=") "ANY (ARRAY[");
	for (size_t i = 0; i < columns->n; i++) {
		buf_str(sql, i ? "," : "");
		buf_literal(sql, span_of(columns->at[i].name));
	}
	buf_str(sql, "]::pg_catalog.name[]);");
}

int table_refused(struct pq *dst, const struct dest *d, const struct table_name *names, size_t n, const struct tally *columns,
	struct err *e)
{
	bool generated = strstr(e->msg, NOT_GENERATED), children;
	struct tally now = { 0 };

	if (strcmp(e->sqlstate, "22P02") != 0 || (!generated && !strstr(e->msg, NO_CHILDREN)))
		return e->code;
	*e = (struct err){ 0 };
	if (pq_query(dst, "ROLLBACK", e) == 0 && table_right(dst, d, names, n, &children, NULL, e) == 0)
		table_generated(dst, d, &now, e);
	if (!e->code && generated && now.n == columns->n)
		err_set(e, ERR_SHAPE, "column %s of %s is generated, and one of its partitions has it as a column like others,"
			" so that it would get no value", now.at[0].name, d->dest_table);
	tally_clear(&now);
	return err_set(e, ERR_CONFLICT, "%s or its partitions were changed at this moment", d->dest_table);
}
