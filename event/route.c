/*
 * A row's columns, and where they stand in the event: which of its columns are wanted, under which
 * names, and which column lists (shapes) come of that. Pure text work.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct route {
	struct columns c;
	struct tally left_out;          /* names of columns */
	struct filling filling;         /* columns that rows get as NULL */

	struct shapes shapes;           /* current: of the row at hand */
	size_t nlist;                   /* columns of the list */
	struct wanted *wanted;          /* without `*`: these, found */
	bool *missing;                  /* those that this row lacks */

	/* Each destination has a route: these are as long as its rows need. */
	struct span *name;              /* with `*`: this row's, encoded */
	struct span *value;             /* behind the row's: one that is NULL */
	size_t cap;                     /* of both */
	struct span *picked;
	size_t picked_cap;
};

static const struct field *words(const struct route *r)
{
	return r->c.nword ? r->c.field + r->nlist : NULL;
}

/* Keeps the shape, as the current one. */
static void remember(struct route *r, struct shape *s, uint64_t key)
{
	shapes_add(&r->shapes, s, key);
	if (r->picked_cap < s->n) {
		free(r->picked);
		r->picked_cap = s->n;
		r->picked = mem_alloc(s->n * sizeof *r->picked);
	}
}

static int check_columns(const struct route *r, const struct shape *s, struct err *e)
{
	if (s->n + r->c.nword == 0)
		err_set(e, ERR_DATA, "no column of the event is wanted");
	for (size_t i = 0; i < r->c.n && r->c.all; i++) {
		ssize_t at = shape_find(s, r->c.field[i].target, 0, s->n);
		bool other = at >= 0 && (i >= r->nlist ||
			shape_find(s, r->c.field[i].target, (size_t)at + 1, s->n) >= 0);
		if (other)
			err_set(e, ERR_DATA, "the event has a column %.*s, and fields gives that"
				" name to another", (int)s->target[at].n, s->target[at].p);
	}
	return e->code;
}

/* ---- a list without `*` */

/* Adds the shape of rows that lack these columns of the list, and no others. */
static int shape_of_list(struct route *r, const bool *missing, uint64_t key, struct err *e)
{
	struct shape *s = shape_new(r->nlist, r->nlist, r->c.nword, words(r));

	s->part_at = r->c.part_field ? wanted_find(r->wanted, span_of(r->c.part_field)) : r->nlist;
	for (size_t i = 0; i < r->nlist; i++) {
		s->source[i] = shape_span(r->c.field[i].source.p, r->c.field[i].source.n);
		if (!missing || !missing[i])
			shape_add(s, r->c.field[i].target, i);
	}
	s->nsource = r->nlist;
	if (missing) {
		s->missing = mem_alloc(r->nlist + 1);
		memcpy(s->missing, missing, r->nlist);
	}
	if (check_columns(r, s, e) < 0)
		shape_free(s);
	else
		remember(r, s, key);
	return e->code;
}

static bool lacks_same(const struct route *r, const struct shape *s, const bool *missing)
{
	return !missing ? !s->missing : s->missing && memcmp(s->missing, missing, r->nlist) == 0;
}

/* Makes the shape of rows without these columns the current one. */
static int choose_list(struct route *r, const bool *missing, struct err *e)
{
	struct known_shape *k = r->shapes.current;

	if (k && lacks_same(r, k->shape, missing))
		return 0;
	uint64_t key = missing ? word_hash((const char *)missing, r->nlist) : 0;
	for (k = shapes_find(&r->shapes, key); k; k = shapes_next(k))
		if (lacks_same(r, k->shape, missing)) {
			shapes_choose(&r->shapes, k);
			return 0;
		}
	return shape_of_list(r, missing, key, e);
}

struct route *route_new(const struct columns *columns)
{
	struct route *r = mem_alloc(sizeof *r);
	size_t n = columns->n - columns->nword;

	memset(r, 0, sizeof *r);
	r->c = *columns;
	r->nlist = n;
	if (!r->c.all) {
		r->wanted = wanted_new(&r->c);
		r->missing = mem_alloc(n + 1);
		r->value = mem_alloc((wanted_count(r->wanted) + 1) * sizeof *r->value);
	}
	return r;
}

void route_free(struct route *r)
{
	if (!r)
		return;
	shapes_clear(&r->shapes);
	tally_clear(&r->left_out);
	filling_clear(&r->filling);
	wanted_free(r->wanted);
	free(r->name);
	free(r->value);
	free(r->picked);
	free(r->missing);
	free(r);
}

uint32_t route_shape_id(const struct route *r, const struct shape *s)
{
	(void)s;
	return r->shapes.current->id;
}

struct span route_target(const struct route *r, struct span source)
{
	for (size_t i = 0; i < r->nlist; i++)
		if (span_eq(r->c.field[i].source, source))
			return r->c.field[i].target;
	return source;
}

/* The row lacks columns of the list: chooses its shape. */
static int without(struct route *r, struct err *e)
{
	enum on_missing how = r->c.on_missing;
	struct span part = span_of(r->c.part_field);

	for (size_t i = 0; i < wanted_count(r->wanted); i++) {
		struct span name = wanted_source(r->wanted, i);
		bool lacks = wanted_lacks(r->wanted, i);
		if (i < r->nlist)
			r->missing[i] = lacks;
		if (lacks && (how == ON_MISSING_ERROR || (part.p && span_eq(name, part))))
			return err_set(e, ERR_DATA, "the event lacks column %.*s, which %s names",
				(int)name.n, name.p,
				i < r->nlist && how == ON_MISSING_ERROR ? "fields" : "part_field");
		if (lacks)
			r->value[i] = (struct span){ NULL, 0 };
	}
	return choose_list(r, how == ON_MISSING_DEFAULT ? r->missing : NULL, e);
}

static int row_of_list(struct route *r, struct cursor *c, struct err *e)
{
	const struct known_shape *current = r->shapes.current;
	bool complete;

	if (wanted_row(r->wanted, c, r->value, &complete, e) < 0)
		return e->code;
	if (complete && current && !current->shape->missing)
		return 0;
	return complete ? choose_list(r, NULL, e) : without(r, e);
}

/* ---- with `*` */

static int decode_name(const struct cursor *c, struct span raw, struct span *out, struct err *e)
{
	size_t bad;
	char *name = mem_alloc(raw.n + 1);
	ssize_t n = format_decode(name, c->format, raw, &bad);

	*out = (struct span){ name, n < 0 ? 0 : (size_t)n };
	name[out->n] = 0;
	if (n < 0)
		return format_refuse(c->format, c->data, raw, bad, NULL, e);
	if (n == 0 || n > NAME_BYTES_MAX)
		return err_set(e, ERR_DATA, "a column name of %zd bytes at byte %zu of ev_data: the"
			" server takes 1 to %d", n, (size_t)(raw.p - c->data.p), NAME_BYTES_MAX);
	return 0;
}

/* Adds what becomes of the event's column. */
static void add_source(const struct route *r, struct shape *s, struct span name, size_t at)
{
	bool listed = false;

	if (filter_has(r->c.skip, name))
		return;
	for (size_t i = 0; i < r->nlist; i++)
		if (span_eq(r->c.field[i].source, name)) {
			shape_add(s, r->c.field[i].target, at);
			listed = true;
		}
	if (!listed && !tally_find(&r->left_out, name.p))
		shape_add(s, name, at);
}

/* Columns of the list that the event lacks. */
static int add_missing(const struct route *r, struct shape *s, const struct span *names, size_t n,
	struct err *e)
{
	for (size_t i = 0; i < r->nlist; i++) {
		struct span source = r->c.field[i].source;
		size_t k = 0;
		while (k < n && !span_eq(names[k], source))
			k++;
		if (k < n)
			continue;
		if (r->c.on_missing == ON_MISSING_ERROR)
			return err_set(e, ERR_DATA, "the event lacks column %.*s, which fields"
				" names", (int)source.n, source.p);
		if (r->c.on_missing == ON_MISSING_NULL)
			shape_add(s, r->c.field[i].target, n);
	}
	return 0;
}

/* Decodes the names, *n of them, and checks each. */
static int decode_names(struct route *r, const struct cursor *c, size_t all, struct span *names,
	size_t *n, struct err *e)
{
	for (*n = 0; *n < all && !e->code; ++*n) {
		if (decode_name(c, r->name[*n], &names[*n], e) < 0)
			continue;
		for (size_t k = 0; k < *n; k++)
			if (span_eq(names[*n], names[k]))
				wanted_twice(names[*n], e);
	}
	return e->code;
}

static int fill_shape(struct route *r, struct shape *s, const struct span *names, size_t n,
	struct err *e)
{
	for (s->part_at = 0; s->part_at < n; s->part_at++)
		if (r->c.part_field && span_is(names[s->part_at], r->c.part_field))
			break;
	if (r->c.part_field && s->part_at == n)
		return err_set(e, ERR_DATA, "the event lacks column %s, which part_field names",
			r->c.part_field);
	for (size_t i = 0; i < n; i++) {
		s->source[i] = shape_span(r->name[i].p, r->name[i].n);
		s->nsource = i + 1;
		add_source(r, s, names[i], i);
	}
	if (add_missing(r, s, names, n, e) < 0)
		return e->code;
	return check_columns(r, s, e);
}

static int new_shape(struct route *r, const struct cursor *c, size_t n, uint64_t key,
	struct err *e)
{
	struct shape *s = shape_new(n, n + r->nlist + filling_room(&r->filling),
		r->c.nword, words(r));
	struct span *names = mem_alloc((n + 1) * sizeof *names);
	size_t decoded;

	s->json = c->format != FORMAT_URLENC;
	if (decode_names(r, c, n, names, &decoded, e) == 0)
		fill_shape(r, s, names, n, e);
	if (!e->code)
		filling_add(&r->filling, s, n, r->shapes.shapes.n);
	for (size_t i = 0; i < decoded; i++)
		free((char *)(uintptr_t)names[i].p);
	free(names);
	if (e->code)
		shape_free(s);
	else
		remember(r, s, key);
	return e->code;
}

static bool same_names(const struct route *r, const struct shape *s, bool json, size_t n)
{
	if (s->nsource != n || s->json != json)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s->source[i].n != r->name[i].n ||
		    !same_bytes(s->source[i].p, r->name[i].p, r->name[i].n))
			return false;
	return true;
}

/* Of the row's names. */
static uint64_t hash_names(const struct route *r, bool json, size_t n)
{
	uint64_t h = n << 1 | json;

	for (size_t i = 0; i < n; i++)
		h = (h ^ word_hash(r->name[i].p, r->name[i].n)) * UINT64_C(0x9e3779b97f4a7c15);
	return h;
}

static void more_room(struct route *r)
{
	size_t cap = r->cap;

	r->name = mem_grow(r->name, r->cap, &cap, sizeof *r->name);
	r->value = mem_grow(r->value, r->cap, &r->cap, sizeof *r->value);
}

/* Splits the row, up to COLUMNS_MAX columns of it; returns their number. */
static size_t split(struct route *r, struct cursor *c, struct err *e)
{
	for (size_t n = 0;; n++) {
		if (n == r->cap)
			more_room(r);
		if (n < COLUMNS_MAX && format_next(c, &r->name[n], &r->value[n], e))
			continue;
		r->value[n] = (struct span){ NULL, 0 };
		return n;
	}
}

static int row_of_all(struct route *r, struct cursor *c, struct err *e)
{
	bool json = c->format != FORMAT_URLENC;
	struct known_shape *k = r->shapes.current;
	struct span more;
	size_t n = split(r, c, e);

	if (e->code)
		return e->code;
	if (n == 0 && !json)
		return err_set(e, ERR_DATA, "ev_data holds no column");
	if (n == COLUMNS_MAX && format_next(c, &more, &more, e))
		return err_set(e, ERR_DATA, "the event has more than %d columns", COLUMNS_MAX);
	if (e->code || (k && same_names(r, k->shape, json, n)))
		return e->code;
	uint64_t key = hash_names(r, json, n);
	for (k = shapes_find(&r->shapes, key); k; k = shapes_next(k))
		if (same_names(r, k->shape, json, n)) {
			shapes_choose(&r->shapes, k);
			return 0;
		}
	return new_shape(r, c, n, key, e);
}

int route_row(struct route *r, enum format format, struct span data, const struct shape **shape,
	const struct span **values, struct span *part, struct err *e)
{
	struct cursor c;

	format_begin(&c, format, data);
	if ((r->c.all ? row_of_all(r, &c, e) : row_of_list(r, &c, e)) < 0)
		return e->code;
	const struct shape *s = *shape = r->shapes.current->shape;
	r->filling.used |= s->filled;
	*values = s->at ? r->picked : r->value;
	*part = r->c.part_field ? r->value[s->part_at] : (struct span){ NULL, 0 };
	for (size_t i = 0; s->at && i < s->n - s->nword; i++)
		r->picked[i] = r->value[s->at[i]];
	return 0;
}

bool route_leave_out(struct route *r, const struct tally *names)
{
	if (tally_same_names(&r->left_out, names))
		return false;
	tally_clear(&r->left_out);
	tally_merge(&r->left_out, names);
	if (r->c.all)
		shapes_clear(&r->shapes);
	return true;
}

bool route_fill(struct route *r, const struct tally *names)
{
	if (!r->c.all || !filling_set(&r->filling, names))
		return false;
	shapes_clear(&r->shapes);
	return true;
}

size_t route_shapes(const struct route *r)
{
	return r->shapes.shapes.n;
}

void route_filled(const struct route *r, struct tally *columns)
{
	if (r->filling.used)
		tally_merge(columns, &r->filling.given);
}
