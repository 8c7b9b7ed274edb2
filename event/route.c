/*
 * A row's columns, and where they stand in the event. Pure text work.
 *
 * Encoded names are compared with those of the previous event first: a table's events name their
 * columns in one order, so nearly every first comparison matches.
 */
#include <stdlib.h>
#include <string.h>

#include "event.h"

#define SHAPES_MAX 64                   /* column lists remembered at a time with fields = * */

struct hint {                           /* the field at one position of the previous event */
	char *name;                     /* encoded, owned */
	size_t n;
	ssize_t wanted;                 /* index of the column wanted, or -1 */
};

struct route {
	const struct field *field;      /* NULL for `*` */
	size_t nfield;
	const char *part_field;         /* or NULL */
	struct tally left_out;          /* names of columns */

	struct shape *shape[SHAPES_MAX];
	uint32_t shape_id[SHAPES_MAX];
	size_t nshape, current;
	uint32_t next_id;

	size_t nwanted;                 /* with a list: its columns, and part_field's */
	size_t ndistinct;               /* number of different sources among them */
	size_t *same_as;                /* first wanted column with the same source; at most i */
	uint64_t row, *seen;            /* seen[i] == row: this row has column i */
	struct hint hint[COLUMNS_MAX];
	struct span name[COLUMNS_MAX];  /* with `*`: this row's, encoded */
	struct span value[COLUMNS_MAX + 1];
};

/* memcmp is slow for the few bytes of a name. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
	for (; n >= 8; n -= 8, a += 8, b += 8) {
		uint64_t x, y;
		memcpy(&x, a, 8);
		memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	while (n && *a == *b) {
		n--;
		a++;
		b++;
	}
	return n == 0;
}

static int bad_escape(struct span data, struct span raw, size_t at, struct err *e)
{
	return err_set(e, ERR_DATA, "bad escape at byte %zu of ev_data",
		(size_t)(raw.p - data.p) + at);
}

static void shape_free(struct shape *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->nsource; i++)
		free((char *)(uintptr_t)s->source[i].p);
	for (size_t i = 0; i < s->n; i++)
		free((char *)(uintptr_t)s->target[i].p);
	free(s->source);
	free(s->target);
	free(s->at);
	free(s->columns);
	free(s);
}

static struct span span_copy(const char *p, size_t n)
{
	return (struct span){ mem_str(p, n), n };
}

static struct shape *shape_alloc(size_t n)
{
	struct shape *s = mem_alloc(sizeof *s);

	*s = (struct shape){ .source = mem_alloc(n * sizeof *s->source),
		.target = mem_alloc(n * sizeof *s->target) };
	return s;
}

static void shape_finish(struct shape *s)
{
	struct buf columns = { 0 };

	for (size_t i = 0; i < s->n; i++) {
		buf_str(&columns, i ? ", " : "");
		buf_ident(&columns, s->target[i]);
	}
	buf_cstr(&columns);
	s->columns = columns.p;
}

static void forget(struct route *r)
{
	for (size_t i = 0; i < r->nshape; i++)
		shape_free(r->shape[i]);
	r->nshape = 0;
}

static void remember(struct route *r, struct shape *s)
{
	if (r->nshape == SHAPES_MAX)
		forget(r);
	r->current = r->nshape;
	r->shape_id[r->nshape] = r->next_id++ & INT32_MAX;
	r->shape[r->nshape++] = s;
}

static struct span wanted_source(const struct route *r, size_t i)
{
	return i < r->nfield ? r->field[i].source : span_of(r->part_field);
}

/* Index of the first wanted column with that source, or nwanted. */
static size_t find_source(const struct route *r, struct span source)
{
	size_t i = 0;

	while (i < r->nwanted && !span_eq(source, wanted_source(r, i)))
		i++;
	return i;
}

/* With a fields list all rows have one shape. */
static void shape_of_list(struct route *r)
{
	struct shape *s = shape_alloc(r->nfield);
	struct span part = span_of(r->part_field);

	r->nwanted = s->part_at = r->nfield;
	for (size_t i = 0; i < r->nfield; i++) {
		s->source[i] = span_copy(r->field[i].source.p, r->field[i].source.n);
		s->target[i] = span_copy(r->field[i].target.p, r->field[i].target.n);
		if (part.p && span_eq(part, r->field[i].source) && s->part_at == r->nfield)
			s->part_at = i;
	}
	s->n = s->nsource = r->nfield;
	if (part.p && s->part_at == s->n)
		r->nwanted++;
	for (size_t i = 0; i < r->nwanted; i++) {
		r->same_as[i] = find_source(r, wanted_source(r, i));
		r->ndistinct += r->same_as[i] == i;
	}
	shape_finish(s);
	remember(r, s);
}

struct route *route_new(const struct field *fields, size_t n, const char *part_field)
{
	struct route *r = mem_alloc(sizeof *r);

	memset(r, 0, sizeof *r);
	r->field = fields;
	r->nfield = n;
	r->part_field = part_field;
	r->same_as = mem_alloc((n + 1) * sizeof *r->same_as);
	r->seen = mem_alloc((n + 1) * sizeof *r->seen);
	memset(r->seen, 0, (n + 1) * sizeof *r->seen);
	if (fields)
		shape_of_list(r);
	return r;
}

void route_free(struct route *r)
{
	if (!r)
		return;
	forget(r);
	tally_clear(&r->left_out);
	for (size_t i = 0; i < COLUMNS_MAX; i++)
		free(r->hint[i].name);
	free(r->same_as);
	free(r->seen);
	free(r);
}

uint32_t route_shape_id(const struct route *r, const struct shape *s)
{
	(void)s;
	return r->shape_id[r->current];
}

struct span route_target(const struct route *r, struct span source)
{
	for (size_t i = 0; i < r->nfield; i++)
		if (span_eq(r->field[i].source, source))
			return r->field[i].target;
	return source;
}

/* Index of the wanted column with this encoded name; -1: not wanted. */
static int find_wanted(struct route *r, struct span data, struct span raw, ssize_t *wanted,
	struct err *e)
{
	size_t bad;
	char *name = mem_alloc(raw.n);
	ssize_t n = urlenc_decode(name, raw, &bad);

	if (n < 0) {
		bad_escape(data, raw, bad, e);
	} else {
		size_t at = find_source(r, (struct span){ name, (size_t)n });
		*wanted = at < r->nwanted ? (ssize_t)at : -1;
	}
	free(name);
	return e->code;
}

static int wanted_at(struct route *r, size_t at, struct span data, struct span raw, ssize_t *wanted,
	struct err *e)
{
	struct hint *h = at < COLUMNS_MAX ? &r->hint[at] : NULL;

	if (h && h->name && h->n == raw.n && same_bytes(h->name, raw.p, raw.n)) {
		*wanted = h->wanted;
		return 0;
	}
	if (find_wanted(r, data, raw, wanted, e) < 0)
		return e->code;
	if (h) {
		free(h->name);
		*h = (struct hint){ mem_str(raw.p, raw.n), raw.n, *wanted };
	}
	return 0;
}

/* Does the next field have the same name as this one of the previous event? Then moves *rest to its
 * value. */
static bool next_is(const struct hint *h, bool first, struct span *rest)
{
	size_t at = first ? 0 : strlen("&"), n = at + h->n + strlen("=");

	if (!h->name || rest->n < n || rest->p[n - 1] != '=' ||
	    !same_bytes(rest->p + at, h->name, h->n))
		return false;
	*rest = (struct span){ rest->p + n, rest->n - n };
	return true;
}

/* As urlenc_next, with the index of the wanted column or -1. false: the end, or an error. */
static bool next_field(struct route *r, size_t at, struct span data, struct span *rest,
	struct span *value, ssize_t *wanted, struct err *e)
{
	struct span name;

	if (at < COLUMNS_MAX && next_is(&r->hint[at], at == 0, rest)) {
		*wanted = r->hint[at].wanted;
		*value = urlenc_value(rest);
		return true;
	}
	return urlenc_next(rest, &name, value) && wanted_at(r, at, data, name, wanted, e) == 0;
}

static int lacks(struct route *r, struct err *e)
{
	for (size_t i = 0; i < r->nwanted; i++) {
		struct span name = wanted_source(r, i);
		if (r->seen[r->same_as[i]] != r->row)
			return err_set(e, ERR_DATA, "the event lacks column %.*s, which %s names",
				(int)name.n, name.p, i < r->nfield ? "fields" : "part_field");
	}
	return 0;
}

/* The name comes from the event: it may hold anything. */
static int twice(struct span name, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, name, NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "the event has column %s twice", buf_cstr(&shown));
	buf_free(&shown);
	return e->code;
}

/* Reads the whole row, because a column that occurs twice is an error: which one is meant? */
static int row_of_list(struct route *r, struct span data, struct err *e)
{
	struct span rest = data, value;
	size_t left = r->ndistinct;
	ssize_t wanted = -1;

	r->row++;
	for (size_t at = 0; next_field(r, at, data, &rest, &value, &wanted, e); at++) {
		if (wanted < 0)
			continue;
		if (r->seen[wanted] == r->row)
			return twice(wanted_source(r, (size_t)wanted), e);
		left--;
		r->seen[wanted] = r->row;
		r->value[wanted] = value;
	}
	if (e->code || left)
		return e->code ? e->code : lacks(r, e);
	if (r->ndistinct < r->nwanted)
		for (size_t i = 0; i < r->nwanted; i++)
			r->value[i] = r->value[r->same_as[i]];
	return 0;
}

static int decode_name(struct span data, struct span raw, struct span *out, struct err *e)
{
	size_t bad;
	char *name = mem_alloc(raw.n + 1);
	ssize_t n = urlenc_decode(name, raw, &bad);

	*out = (struct span){ name, n < 0 ? 0 : (size_t)n };
	name[out->n] = 0;
	if (n < 0)
		return bad_escape(data, raw, bad, e);
	if (n == 0 || n > NAME_BYTES_MAX)
		return err_set(e, ERR_DATA, "a column name of %zd bytes at byte %zu of ev_data: the"
			" server takes 1 to %d", n, (size_t)(raw.p - data.p), NAME_BYTES_MAX);
	return 0;
}

/* Takes the columns that are left out from it. */
static void narrow(const struct route *r, struct shape *s)
{
	size_t n = 0;

	s->at = mem_alloc(s->n * sizeof *s->at);
	for (size_t i = 0; i < s->n; i++) {
		if (tally_find(&r->left_out, s->target[i].p)) {
			free((char *)(uintptr_t)s->target[i].p);
			continue;
		}
		s->at[n] = i;
		s->target[n++] = s->target[i];
	}
	s->n = n;
}

static int new_shape(struct route *r, struct span data, size_t n, struct err *e)
{
	struct shape *s = shape_alloc(n);

	s->part_at = n;
	for (size_t i = 0; i < n && !e->code; i++) {
		s->source[i] = span_copy(r->name[i].p, r->name[i].n);
		s->nsource = s->n = i + 1;
		if (decode_name(data, r->name[i], &s->target[i], e) < 0)
			break;
		if (r->part_field && span_is(s->target[i], r->part_field))
			s->part_at = i;
		for (size_t k = 0; k < i; k++)
			if (span_eq(s->target[i], s->target[k]))
				twice(s->target[i], e);
	}
	if (!e->code && r->part_field && s->part_at == n)
		err_set(e, ERR_DATA, "the event lacks column %s, which part_field names",
			r->part_field);
	if (e->code) {
		shape_free(s);
		return e->code;
	}
	if (r->left_out.n)
		narrow(r, s);
	shape_finish(s);
	remember(r, s);
	return 0;
}

static bool same_names(const struct route *r, const struct shape *s, size_t n)
{
	if (s->nsource != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s->source[i].n != r->name[i].n ||
		    !same_bytes(s->source[i].p, r->name[i].p, r->name[i].n))
			return false;
	return true;
}

static int row_of_all(struct route *r, struct span data, struct err *e)
{
	struct span rest = data, more;
	size_t n = 0;

	while (n < COLUMNS_MAX && urlenc_next(&rest, &r->name[n], &r->value[n]))
		n++;
	if (n == 0)
		return err_set(e, ERR_DATA, "ev_data holds no column");
	if (n == COLUMNS_MAX && urlenc_next(&rest, &more, &more))
		return err_set(e, ERR_DATA, "the event has more than %d columns", COLUMNS_MAX);
	if (r->nshape && same_names(r, r->shape[r->current], n))
		return 0;
	for (r->current = 0; r->current < r->nshape; r->current++)
		if (same_names(r, r->shape[r->current], n))
			return 0;
	r->current = 0;
	return new_shape(r, data, n, e);
}

int route_row(struct route *r, struct span data, const struct shape **shape,
	const struct span **values, struct span *part, struct err *e)
{
	if ((r->field ? row_of_list(r, data, e) : row_of_all(r, data, e)) < 0)
		return e->code;
	const struct shape *s = *shape = r->shape[r->current];
	*values = r->value;
	*part = r->part_field ? r->value[s->part_at] : (struct span){ NULL, 0 };
	for (size_t i = 0; s->at && i < s->n; i++)
		r->value[i] = r->value[s->at[i]];
	return 0;
}

bool route_leave_out(struct route *r, const struct tally *names)
{
	size_t same = 0;

	for (size_t i = 0; i < names->n; i++)
		same += tally_find(&r->left_out, names->at[i].name) != NULL;
	if (same == names->n && same == r->left_out.n)
		return false;
	tally_clear(&r->left_out);
	tally_merge(&r->left_out, names);
	if (!r->field)
		forget(r);
	return true;
}
