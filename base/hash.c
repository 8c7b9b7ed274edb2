/*
 * A hash table of links, which stand in what the table finds. It grows with them.
 */
#include <stdlib.h>
#include <string.h>

#include "base.h"

#define HASH_LEAST 64                   /* buckets */

static struct hash_link **bucket_of(const struct hash *h, uint64_t key)
{
	return &h->bucket[key * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (h->size - 1)];
}

static void push(struct hash *h, struct hash_link *link)
{
	struct hash_link **at = bucket_of(h, link->key);

	link->next = *at;
	*at = link;
}

static void grow(struct hash *h)
{
	struct hash old = *h;

	h->size = old.size ? 2 * old.size : HASH_LEAST;
	h->bucket = mem_alloc(h->size * sizeof(struct hash_link *));
	memset(h->bucket, 0, h->size * sizeof(struct hash_link *));
	for (size_t i = 0; i < old.size; i++)
		while (old.bucket[i]) {
			struct hash_link *link = old.bucket[i];
			old.bucket[i] = link->next;
			push(h, link);
		}
	free(old.bucket);
}

void hash_add(struct hash *h, struct hash_link *link, uint64_t key)
{
	if (h->n == h->size)
		grow(h);
	link->key = key;
	push(h, link);
	h->n++;
}

/* The first from link on that has the key. */
static struct hash_link *skip_to(struct hash_link *link, uint64_t key)
{
	while (link && link->key != key)
		link = link->next;
	return link;
}

struct hash_link *hash_find(const struct hash *h, uint64_t key)
{
	return h->size ? skip_to(*bucket_of(h, key), key) : NULL;
}

struct hash_link *hash_next(const struct hash_link *link)
{
	return skip_to(link->next, link->key);
}

void hash_remove(struct hash *h, const struct hash_link *link)
{
	struct hash_link **at = bucket_of(h, link->key);

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	h->n--;
}

void hash_clear(struct hash *h)
{
	free(h->bucket);
	*h = (struct hash){ 0 };
}
