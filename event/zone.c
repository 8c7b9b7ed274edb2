/*
 * The midnights of a named time zone. There is one copy of the zones' rules, the target server's:
 * it is asked for a midnight once, and the answers are kept.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* How many midnights that are known come before it. */
static size_t place_of(const struct zone *z, int64_t local_s)
{
	size_t from = 0, to = z->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (z->bound[middle].local_s < local_s)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

const struct zone_bound *zone_find(const struct zone *z, int64_t local_s)
{
	size_t at = place_of(z, local_s);

	return at < z->n && z->bound[at].local_s == local_s ? &z->bound[at] : NULL;
}

static void keep(struct zone *z, const struct zone_bound *bound)
{
	size_t at = place_of(z, bound->local_s);

	if (at == z->n || z->bound[at].local_s != bound->local_s) {
		z->bound = mem_grow(z->bound, z->n, &z->cap, sizeof *z->bound);
		memmove(z->bound + at + 1, z->bound + at, (z->n++ - at) * sizeof *z->bound);
	}
	z->bound[at] = *bound;
}

int zone_ask(struct zone *z, struct zone_bound *bound, size_t n, struct err *e)
{
	if (z->ask(z->arg, bound, n, e) < 0)
		return e->code;
	for (size_t i = 0; i < n; i++)
		keep(z, &bound[i]);
	return 0;
}

void zone_take(struct zone *z, struct zone *old)
{
	if (!z->name || !old->name || strcmp(z->name, old->name) != 0)
		return;
	free(z->bound);
	z->bound = old->bound;
	z->n = old->n;
	z->cap = old->cap;
	z->known = old->known;
	old->bound = NULL;
	old->n = old->cap = 0;
}

void zone_clear(struct zone *z)
{
	free(z->bound);
	*z = (struct zone){ 0 };
}
