/*
 * What --check finds out about the tables that get rows: those there are under partitions' names,
 * and what keeps a row out of them or part_template from making more. Changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "ops.h"

#define SHOWN_MAX 3                     /* tables of one kind that are named */

struct look {
	struct findings *found;
	struct pq *dst;
	const struct dest *dest;
	const struct feed *feed;
	struct table parent;
	struct tally parts;             /* tables under partitions' names */
	struct buf words;               /* of part_template */
};

static bool says(const struct look *l, const char *words)
{
	return strstr(l->words.p, words);
}

/* Runs sql on the target and frees it. How many rows there are. */
static int ask(struct look *l, struct buf *sql)
{
	struct err e = { 0 };
	int rc = pq_query(l->dst, buf_cstr(sql), &e);

	buf_free(sql);
	if (rc < 0)
		finding_missing(l->found, "%s", e.msg);
	return rc < 0 ? 0 : pq_rows(l->dst);
}

/* ---- the right tables */

static void find_parts(struct look *l)
{
	const struct dest *d = l->dest;
	struct buf sql = { 0 };
	int64_t start_s;

	buf_fmt(&sql, "SELECT pg_catalog.set_config('tdispatch.schemas', pg_catalog.current_schemas(false)::pg_catalog.text, true);"
		PQ_OWN_PATH "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
		" WHERE relkind IN ('r', 'p', 'f') AND left(relname::text, -%zu) = ", period_suffix_len(d->period.method));
	buf_literal(&sql, d->table);
	buf_str(&sql, " AND nspname = ");
	if (d->schema.n)
		buf_literal(&sql, d->schema);
	else
		buf_str(&sql, "ANY (current_setting('tdispatch.schemas')::name[])");
	for (int row = 0, rows = ask(l, &sql); row < rows; row++) {
		const char *name = pq_value(l->dst, row, 0);
		if (period_of_suffix(&d->period, span_of(name + d->table.n), &start_s))
			tally_add(&l->parts, name, 0);
	}
}

/* The first partition that is right, or NULL: names in the order of their periods. wrong: those that are not. */
static const char *first_right(const struct look *l, const struct tally *wrong)
{
	for (size_t i = 0; i < l->parts.n; i++)
		if (!tally_find(wrong, l->parts.at[i].name))
			return l->parts.at[i].name;
	return NULL;
}

/* Tables of their own that are older than all partitions are an archive, or part_keep's. */
static void tell_wrong(struct look *l, int rows, const struct tally *wrong)
{
	const char *first = first_right(l, wrong);
	int told = 0, archived = 0;
	bool loose;

	for (int row = 0; row < rows; row++) {
		struct err e = { 0 };
		admit_fault(l->dst, l->dest, row, &loose, &e);
		if (loose && first && strcmp(pq_value(l->dst, row, 0), first) < 0)
			archived++;
		else if (e.code != ERR_CONFLICT && told++ < SHOWN_MAX)
			finding_wrong(l->found, "%s", e.msg);
	}
	if (told > SHOWN_MAX)
		finding_wrong(l->found, "and %d tables more under names of partitions of %s", told - SHOWN_MAX, l->dest->dest_table);
	if (archived && l->dest->part_keep_action != KEEP_DETACH)
		finding_warning("%d table%s older than the partitions of %s and under such names are none of its children: a row for"
			" one of them would be refused", archived, text_s(archived), l->dest->dest_table);
}

static void check_parts(struct look *l)
{
	struct table_name *names = mem_alloc((l->parts.n + 1) * sizeof *names);
	struct tally wrong = { 0 };
	struct err e = { 0 };

	for (size_t i = 0; i < l->parts.n; i++)         /* the newest first */
		names[i] = (struct table_name){ .name = span_of(l->parts.at[l->parts.n - 1 - i].name) };
	if (l->parts.n && admit_list(l->dst, l->dest, names, l->parts.n, &e) == 0) {
		for (int row = 0; row < pq_rows(l->dst); row++)
			tally_add(&wrong, pq_value(l->dst, row, 0), 0);
		tell_wrong(l, pq_rows(l->dst), &wrong);
	}
	if (e.code)
		finding_missing(l->found, "%s", e.msg);
	tally_clear(&wrong);
	free(names);
}

/* ---- columns */

static void check_generated(struct look *l)
{
	const struct dest *d = l->dest;
	struct err e = { 0 };
	size_t i;

	if (table_lists_generated(l->dst, d, &i, &e) < 0)
		finding_missing(l->found, "%s", e.msg);
	else if (i < d->nfield)
		finding_wrong(l->found, "column %.*s of %s is generated there, and fields names it: take it out", (int)d->field[i].target.n,
			d->field[i].target.p, d->dest_table);
}

static void check_money(struct look *l, const struct style *style)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE attrelid = '%s' AND NOT attisdropped"
		" AND atttypid = 'money'::regtype LIMIT 1", l->parent.oid);
	if (ask(l, &sql) > 0)
		finding_warning("dst_db has no locale %s, which is lc_monetary in src_db: column %s is read by locale C", style->money,
			pq_value(l->dst, 0, 0));
}

static void check_zone(struct look *l, const struct style *style)
{
	bool zone = false, money = false;
	struct err e = { 0 };

	if (!*style->encoding)
		return;                 /* the source was not asked */
	if (style_takes(l->dst, style, &zone, &money, &e) < 0) {
		finding_missing(l->found, "%s", e.msg);
		return;
	}
	if (!zone)
		finding_warning("dst_db does not know time zone %s: times without an offset are read by its own", style->zone);
	if (!money && *l->parent.oid)
		check_money(l, style);
}

/* Do events bring the column? *sure: that is known. */
static bool is_brought(const struct look *l, const char *column, bool *sure)
{
	*sure = l->dest->nfield || l->feed->known;
	for (size_t i = 0; i < l->dest->nfield; i++)
		if (span_is(l->dest->field[i].target, column))
			return true;
	return !l->dest->nfield && tally_find(&l->feed->columns, column);
}

/* A default that takes its value from a sequence is worked out for a column that no row brings. */
static void check_sequences(struct look *l)
{
	struct buf sql = { 0 }, last = { 0 };
	bool sure;

	buf_str(&last, "NULL");
	if (l->parts.n) {
		last.len = 0;
		buf_regclass(&last, l->dest->schema, span_of(l->parts.at[l->parts.n - 1].name));
	}
	buf_fmt(&sql, "SELECT pg_catalog.set_config('tdispatch.part', coalesce(%s, '0')::pg_catalog.text, true);" PQ_OWN_PATH
		"SELECT DISTINCT attname, 'GRANT USAGE ON SEQUENCE ' || s.oid::regclass || ' TO ' || quote_ident(current_user)"
		" FROM pg_attrdef d JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum JOIN pg_depend x"
		" ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid AND x.refclassid = 'pg_class'::regclass"
		" JOIN pg_class s ON s.oid = x.refobjid WHERE adrelid IN (current_setting('tdispatch.part')::oid, '%s')"
		" AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') AND NOT has_sequence_privilege(s.oid, 'UPDATE')"
		" END", buf_cstr(&last),
		*l->parent.oid ? l->parent.oid : "0");
	for (int row = 0, rows = ask(l, &sql); row < rows; row++) {
		const char *column = pq_value(l->dst, row, 0), *grant = pq_value(l->dst, row, 1);
		if (is_brought(l, column, &sure))
			continue;
		if (sure)
			finding_missing(l->found, "right on dst_db: %s;", grant);
		else
			finding_warning("right on dst_db for events that do not bring column %s: %s;", column, grant);
	}
	buf_free(&last);
}

/* ---- what part_template adds to what it copies */

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
		finding_warning("table %s has a primary key already, of %s: a partition cannot be attached if part_template gives it"
			" another", name, parent_key);
	else if (strcmp(buf_cstr(&key), parent_key) != 0)
		finding_wrong(l->found, "table %s has a primary key already, of %s, and part_template adds another, of %s: take that"
			" out, or let the parent have none", name, parent_key, buf_cstr(&key));
	buf_free(&key);
}

static void check_key(struct look *l)
{
	struct buf sql = { 0 };
	bool copied = says(l, " partition of ") || says(l, " including all ") || says(l, " including indexes ");

	if (!says(l, " primary key "))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT string_agg(attname::text, ',' ORDER BY i) FROM pg_constraint,"
		" unnest(conkey) WITH ORDINALITY AS k (n, i), pg_attribute WHERE contype = 'p' AND conrelid = '%s'"
		" AND attrelid = conrelid AND attnum = k.n HAVING count(*) > 0", l->parent.oid);
	if (ask(l, &sql) == 0)
		return;
	if (copied && !says(l, " excluding indexes "))
		finding_wrong(l->found, "table %s has a primary key already, which its partitions get, and part_template adds another:"
			" take that out", l->dest->dest_table);
	else if (says(l, " attach partition "))
		check_attached_key(l, pq_value(l->dst, 0, 0));
}

/* Up to PostgreSQL 16 a partitioned table has no such columns. */
static void check_identity(struct look *l)
{
	struct buf sql = { 0 };
	bool copied = says(l, " including all ") || says(l, " including identity ");

	if (!l->parent.partitioned || !says(l, " attach partition ") || !copied || says(l, " excluding identity "))
		return;
	buf_fmt(&sql, PQ_OWN_PATH "SELECT attname FROM pg_attribute WHERE attrelid = '%s' AND attidentity <> '' LIMIT 1",
		l->parent.oid);
	if (ask(l, &sql) > 0)
		finding_wrong(l->found, "column %s of %s is an identity, which a table that is attached may not have of its own: let"
			" part_template say excluding identity", pq_value(l->dst, 0, 0), l->dest->dest_table);
}

void checkparts_run(struct findings *found, struct pq *dst, const struct dest *dest, const struct style *style,
	const struct feed *feed)
{
	struct look l = { .found = found, .dst = dst, .dest = dest, .feed = feed };
	struct err e = { 0 };

	table_words(&l.words, dest);
	buf_cstr(&l.words);
	if (table_find(dst, dest, dest->table, &l.parent, &e) < 0) {
		finding_missing(found, "%s", e.msg);
	} else {
		if (dest->part_by != PART_BY_NOTHING) {
			find_parts(&l);
			check_parts(&l);
		}
		check_generated(&l);
		check_zone(&l, style);
		check_sequences(&l);
		if (*l.parent.oid && dest->part_template) {
			check_key(&l);
			check_identity(&l);
		}
	}
	tally_clear(&l.parts);
	buf_free(&l.words);
}
