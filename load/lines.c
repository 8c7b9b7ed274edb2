/*
 * A slice of a table as the rows of a pass, as COPY has them: nothing but the partition column is
 * looked at. A row that a binary pass cannot place is placed or refused by a pass over lines.
 */
#include <stdlib.h>
#include <string.h>

#include "from.h"

#define DAY_US INT64_C(86400000000)
#define DAYS_MAX 10000000               /* more than any period's year has */

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
	const struct event ev = origin_event(l->query.origin);
	struct source *source = places_source(p->job, &ev);
	struct buf ids = { 0 };

	r->way = source->way;
	if (!r->way)
		return err_set(e, ERR_SHAPE, "%s", source->why ? source->why :
			"a section of the config ignores from_table");
	l->ids |= p->careful;
	l->n = 0;
	l->last.known = false;
	pieces_end(&l->pieces);
	r->from = p->job->src;
	r->staged = l->merges && !p->place;
	if (places_ready(p->job, r->way, e) < 0 ||
	    extract_choose(&l->extract, p, &l->query, l->ids, l->text, e) < 0)
		return e->code;
	log_debug("%s: rows go as %s", l->query.table->name, r->binary ? "binary" : "lines");
	if (l->extract.any_order && l->extract.has_part)
		pieces_begin(&l->pieces, p, &l->query, &l->extract, e);
	else
		scan_read(r->from, &l->query, l->extract.list.p, add_without(l, &ids), r->binary,
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
	if (!l->extract.has_part)
		return;
	for (size_t i = 0; i < l->extract.part_at; i++)
		take_field(&line);
	l->part = take_short(&line);
	if (l->part.n == 2 && memcmp(l->part.p, "\\N", 2) == 0)
		l->part = (struct span){ NULL, 0 };
	if (l->extract.cut)
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
	for (size_t i = 0; l->extract.has_part && i < l->extract.part_at; i++)
		take_binary(&p);
	if (l->extract.has_part)
		l->part = take_binary(&p);
	if (!l->extract.cut)
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
	int step = l->pieces.query ? pieces_row(&l->pieces, &row, e) :
		scan_row(r->from, &row, e);

	if (l->pieces.query)
		r->from = pieces_from(&l->pieces);
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
	bool date = l->extract.part_type == TYPES_DATE;
	const char *why = "it is NULL";

	rule.zoned &= l->extract.part_type == TYPES_TIMESTAMPTZ;
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
	for (size_t i = 0; i < l->extract.nkey; i++) {
		struct span line = ev->data, field = take_field(&line);
		for (size_t at = 0; at < l->extract.key[i]; at++)
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
	if (!l->extract.has_part)
		return 0;
	if (r->binary)
		period_of_binary(l, start_s, e);
	else
		row_period(&r->way->dates, ev, FORMAT_LINE, l->part, start_s, e);
	if (l->pieces.looks && !e->code)
		pieces_note(&l->pieces, *start_s);
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
	pieces_end(&l->pieces);
	extract_free(&l->extract);
}
