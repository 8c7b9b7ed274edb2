/*
 * A slice of a table as the rows of a pass, as COPY has them: nothing but the partition column is
 * looked at. Columns are chosen, renamed and put in order by the source's query and by the column
 * list of the target's COPY. The partition column stands first where it may, so that it is found at
 * once.
 *
 * Rows are lines of text, which the target reads as any type. Where all columns have the same type
 * on both sides, one that every database has, they are binary, which costs both servers less.
 * Before the commit it is asked whether the tables have these types: then our locks keep them. A
 * row that a binary pass cannot place is placed or refused by a pass over lines.
 *
 * Which columns a row has, the route says, as it does of an event: it is shown one whose values are
 * the columns' numbers.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { TYPE_DATE = 1082, TYPE_TIMESTAMP = 1114, TYPE_TIMESTAMPTZ = 1184 };      /* oids */

#define DAY_US INT64_C(86400000000)
#define DAYS_MAX 10000000               /* more than any period's year has */

/* ---- columns */

static void add_name(struct buf *row, struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		buf_fmt(row, "%%%02x", (unsigned char)name.p[i]);
}

/* The table's columns as an event; `first` stands first, if it is one of them. */
static void add_event(struct buf *row, const struct origin *s, struct span first)
{
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < s->ncolumn; i++) {
			if (span_eq(s->column[i], first) != (turn == 0))
				continue;
			buf_str(row, row->len ? "&" : "");
			add_name(row, s->column[i]);
			buf_fmt(row, "=%zu", i);
		}
}

/* A message of the route about the event is about the table. */
static int about_table(const struct origin *s, struct err *e)
{
	static const char event[] = "the event";
	struct err why = *e;
	size_t n = strncmp(why.msg, event, strlen(event)) == 0 ? strlen(event) : 0;

	*e = (struct err){ 0 };
	return err_set(e, ERR_SHAPE, "table %.150s%s%.800s", s->name, n ? "" : ": ", why.msg + n);
}

/* What there is to tell of a row that has no event: its operation and table. */
static void add_word(struct buf *list, const struct origin *s, enum told told)
{
	if (told == TOLD_OP)
		buf_str(list, "'I'");
	else if (told == TOLD_TABLE)
		buf_literal(list, span_of(s->name));
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
static void find_part(struct lines *l, const struct span *values, struct span part)
{
	size_t own = own_columns(l->reader.shape), at = 0;

	while (at < own && number_of(values[at]) != number_of(part))
		at++;
	l->has_part = part.p;
	l->part_column = part.p ? (size_t)number_of(part) : 0;
	l->cut = part.p && at == own;
	l->part_at = l->cut ? 0 : at;
}

/* Fills the list of what is read: a column of the source for each of the shape. */
static void list_columns(struct lines *l, const struct span *values, struct span part)
{
	const struct origin *s = l->query.origin;
	const struct shape *shape = l->reader.shape;
	size_t own = own_columns(shape);

	l->list.len = 0;
	if (l->cut) {
		buf_ident(&l->list, s->column[number_of(part)]);
		/* which tells the date that a line has */
		buf_str(&l->list, l->reader.binary && l->part_type == TYPE_TIMESTAMP ?
			"::pg_catalog.timestamp" : "");
	}
	for (size_t i = 0; i < shape->n; i++) {
		buf_str(&l->list, l->list.len ? ", " : "");
		if (i >= own)
			add_word(&l->list, s, shape->word[i - own].told);
		else if (values[i].p)
			buf_ident(&l->list, s->column[number_of(values[i])]);
		else
			buf_str(&l->list, "NULL");
	}
}

/* ---- binary rows */

/* May the partition column be read from binary rows? A timestamptz whose date as written counts is
 * read as the timestamp that it is in the session's zone. */
static bool takes_part(struct lines *l, int64_t type)
{
	bool zoned = l->reader.way->dest->period.zoned;

	l->part_type = type == TYPE_TIMESTAMPTZ && !zoned ? TYPE_TIMESTAMP : type;
	l->cut |= l->part_type != type;
	if (l->cut)
		l->part_at = 0;
	return type == TYPE_DATE || type == TYPE_TIMESTAMP || type == TYPE_TIMESTAMPTZ;
}

/* Sets the types of the columns; false: some differ, or are not the same everywhere. */
static bool find_types(struct lines *l, struct pq *dst, const struct span *values,
	struct span part, const int64_t *source, struct err *e)
{
	const struct dest *d = l->reader.way->dest;
	const struct shape *shape = l->reader.shape;
	struct table table;

	if (table_find(dst, d, d->table, &table, e) < 0 || !*table.oid ||
	    types_find(dst, strtoll(table.oid, NULL, 10), shape->target, shape->n, l->type,
	    e) < 0)
		return false;
	for (size_t i = 0; i < shape->n; i++)
		if (!values[i].p)               /* NULL is the same in all types */
			l->type[i] = 0;
		else if (source[number_of(values[i])] != l->type[i] ||
		    !types_is_portable(l->type[i]))
			return false;
	return !part.p || takes_part(l, source[number_of(part)]);
}

/* Can rows go as binary? In a careful pass the server says of lines which one is at fault, and
 * --verify reads them in another way than they were loaded. */
static int choose_format(struct lines *l, struct pass *p, const struct span *values,
	struct span part, struct err *e)
{
	const struct origin *s = l->query.origin;
	const struct shape *shape = l->reader.shape;
	const struct period_rule *rule = &l->reader.way->dest->period;
	bool dated = rule->method == PERIOD_NONE || (period_is_dated(rule) && !rule->named);
	bool text = l->text || l->ids || l->reader.staged || p->place || s->key || shape->nword ||
		!dated;

	l->reader.binary = false;
	if (text)
		return 0;
	int64_t *source = mem_alloc((s->ncolumn + 1) * sizeof *source);
	free(l->type);
	l->type = mem_alloc((shape->n + 1) * sizeof *l->type);
	if (types_find(l->src, l->query.table->oid, s->column, s->ncolumn, source, e) == 0)
		l->reader.binary = find_types(l, p->job->dst[0], values, part, source, e);
	free(source);
	if (!l->reader.binary)
		find_part(l, values, part);
	return e->code;
}

int lines_fit(const struct lines *l, const struct pass *p, bool *yes, struct err *e)
{
	const struct job *j = p->job;
	const struct place *k = l->reader.way->place;
	const struct tally *rows = &sink_done(p->sink, k->number)->rows;

	*yes = true;
	for (size_t i = 0; i < j->lanes && l->reader.binary && *yes && !e->code; i++) {
		struct tally own = { 0 };
		for (size_t n = 0; n < rows->n; n++)
			if (job_lane_of(j, span_of(rows->at[n].name)) == i)
				tally_add(&own, rows->at[n].name, 0);
		types_fit(j->dst[i], k->dest, &own, l->reader.shape->target, l->reader.shape->n,
			l->type, yes, e);
		tally_clear(&own);
	}
	return e->code;
}

static int choose_columns(struct lines *l, struct pass *p, const struct event *ev, struct err *e)
{
	const struct origin *s = l->query.origin;
	struct way *w = l->reader.way;
	const struct span *values;
	struct span part;
	struct buf row = { 0 };

	add_event(&row, s, dest_part_column(w->dest));
	buf_cstr(&row);
	if (route_row(w->route, FORMAT_URLENC, (struct span){ row.p, row.len }, &l->reader.shape,
	    &values, &part, e) < 0 || (l->reader.staged &&
	    latest_stage(p, w, ev, l->reader.shape, l->key, &l->nkey, e) < 0)) {
		about_table(s, e);
	} else {
		find_part(l, values, part);
		if (choose_format(l, p, values, part, e) == 0)
			list_columns(l, values, part);
	}
	buf_free(&row);
	return e->code;
}

/* ---- the parts of a slice */

/*
 * Where rows go to many partitions by turns, each gets a COPY of a few rows whenever memory is
 * full, and to begin a COPY costs as much as 30 rows or so. So the first part of a slice is read as
 * it is, and tells how many rows a partition would have in memory. If they are few, the source
 * sorts each further part by the partition column, where that is cheap: parts are 8 times as large
 * as memory, and so are the COPYs. The shorter rows are, the more does the sort cost the source:
 * half as much as reading them where they have 750 bytes.
 */
#define LOOK_BYTES (256 * 1024)         /* of the first part: a sixteenth of the sink's memory */
#define SORT_BYTES (32 * 1024 * 1024)   /* of one that is sorted, in up to three times the memory */
#define PARTS_OF_SLICE 8                /* at least, so that a small slice has some, too */
#define FEW_PARTITIONS 16               /* they have enough rows in memory */
#define FEW_ROWS 2                      /* of a partition, in the first part */

/* Not where rows are counted by their place in the slice, or have an order. */
static bool has_parts(const struct lines *l, const struct pass *p)
{
	return l->has_part && !l->ids && !l->reader.staged && !p->place && !l->query.origin->key &&
		!l->query.sample;
}

/* Asks for the next part. */
static int ask_part(struct lines *l, int64_t bytes, struct err *e)
{
	return scan_ask(l->src, &l->query, &l->at, bytes, l->order, buf_cstr(&l->list),
		l->reader.binary, e);
}

static int64_t part_bytes(const struct lines *l, int64_t most)
{
	int64_t bytes = l->slice_bytes / PARTS_OF_SLICE;

	return bytes < most ? bytes : most;
}

static int ask_first(struct lines *l, const struct conf *c, struct err *e)
{
	l->looks = true;
	l->order = (struct span){ NULL, 0 };
	l->slice_bytes = c->from_slice;
	l->at = (struct scan_at){ 0 };
	memset(l->seen, 0, sizeof l->seen);
	l->nseen = 0;
	return ask_part(l, part_bytes(l, LOOK_BYTES), e);
}

/* Counts the partitions of the first part, about. */
static void note_period(struct lines *l, int64_t start_s)
{
	uint64_t hash = word_hash((const char *)&start_s, sizeof start_s) % (64 * SEEN_WORDS);
	uint64_t bit = UINT64_C(1) << hash % 64, *word = &l->seen[hash / 64];

	l->nseen += !(*word & bit);
	*word |= bit;
}

/* After the first part: are the others to be sorted? */
static int choose_order(struct lines *l, struct err *e)
{
	struct span column = l->query.origin->column[l->part_column];
	int64_t type;

	l->looks = false;
	if (l->nseen <= FEW_PARTITIONS || l->n / (int64_t)l->nseen >= FEW_ROWS ||
	    types_find(l->src, l->query.table->oid, &column, 1, &type, e) < 0)
		return e->code;
	if (type == TYPE_DATE || type == TYPE_TIMESTAMP || type == TYPE_TIMESTAMPTZ)
		l->order = column;
	log_debug("%s: %" PRId64 " rows go to %zu partitions: further ones are %ssorted",
		l->query.table->name, l->n, l->nseen, l->order.p ? "" : "not ");
	return 0;
}

/* After a part. As the reader's next. */
static int next_part(struct lines *l, struct span *row, struct err *e)
{
	if (l->looks && choose_order(l, e) < 0)
		return e->code;
	int64_t bytes = l->order.p ? part_bytes(l, SORT_BYTES) : INT64_MAX;
	return ask_part(l, bytes, e) < 0 ? e->code : scan_row(l->src, row, e);
}

/* ---- reading */

/* The rows that went nowhere in the pass before, or NULL: rows need no number. */
static const char *add_without(const struct lines *l, struct buf *ids)
{
	for (size_t i = 0; l->without && i < l->without->n; i++)
		buf_fmt(ids, "%s%lld", i ? "," : "", (long long)l->without->at[i].event);
	return l->ids ? buf_cstr(ids) : NULL;
}

/* A struct row_reader's. */
static int begin(struct row_reader *r, struct pass *p, struct err *e)
{
	struct lines *l = (struct lines *)r;
	const struct origin *s = l->query.origin;
	const struct event ev = origin_event(s);
	struct source *source = places_source(p->job, &ev);
	struct buf ids = { 0 };

	r->way = source->way;
	if (!r->way)
		return err_set(e, ERR_SHAPE, "%s", source->why ? source->why :
			"a section of the config ignores from_table");
	l->ids |= p->careful;
	l->src = p->job->src;
	l->n = 0;
	l->last.known = false;
	r->staged = l->merges && !p->place;
	if (places_ready(p->job, r->way, e) < 0 || choose_columns(l, p, &ev, e) < 0)
		return e->code;
	log_debug("%s: rows go as %s", l->query.table->name, r->binary ? "binary" : "lines");
	l->parts = has_parts(l, p);
	l->looks = false;
	if (l->parts)
		ask_first(l, p->job->conf, e);
	else
		scan_read(l->src, &l->query, buf_cstr(&l->list), add_without(l, &ids), r->binary,
			e);
	buf_free(&ids);
	return e->code;
}

/* Takes the field at *line, up to a tab or the end of the line. */
static inline struct span take_field(struct span *line)
{
	const char *tab = memchr(line->p, '\t', line->n);
	struct span field = { line->p, tab ? (size_t)(tab - line->p) : line->n - 1 };
	size_t n = tab ? field.n + 1 : field.n;

	line->p += n;
	line->n -= n;
	return field;
}

/* The same where the field is short and the line may be long. */
static inline struct span take_short(struct span *line)
{
	struct span field = { line->p, 0 };

	while (field.p[field.n] != '\t' && field.p[field.n] != '\n')
		field.n++;
	size_t n = field.n + (field.p[field.n] == '\t');
	line->p += n;
	line->n -= n;
	return field;
}

/* Sets data and part. */
static void split_line(struct lines *l, struct event *ev, struct span line)
{
	ev->id = l->ids ? strtoll(take_short(&line).p, NULL, 10) : ++l->n;
	ev->data = line;
	if (!l->has_part)
		return;
	for (size_t i = 0; i < l->part_at; i++)
		take_field(&line);
	l->part = take_short(&line);
	if (l->part.n == 2 && memcmp(l->part.p, "\\N", 2) == 0)
		l->part = (struct span){ NULL, 0 };
	if (l->cut)
		ev->data = line;
}

static inline uint64_t big_endian(const char *p, size_t n)
{
	uint64_t x = 0;

	for (size_t i = 0; i < n; i++)
		x = x << 8 | (unsigned char)p[i];
	return x;
}

/* A binary field: a length, -1 for NULL, and its bytes. */
static inline struct span take_binary(const char **p)
{
	uint32_t n = (uint32_t)big_endian(*p, 4);
	struct span field = { n == UINT32_MAX ? NULL : *p + 4, n == UINT32_MAX ? 0 : n };

	*p += 4 + field.n;
	return field;
}

/* The same of a binary row, whose columns follow their number. A column that is no column of the
 * row is left out by writing another number over its end. */
static void split_binary(struct lines *l, struct event *ev, struct span row)
{
	const char *p = row.p + 2;

	ev->id = ++l->n;
	ev->data = row;
	for (size_t i = 0; l->has_part && i < l->part_at; i++)
		take_binary(&p);
	if (l->has_part)
		l->part = take_binary(&p);
	if (!l->cut)
		return;
	size_t columns = l->reader.shape->n;
	char *start = (char *)(uintptr_t)(p - 2);
	l->part = (struct span){ l->part.p ? memcpy(l->kept, l->part.p, l->part.n) : NULL,
		l->part.n };
	start[0] = (char)(columns >> 8);
	start[1] = (char)columns;
	ev->data = (struct span){ start, (size_t)(row.p + row.n - start) };
}

/* A struct row_reader's. */
static int next(struct row_reader *r, struct event *ev, struct err *e)
{
	struct lines *l = (struct lines *)r;
	struct span row;
	int step = scan_row(l->src, &row, e);

	while (step == PQ_END && l->parts && !scan_at_end(&l->query, &l->at))
		step = next_part(l, &row, e);
	if (step != PQ_READY)
		return step;
	ev->type = span_of(l->query.origin->ev_type);
	(r->binary ? split_binary : split_line)(l, ev, row);
	return step;
}

/* Since 2000-01-01; infinity lies outside of what us can be. */
static int64_t us_of_days(int32_t days)
{
	return days > DAYS_MAX ? INT64_MAX : days < -DAYS_MAX ? INT64_MIN : days * DAY_US;
}

/* By the rule's own clock: a date and a timestamp are as written. Infinity lies outside of all
 * years. */
static int period_of_binary(struct lines *l, int64_t *start_s, struct err *e)
{
	struct period_rule rule = l->reader.way->dest->period;
	bool date = l->part_type == TYPE_DATE;
	const char *why = "it is NULL";

	rule.zoned &= l->part_type == TYPE_TIMESTAMPTZ;
	if (!l->part.p)
		return err_set(e, ERR_DATA, "%s", why);
	int64_t us = date ? us_of_days((int32_t)big_endian(l->part.p, 4)) :
		(int64_t)big_endian(l->part.p, 8);
	if (l->last.known && l->last.us == us) {
		*start_s = l->last.start_s;
		return 0;
	}
	if (period_of_usecs(&rule, us, start_s, &why) < 0)
		return err_set(e, ERR_DATA, "%s", why);
	l->last.us = us;
	l->last.start_s = *start_s;
	l->last.known = true;
	return 0;
}

/* Rows without a value of the key would be taken for one. */
static int check_key(const struct lines *l, const struct event *ev, struct err *e)
{
	for (size_t i = 0; i < l->nkey; i++) {
		struct span line = ev->data, field = take_field(&line);
		for (size_t at = 0; at < l->key[i]; at++)
			field = take_field(&line);
		if (field.n == 2 && memcmp(field.p, "\\N", 2) == 0)
			return err_set(e, ERR_DATA, "a column of the key is NULL");
	}
	return 0;
}

/* A struct row_reader's. */
static int period(struct row_reader *r, const struct event *ev, int64_t *start_s, struct err *e)
{
	struct lines *l = (struct lines *)r;

	*start_s = 0;
	if (r->staged && check_key(l, ev, e) < 0)
		return e->code;
	if (!l->has_part)
		return 0;
	if (r->binary)
		period_of_binary(l, start_s, e);
	else
		row_period(&r->way->dates, ev, FORMAT_LINE, l->part, start_s, e);
	if (l->looks && !e->code)
		note_period(l, *start_s);
	return e->code;
}

void lines_begin(struct lines *l)
{
	l->reader = (struct row_reader){ .begin = begin, .next = next, .period = period };
	l->ids = false;
	l->without = NULL;
}

void lines_free(struct lines *l)
{
	buf_free(&l->list);
	free(l->type);
}
