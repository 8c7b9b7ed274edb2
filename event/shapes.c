/*
 * The shapes that a route knows, found by what their rows have. There may be as many as events: old
 * ones are forgotten.
 */
#include <stdlib.h>

#include "private.h"

#define SHAPES_BYTES (16 * 1024 * 1024) /* about as much memory may they take */

static struct known_shape *of_same(const struct hash_link *link)
{
	return (struct known_shape *)((char *)(uintptr_t)link - offsetof(struct known_shape, same));
}

struct known_shape *shapes_find(const struct shapes *ks, uint64_t key)
{
	return (struct known_shape *)hash_find(&ks->shapes, key);
}

struct known_shape *shapes_next(const struct known_shape *k)
{
	return (struct known_shape *)hash_next(&k->link);
}

static void drop(struct shapes *ks, struct known_shape *k)
{
	hash_remove(&ks->shapes, &k->link);
	hash_remove(&ks->same, &k->same);
	ks->bytes -= k->bytes;
	shape_free(k->shape);
	free(k);
}

/* Forgets the shapes that were not used again since the last call; all: forgets all. */
static void forget(struct shapes *ks, bool all)
{
	for (size_t i = 0; i < ks->shapes.size; i++)
		for (struct hash_link *link = ks->shapes.bucket[i], *next; link; link = next) {
			struct known_shape *k = (struct known_shape *)link;
			next = link->next;
			if (all || !k->used)
				drop(ks, k);
			else
				k->used = false;
		}
	ks->current = NULL;
}

/* Makes room for a shape. */
static void forget_some(struct shapes *ks)
{
	size_t n = ks->shapes.n;

	if (n < SHAPES_MAX && ks->bytes < SHAPES_BYTES)
		return;
	forget(ks, false);
	if (ks->shapes.n > n / 2)
		forget(ks, true);
}

/* Of the columns that are there, in any order. */
static uint64_t hash_columns(const struct shape *s)
{
	uint64_t h = s->n;

	for (size_t i = 0; i < s->n; i++)
		h += word_hash(s->target[i].p, s->target[i].n);
	return h;
}

/* About as much memory as the shape takes. */
static size_t bytes_of(const struct shape *s)
{
	size_t bytes = sizeof *s + sizeof(struct known_shape);

	for (size_t i = 0; i < s->nsource; i++)
		bytes += 2 * sizeof s->source[i] + s->source[i].n;
	for (size_t i = 0; i < s->n; i++)
		bytes += 3 * sizeof s->target[i] + 2 * s->target[i].n;
	return bytes;
}

void shapes_add(struct shapes *ks, struct shape *s, uint64_t key)
{
	struct known_shape *k = mem_alloc(sizeof *k);

	forget_some(ks);
	uint64_t columns = hash_columns(s);
	struct hash_link *same = hash_find(&ks->same, columns);
	while (same && !shape_arrange(s, of_same(same)->shape))
		same = hash_next(same);
	shape_finish(s);
	*k = (struct known_shape){ .shape = s, .bytes = bytes_of(s) };
	k->id = same ? of_same(same)->id : ks->next_id++ & INT32_MAX;
	hash_add(&ks->shapes, &k->link, key);
	hash_add(&ks->same, &k->same, columns);
	ks->bytes += k->bytes;
	ks->current = k;
}

void shapes_choose(struct shapes *ks, struct known_shape *k)
{
	k->used = true;
	ks->current = k;
}

void shapes_clear(struct shapes *ks)
{
	forget(ks, true);
	hash_clear(&ks->shapes);
	hash_clear(&ks->same);
}
