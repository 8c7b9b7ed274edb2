/*
 * --check's part about part_template: does it make partitions of the kind that dest_table takes,
 * and does it add what they have already? Changes nothing.
 */
#include <string.h>

#include "ops.h"

/* Does part_template have these words? Blanks stand around each. */
static bool says(const struct look *l, const char *words)
{
	return strstr(l->words.p, words);
}

/* ---- what it makes */

/* One that calls something may leave the name of the partition to that. */
static void check_name(struct look *l)
{
	const char *text = l->dest->part_template;
	bool names = strstr(text, "_DEST_TABLE") || strstr(text, "_SCHEMA_TABLE");
	bool calls = strcasestr(text, "execute") || (!strcasestr(text, "create table") &&
		(strcasestr(text, "select") || strcasestr(text, "call")));

	if (!names && calls)
		finding_warning("part_template has the word _DEST_TABLE nowhere: what it calls"
			" must know the partition's name");
	else if (!names)
		finding_wrong(l->found, "part_template has the word _DEST_TABLE nowhere, so it"
			" cannot create a partition: write create table _DEST_TABLE ...");
}

/* With dest_table there. */
static void check_kind(struct look *l)
{
	const char *table = l->dest->dest_table;
	bool of = says(l, " partition of "), attach = says(l,
		" attach partition ");
	bool list = l->dest->period.method == PERIOD_LIST;

	if ((of || attach) && !l->table.partitioned)
		finding_wrong(l->found, "table %s is not partitioned, and part_template says %s:"
			" create it with PARTITION BY %s (...), or let part_template say create"
			" table _DEST_TABLE () inherits (_PARENT)", table, of ? "partition of" :
			"attach partition", list ? "LIST" : "RANGE");
	else if (strcasestr(l->dest->part_template, "inherits (_PARENT)") && l->table.partitioned &&
	    !of && !attach)
		finding_wrong(l->found, "table %s is partitioned, which nothing inherits from: let"
			" part_template say create table _DEST_TABLE partition of _PARENT for"
			" values %s", table, list ? "in (_PART_VALUE)" : "from (_PART_START) to"
			" (_PART_END)");
}

/* How a parent is divided, and the words that a template has for a partition of it. */
static const struct strategy {
	const char *name, *words;
} strategies[] = {
	{ "RANGE", " for values from " }, { "LIST", " for values in " },
	{ "HASH", " for values with " },
};

#define STRATEGIES (sizeof strategies / sizeof *strategies)

/* A partition that is divided itself has bounds of two kinds: one must be the parent's. */
static void check_strategy(struct look *l)
{
	struct buf sql = { 0 };
	const struct strategy *said = NULL;

	for (size_t i = STRATEGIES; i > 0; i--)
		said = says(l, strategies[i - 1].words) ? &strategies[i - 1] : said;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT CASE partstrat WHEN 'r' THEN 0 WHEN 'l' THEN 1 ELSE 2"
		" END, pg_get_partkeydef(partrelid) FROM pg_partitioned_table"
		" WHERE partrelid = '%s'", l->table.oid);
	if (finding_ask(l->found, l->dst, &sql) == 0 || !said)
		return;
	const struct strategy *is = &strategies[pq_int(l->dst, 0, 0, 0)];
	if (!says(l, is->words))
		finding_wrong(l->found, "table %s is partitioned by %s, and part_template says%s"
			"(...), which is for %s: change one of them", l->dest->dest_table,
			pq_value(l->dst, 0, 1), said->words, said->name);
}

/* Bounds are those of part_field. Another column may follow it, or an expression may hold it. */
static void check_divided_by(struct look *l)
{
	struct span part = dest_part_target(l->dest);
	struct buf sql = { 0 };

	if (!part.n)
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_partitioned_table JOIN pg_attribute"
		" ON attrelid = partrelid AND attnum = partattrs[0] WHERE partrelid = '%s'"
		" AND attname <> ", l->table.oid);
	buf_literal(&sql, part);
	if (finding_ask(l->found, l->dst, &sql) > 0)
		finding_warning("table %s is partitioned by column %s, and part_field is %s: rows"
			" whose %s lies outside the bounds are refused", l->dest->dest_table,
			pq_value(l->dst, 0, 0), l->dest->part_field, pq_value(l->dst, 0, 0));
}

static void check_unlogged(struct look *l)
{
	if (says(l, " create unlogged table "))
		finding_warning("part_template makes unlogged tables: after a crash of their"
			" server they are empty, and no event comes again");
}

/* ---- what it adds to what it copies */

static struct span renamed(const struct dest *d, struct span source)
{
	for (size_t i = 0; i < d->nfield; i++)
		if (span_eq(d->field[i].source, source))
			return d->field[i].target;
	return source;
}

/* The events' primary key, by the names that its columns have in the target. */
static void add_key(const struct look *l, struct buf *key)
{
	const char *p = l->feed->key.p;

	while (p && *p) {
		size_t n = strcspn(p, ",");
		struct span target = renamed(l->dest, (struct span){ p, n });
		buf_add(key, target.p, target.n);
		buf_str(key, p[n] ? "," : "");
		p += n + (p[n] == ',');
	}
}

/* ATTACH wants each index of the parent in the partition: it takes one with the same columns, and
 * makes what is missing. */
static void check_attached_key(struct look *l, const char *parent_key)
{
	const char *name = l->dest->dest_table;
	struct buf key = { 0 };

	add_key(l, &key);
	if (!l->feed->one_key || !says(l, " primary key _pkey "))
		finding_warning("table %s has a primary key already, of %s: a partition cannot be"
			" attached if part_template gives it another", name, parent_key);
	else if (strcmp(buf_cstr(&key), parent_key) != 0)
		finding_wrong(l->found, "table %s has a primary key already, of %s, and"
			" part_template adds another, of %s: take that out, or let the parent have"
			" none", name, parent_key, buf_cstr(&key));
	buf_free(&key);
}

static bool copies(const struct look *l, const char *what, const char *but)
{
	return (says(l, " including all ") || says(l, what)) &&
		!says(l, but);
}

static void check_key(struct look *l)
{
	struct buf sql = { 0 };

	if (!says(l, " primary key "))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT string_agg(attname::text, ',' ORDER BY i)"
		" FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k (n, i), pg_attribute"
		" WHERE contype = 'p' AND conrelid = '%s' AND attrelid = conrelid"
		" AND attnum = k.n HAVING count(*) > 0",
		l->table.oid);
	if (finding_ask(l->found, l->dst, &sql) == 0)
		return;
	if (says(l, " partition of ") ||
	    copies(l, " including indexes ", " excluding indexes "))
		finding_wrong(l->found, "table %s has a primary key already, which its partitions"
			" get, and part_template adds another: take that out", l->dest->dest_table);
	else if (says(l, " attach partition "))
		check_attached_key(l, pq_value(l->dst, 0, 0));
}

/* Up to PostgreSQL 16 a partitioned table has no such columns. */
static void check_identity(struct look *l)
{
	struct buf sql = { 0 };

	if (!l->table.partitioned || !says(l, " attach partition ") ||
	    !copies(l, " including identity ", " excluding identity "))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE attrelid = '%s'"
		" AND attidentity <> '' LIMIT 1", l->table.oid);
	if (finding_ask(l->found, l->dst, &sql) > 0)
		finding_wrong(l->found, "column %s of %s is an identity, which a table that is"
			" attached may not have of its own: let part_template say excluding"
			" identity", pq_value(l->dst, 0, 0), l->dest->dest_table);
}

void checktemplate_run(struct look *l)
{
	const struct dest *dest = l->dest;

	if (dest->period.method == PERIOD_NONE)
		return;
	if (!dest->part_template) {
		finding_warning("part_template is not set: each partition of %s must be there"
			" before its rows come", dest->dest_table);
		return;
	}
	check_name(l);
	check_unlogged(l);
	if (!*l->table.oid)
		return;
	check_kind(l);
	check_strategy(l);
	check_divided_by(l);
	check_key(l);
	check_identity(l);
}
