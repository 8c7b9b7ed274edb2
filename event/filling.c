/*
 * With `*`: shapes that are filled with columns that other rows have, as NULL, so that rows of
 * different columns share a shape.
 */
#include "private.h"

/* Marks the shape's own columns among those that may be filled. Returns how many these are. */
static size_t mark_own(struct filling *f, const struct shape *s, bool others)
{
	size_t own = 0;

	f->nshape++;
	for (size_t i = 0; i < s->n; i++) {
		const struct tally_part *at = tally_find(&f->columns, s->target[i].p);
		if (!at)
			continue;
		own++;
		f->nhad += !at->rows;
		f->unfilled |= !at->rows && others;
		f->columns.at[at - f->columns.at].rows = f->nshape;
	}
	return own;
}

size_t filling_room(const struct filling *f)
{
	size_t most = f->nhad < FILLING_MAX ? f->nhad : FILLING_MAX;

	return f->on ? most : 0;
}

void filling_add(struct filling *f, struct shape *s, size_t n, bool others)
{
	size_t own = mark_own(f, s, others), lacks = f->nhad - own;

	if (!lacks || lacks > FILLING_MAX)
		return;
	s->filled = f->on;
	f->unfilled |= !f->on;
	for (size_t i = 0; i < f->columns.n && f->on; i++) {
		const struct tally_part *at = &f->columns.at[i];
		if (!at->rows || at->rows == f->nshape)
			continue;
		shape_add(s, span_of(at->name), n);
		tally_add(&f->given, at->name, 0);
	}
}

/* From now on shapes may be filled with these. */
static void fill_with(struct filling *f, const struct tally *names)
{
	tally_clear(&f->columns);
	f->nhad = 0;
	for (size_t i = 0; i < names->n; i++)
		tally_add(&f->columns, names->at[i].name, 0);
}

bool filling_set(struct filling *f, const struct tally *names)
{
	bool others = names && !tally_same_names(&f->columns, names);

	f->used = false;
	f->on = names;
	if (!others && !(names ? f->unfilled : f->given.n > 0))
		return false;
	if (others)
		fill_with(f, names);
	tally_clear(&f->given);
	f->unfilled = false;
	return true;
}

void filling_clear(struct filling *f)
{
	tally_clear(&f->columns);
	tally_clear(&f->given);
}
