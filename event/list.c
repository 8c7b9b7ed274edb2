/*
 * The values by which part_method = list cuts a table. Each has a number, so that a partition is
 * identified by one, as a date's is by the start of its period.
 */
#include <stdlib.h>
#include <string.h>

#include "event.h"

bool list_takes(struct span value)
{
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '_'))
			return false;
	}
	return value.n >= 1 && value.n <= LIST_VALUE_MAX;
}

/* The slot that holds the value's number, or where it belongs. */
static uint32_t *slot_of(const struct list *l, struct span value)
{
	size_t i = span_hash("list", value) & (l->nslot - 1);

	while (l->slot[i] && !span_is(value, l->value[l->slot[i] - 1]))
		i = (i + 1) & (l->nslot - 1);
	return &l->slot[i];
}

/* At least half of the slots stay empty. */
static void make_room(struct list *l)
{
	if (2 * l->n < l->nslot)
		return;
	l->nslot = l->nslot ? 2 * l->nslot : 64;
	free(l->slot);
	l->slot = mem_alloc(l->nslot * sizeof *l->slot);
	memset(l->slot, 0, l->nslot * sizeof *l->slot);
	for (size_t i = 0; i < l->n; i++)
		*slot_of(l, span_of(l->value[i])) = (uint32_t)i + 1;
}

int64_t list_number(struct list *l, struct span value)
{
	make_room(l);
	uint32_t *slot = slot_of(l, value);
	if (!*slot) {
		l->value = mem_grow(l->value, l->n, &l->cap, sizeof *l->value);
		memcpy(l->value[l->n], value.p, value.n);
		l->value[l->n++][value.n] = 0;
		*slot = (uint32_t)l->n;
	}
	return *slot - 1;
}

void list_clear(struct list *l)
{
	free(l->value);
	free(l->slot);
	*l = (struct list){ 0 };
}
