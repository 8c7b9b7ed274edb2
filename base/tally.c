/*
 * A tally: how many rows each partition got, sorted by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

/* Index of the name, or where to insert it. */
static size_t place(const struct tally *t, const char *name)
{
	size_t from = 0, to = t->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (strcmp(t->at[middle].name, name) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

const struct tally_part *tally_find(const struct tally *t, const char *name)
{
	size_t i = place(t, name);

	return i < t->n && strcmp(t->at[i].name, name) == 0 ? &t->at[i] : NULL;
}

bool tally_add(struct tally *t, const char *name, int64_t rows)
{
	size_t i = place(t, name);
	bool is_new = i == t->n || strcmp(t->at[i].name, name) != 0;

	if (is_new) {
		t->at = mem_grow(t->at, t->n, &t->cap, sizeof *t->at);
		memmove(&t->at[i + 1], &t->at[i], (t->n - i) * sizeof *t->at);
		t->at[i] = (struct tally_part){ 0 };
		snprintf(t->at[i].name, sizeof t->at[i].name, "%s", name);
		t->n++;
	}
	t->at[i].rows += rows;
	return is_new;
}

void tally_merge(struct tally *t, const struct tally *more)
{
	for (size_t i = 0; i < more->n; i++)
		tally_add(t, more->at[i].name, more->at[i].rows);
}

bool tally_same_names(const struct tally *t, const struct tally *names)
{
	if (names->n != t->n)
		return false;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->at[i].name, t->at[i].name) != 0)
			return false;
	return true;
}

int64_t tally_rows(const struct tally *t)
{
	int64_t rows = 0;

	for (size_t i = 0; i < t->n; i++)
		rows += t->at[i].rows;
	return rows;
}

void tally_clear(struct tally *t)
{
	free(t->at);
	*t = (struct tally){ 0 };
}
