/*
 * The columns that a list names, found in an event.
 *
 * Encoded names are compared with those of the previous event first: a table's events name their
 * columns in one order, so nearly every first comparison matches.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct hint {                           /* the field at one position of the previous event */
	char *name;                     /* encoded, owned */
	size_t n;
	struct span plain;              /* decoded, owned */
	bool json;                      /* "id" is id there, and "id" in a urlencoded row */
	ssize_t wanted;                 /* index of the column wanted, or -1 */
};

struct wanted {
	const struct columns *c;
	size_t nlist;                   /* columns of the list */
	size_t n;                       /* the same and part_field's */
	size_t ndistinct;               /* number of different sources among them */
	size_t *same_as;                /* first wanted column with the same source; at most i */
	uint64_t row, *seen;            /* seen[i] == row: this row has column i */
	struct hint *hint;              /* by position */
	size_t nhint, hint_cap;
	size_t ndiffer;                 /* so many of the first hints are of different names */
};

struct span wanted_source(const struct wanted *w, size_t i)
{
	return i < w->nlist ? w->c->field[i].source : span_of(w->c->part_field);
}

/* Index of the first wanted column with that source, or nwanted. */
size_t wanted_find(const struct wanted *w, struct span source)
{
	size_t i = 0;

	while (i < w->n && !span_eq(source, wanted_source(w, i)))
		i++;
	return i;
}

static void prepare(struct wanted *w)
{
	struct span part = span_of(w->c->part_field);

	w->n = w->nlist;
	if (part.p && wanted_find(w, part) == w->nlist)
		w->n++;
	for (size_t i = 0; i < w->n; i++) {
		w->same_as[i] = wanted_find(w, wanted_source(w, i));
		w->ndistinct += w->same_as[i] == i;
	}
}

struct wanted *wanted_new(const struct columns *columns)
{
	struct wanted *w = mem_alloc(sizeof *w);
	size_t n = columns->n - columns->nword;

	*w = (struct wanted){ .c = columns, .nlist = n };
	w->same_as = mem_alloc((n + 1) * sizeof *w->same_as);
	w->seen = mem_alloc((n + 1) * sizeof *w->seen);
	memset(w->seen, 0, (n + 1) * sizeof *w->seen);
	prepare(w);
	return w;
}

static void clear_hint(struct hint *h)
{
	free(h->name);
	free((char *)(uintptr_t)h->plain.p);
}

void wanted_free(struct wanted *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->nhint; i++)
		clear_hint(&w->hint[i]);
	free(w->hint);
	free(w->same_as);
	free(w->seen);
	free(w);
}

size_t wanted_count(const struct wanted *w)
{
	return w->n;
}

/* Sets the index of the wanted column with this encoded name, or -1, and the decoded name, which
 * the caller frees. */
static int find_wanted(struct wanted *w, const struct cursor *c, struct span raw, ssize_t *wanted,
	struct span *plain, struct err *e)
{
	size_t bad;
	char *name = mem_alloc(raw.n);
	ssize_t n = format_decode(name, c->format, raw, &bad);

	if (n < 0) {
		free(name);
		return format_refuse(c->format, c->data, raw, bad, NULL, e);
	}
	*plain = (struct span){ name, (size_t)n };
	size_t at = wanted_find(w, *plain);
	*wanted = at < w->n ? (ssize_t)at : -1;
	return 0;
}

static int wanted_at(struct wanted *w, size_t at, const struct cursor *c, struct span raw,
	ssize_t *wanted, struct err *e)
{
	struct hint *h = at < w->nhint ? &w->hint[at] : NULL;
	bool json = c->format != FORMAT_URLENC;
	struct span plain;

	if (h && h->json == json && h->n == raw.n && same_bytes(h->name, raw.p, raw.n)) {
		*wanted = h->wanted;
		return 0;
	}
	if (find_wanted(w, c, raw, wanted, &plain, e) < 0)
		return e->code;
	if (!h && w->nhint < COLUMNS_MAX) {
		w->hint = mem_grow(w->hint, w->nhint, &w->hint_cap, sizeof *w->hint);
		h = &w->hint[w->nhint++];
		*h = (struct hint){ .name = NULL };
	}
	if (!h) {
		free((char *)(uintptr_t)plain.p);
		return 0;
	}
	clear_hint(h);
	*h = (struct hint){ mem_str(raw.p, raw.n), raw.n, plain, json, *wanted };
	w->ndiffer = w->ndiffer < at ? w->ndiffer : at;
	return 0;
}

/* As format_next, with the index of the wanted column or -1. The usual case keeps the value in
 * registers: a struct that was just written in halves is slow to copy. */
static inline bool next_field(struct wanted *w, size_t at, struct cursor *c, struct span *value,
	ssize_t *wanted, struct err *e)
{
	struct span name, other;

	const struct hint *h = at < w->nhint ? &w->hint[at] : NULL;
	if (h && h->json == (c->format != FORMAT_URLENC) &&
	    format_next_is(c, (struct span){ h->name, h->n }, at == 0)) {
		*wanted = h->wanted;
		*value = format_value(c);
		return true;
	}
	if (!format_next(c, &name, &other, e) || wanted_at(w, at, c, name, wanted, e) < 0)
		return false;
	*value = other;
	return true;
}

/* The name comes from the event: it may hold anything. */
int wanted_twice(struct span name, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, name, NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "the event has column %s twice", buf_cstr(&shown));
	buf_free(&shown);
	return e->code;
}

/* Are the names of n fields different, wanted or not? Only those that are new are compared. */
static int check_names(struct wanted *w, size_t n, struct err *e)
{
	for (; w->ndiffer < n && w->ndiffer < w->nhint; w->ndiffer++)
		for (size_t i = 0; i < w->ndiffer; i++)
			if (span_eq(w->hint[i].plain, w->hint[w->ndiffer].plain))
				return wanted_twice(w->hint[i].plain, e);
	return 0;
}

/* Reads the whole row, because a column that occurs twice is an error: which one is meant? In JSON
 * no name may. */
int wanted_row(struct wanted *w, struct cursor *c, struct span *values, bool *complete,
	struct err *e)
{
	struct span value;
	size_t left = w->ndistinct, at;
	ssize_t wanted = -1;

	w->row++;
	for (at = 0; next_field(w, at, c, &value, &wanted, e); at++) {
		if (wanted < 0)
			continue;
		if (w->seen[wanted] == w->row)
			return wanted_twice(wanted_source(w, (size_t)wanted), e);
		left--;
		w->seen[wanted] = w->row;
		values[wanted] = value;
	}
	*complete = left == 0;
	if (!e->code && c->format != FORMAT_URLENC)
		check_names(w, at, e);
	if (!e->code && w->ndistinct < w->n)
		for (size_t i = 0; i < w->n; i++)
			values[i] = values[w->same_as[i]];
	return e->code;
}

bool wanted_lacks(const struct wanted *w, size_t i)
{
	return w->seen[w->same_as[i]] != w->row;
}
