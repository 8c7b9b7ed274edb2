/*
 * Which columns of a table are read for the rows of its destination, and in which form. The route
 * says which, as it does of an event: it is shown one whose values are the columns' numbers. They
 * are chosen, renamed and put in order by the source's query and by the column list of the target's
 * COPY. The partition column stands first where it may, so that it is found at once.
 *
 * Rows are lines of text, which the target reads as any type. Where all columns have the same type
 * on both sides, one that every database has, they are binary, which costs both servers less.
 * Before the commit it is asked whether the tables have these types: then our locks keep them.
 */
#include <stdlib.h>
#include <string.h>

#include "from.h"

static void add_name(struct buf *row, struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		buf_fmt(row, "%%%02x", (unsigned char)name.p[i]);
}

/* The table's columns as an event; `first` stands first, if it is one of them. */
static void add_event(struct buf *row, const struct origin *o, struct span first)
{
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < o->ncolumn; i++) {
			if (span_eq(o->column[i], first) != (turn == 0))
				continue;
			buf_str(row, row->len ? "&" : "");
			add_name(row, o->column[i]);
			buf_fmt(row, "=%zu", i);
		}
}

/* A message of the route about the event is about the table. */
static int about_table(const struct origin *o, struct err *e)
{
	static const char event[] = "the event";
	struct err why = *e;
	size_t n = strncmp(why.msg, event, strlen(event)) == 0 ? strlen(event) : 0;

	*e = (struct err){ 0 };
	return err_set(e, ERR_SHAPE, "table %.150s%s%.800s", o->name, n ? "" : ": ", why.msg + n);
}

/* What there is to tell of a row that has no event: its operation and table. */
static void add_word(struct buf *list, const struct origin *o, enum told told)
{
	if (told == TOLD_OP)
		buf_str(list, "'I'");
	else if (told == TOLD_TABLE)
		buf_literal(list, span_of(o->name));
	else
		buf_str(list, "NULL");
}

/* The column's number, or -1 for none. */
static ssize_t number_of(struct span value)
{
	return value.p ? (ssize_t)strtoll(value.p, NULL, 10) : -1;
}

static size_t own_columns(const struct shape *shape)
{
	return shape->n - shape->nword;
}

/* Is the partition column a column of the row as well? Else it stands before the row. */
static void find_part(struct extract *x, const struct shape *shape, const struct span *values,
	struct span part)
{
	size_t own = own_columns(shape), at = 0;

	while (at < own && number_of(values[at]) != number_of(part))
		at++;
	x->has_part = part.p;
	x->cut = part.p && at == own;
	x->part_at = x->cut ? 0 : at;
}

/* Fills the list of what is read: a column of the source for each of the shape. */
static void list_columns(struct extract *x, const struct row_reader *r, const struct origin *o,
	const struct span *values, struct span part)
{
	const struct shape *shape = r->shape;
	size_t own = own_columns(shape);

	x->list.len = 0;
	if (x->cut) {
		buf_ident(&x->list, o->column[number_of(part)]);
		/* which tells the date that a line has */
		buf_str(&x->list, r->binary && x->part_type == TYPES_TIMESTAMP ?
			"::pg_catalog.timestamp" : "");
	}
	for (size_t i = 0; i < shape->n; i++) {
		buf_str(&x->list, x->list.len ? ", " : "");
		if (i >= own)
			add_word(&x->list, o, shape->word[i - own].told);
		else if (values[i].p)
			buf_ident(&x->list, o->column[number_of(values[i])]);
		else
			buf_str(&x->list, "NULL");
	}
	buf_cstr(&x->list);
}

/* ---- their types */

static bool is_dated(int64_t type)
{
	return type == TYPES_DATE || type == TYPES_TIMESTAMP || type == TYPES_TIMESTAMPTZ;
}

/* May the partition column be read from binary rows? A timestamptz whose date as written counts is
 * read as the timestamp that it is in the session's zone. */
static bool takes_part(struct extract *x, bool zoned, int64_t type)
{
	if (!is_dated(type))
		return false;
	x->part_type = type == TYPES_TIMESTAMPTZ && !zoned ? TYPES_TIMESTAMP : type;
	x->cut |= x->part_type != type;
	if (x->cut)
		x->part_at = 0;
	return true;
}

/* Sets the types of the target's columns; false: some differ, or are not the same everywhere. */
static bool match(struct extract *x, const struct pass *p, const struct span *values,
	struct span part, const int64_t *type, struct err *e)
{
	const struct dest *d = p->reader->way->dest;
	const struct shape *shape = p->reader->shape;
	struct pq *dst = p->job->dst[0];
	struct table table;

	free(x->type);
	x->type = mem_alloc((shape->n + 1) * sizeof *x->type);
	if (table_find(dst, d, d->table, &table, e) < 0 || !*table.oid ||
	    types_find(dst, strtoll(table.oid, NULL, 10), shape->target, shape->n, x->type, e) < 0)
		return false;
	for (size_t i = 0; i < shape->n; i++)
		if (!values[i].p)               /* NULL is the same in all types */
			x->type[i] = 0;
		else if (type[number_of(values[i])] != x->type[i] ||
		    !types_is_portable(x->type[i]))
			return false;
	return !part.p || takes_part(x, d->period.zoned, type[number_of(part)]);
}

/* Can the rows' periods, and all that is in a row, be read from binary rows? */
static bool is_plain_row(const struct row_reader *r)
{
	const struct period_rule *rule = &r->way->dest->period;

	return !r->shape->nword && (rule->method == PERIOD_NONE ||
		(period_is_dated(rule) && !rule->named));
}

/* Can rows go as binary, and can the source sort them by the partition column at small cost? */
static int choose_form(struct extract *x, struct pass *p, const struct slice_query *q,
	const struct span *values, struct span part, bool text, struct err *e)
{
	const struct origin *o = q->origin;
	int64_t *type = mem_alloc((o->ncolumn + 1) * sizeof *type);

	if (types_find(p->job->src, q->table->oid, o->column, o->ncolumn, type, e) == 0) {
		if (part.p && is_dated(type[number_of(part)]))
			x->order = o->column[number_of(part)];
		p->reader->binary = !text && is_plain_row(p->reader) &&
			match(x, p, values, part, type, e);
	}
	free(type);
	return e->code;
}

int extract_choose(struct extract *x, struct pass *p, const struct slice_query *q, bool numbered,
	bool text, struct err *e)
{
	const struct origin *o = q->origin;
	const struct event ev = origin_event(o);
	struct row_reader *r = p->reader;
	const struct span *values;
	struct span part;
	struct buf row = { 0 };

	r->binary = false;
	x->order = (struct span){ NULL, 0 };
	/* in a careful pass the server says of lines which one is at fault, and --verify reads them
	 * in another way than they were loaded */
	x->any_order = !numbered && !r->staged && !p->place && !o->key && !q->sample;
	add_event(&row, o, dest_part_column(r->way->dest));
	buf_cstr(&row);
	if (route_row(r->way->route, FORMAT_URLENC, (struct span){ row.p, row.len }, &r->shape,
	    &values, &part, e) < 0 || (r->staged &&
	    latest_stage(p, r->way, &ev, r->shape, x->key, &x->nkey, e) < 0)) {
		about_table(o, e);
	} else {
		find_part(x, r->shape, values, part);
		if (!x->any_order || choose_form(x, p, q, values, part, text, e) == 0)
			list_columns(x, r, o, values, part);
	}
	buf_free(&row);
	return e->code;
}

int extract_fit(const struct extract *x, const struct pass *p, bool *yes, struct err *e)
{
	const struct job *j = p->job;
	const struct row_reader *r = p->reader;
	const struct place *k = r->way->place;
	const struct tally *rows = &sink_done(p->sink, k->number)->rows;

	*yes = true;
	for (size_t i = 0; i < j->lanes && r->binary && *yes && !e->code; i++) {
		struct tally own = { 0 };
		for (size_t n = 0; n < rows->n; n++)
			if (job_lane_of(j, span_of(rows->at[n].name)) == i)
				tally_add(&own, rows->at[n].name, 0);
		types_fit(j->dst[i], k->dest, &own, r->shape->target, r->shape->n, x->type, yes,
			e);
		tally_clear(&own);
	}
	return e->code;
}

void extract_free(struct extract *x)
{
	buf_free(&x->list);
	free(x->type);
	x->type = NULL;
}
