/*
 * row_mode = keep_latest: which keys have an action of a newer event already. Events are read with
 * the newest first, as far as an index gives that, so most older actions of a key need not be
 * staged: the last one is what counts.
 *
 * A key is known by its bytes as they are in the event: equal bytes are equal values. Others may be
 * equal too, such as 1.0 and 1.00; the target finds those, and what is forgotten here.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define MOST (4 * 1024 * 1024)          /* bytes of records; then all are forgotten */
#define UNIT 8                          /* records begin at multiples of it */
#define LEAST 1024                      /* slots */
#define KEY_MOST 512                    /* bytes of a key that is worth it */

struct record {
	int64_t id;                     /* the newest event that has the key */
	uint32_t n;                     /* bytes of the key */
	char key[];
};

struct slot {
	uint32_t hash;
	uint32_t at;                    /* of the record, in units; 0: none */
};

struct newest {
	struct buf records;
	struct slot *slot;
	size_t nslot, used;             /* a power of two; at most half of them are in use */
};

struct newest *newest_new(void)
{
	struct newest *s = mem_alloc(sizeof *s);

	*s = (struct newest){ 0 };
	return s;
}

void newest_free(struct newest *s)
{
	if (!s)
		return;
	buf_free(&s->records);
	free(s->slot);
	free(s);
}

void newest_begin(struct newest *s)
{
	if (s->used)
		memset(s->slot, 0, s->nslot * sizeof *s->slot);
	s->records.len = s->used = 0;
}

static struct record *record_at(const struct newest *s, size_t at)
{
	return (struct record *)(void *)(s->records.p + at * UNIT);
}

/* ---- the key, at the end of the records */

static void add_value(struct buf *b, struct span value)
{
	uint16_t n = value.p ? (uint16_t)value.n : UINT16_MAX;

	buf_add(b, (const char *)&n, sizeof n);
	buf_add(b, value.p, value.n);
}

/* Writes a record of the key behind the last one, with room up to the next. Returns its place, in
 * units; its length is not added. */
static size_t write_record(struct newest *s, const struct newest_key *k)
{
	struct buf *b = &s->records;
	const size_t start = b->len ? b->len : UNIT;
	const struct record head = { .id = INT64_MIN };
	const uint32_t place = (uint32_t)k->place << 8 | (uint32_t)k->format;

	if (!b->len)                    /* no record is at 0 */
		memset(buf_reserve(b, start), 0, start);
	b->len = start;
	buf_add(b, (const char *)&head, offsetof(struct record, key));
	buf_add(b, (const char *)&place, sizeof place);
	buf_add(b, (const char *)&k->start_s, sizeof k->start_s);
	for (size_t i = 0; i < k->n; i++)
		add_value(b, k->value[i]);
	struct record *r = record_at(s, start / UNIT);
	r->n = (uint32_t)(b->len - start - offsetof(struct record, key));
	buf_reserve(b, UNIT);
	b->len = start;
	return start / UNIT;
}

/* Keeps the record that was written last. */
static void keep_record(struct newest *s, size_t at)
{
	size_t end = at * UNIT + offsetof(struct record, key) + record_at(s, at)->n;

	s->records.len = (end + UNIT - 1) / UNIT * UNIT;
}

/* ---- slots */

/* Doubles them when half are in use. */
static void make_slots(struct newest *s)
{
	struct slot *old = s->slot;
	size_t nold = s->nslot;

	if (2 * (s->used + 1) <= nold)
		return;
	s->nslot = nold ? 2 * nold : LEAST;
	s->slot = mem_alloc(s->nslot * sizeof *s->slot);
	memset(s->slot, 0, s->nslot * sizeof *s->slot);
	for (size_t i = 0; i < nold; i++) {
		size_t to = old[i].hash & (s->nslot - 1);
		while (old[i].at && s->slot[to].at)
			to = (to + 1) & (s->nslot - 1);
		if (old[i].at)
			s->slot[to] = old[i];
	}
	free(old);
}

/* The slot of the record's key, or the free one where it belongs. */
static struct slot *find(const struct newest *s, const struct record *r, uint32_t hash)
{
	size_t i = hash & (s->nslot - 1);

	for (; s->slot[i].at; i = (i + 1) & (s->nslot - 1)) {
		const struct record *other = record_at(s, s->slot[i].at);
		if (s->slot[i].hash == hash && other->n == r->n &&
		    same_bytes(other->key, r->key, r->n))
			break;
	}
	return &s->slot[i];
}

/* The key's slot, and where its record was written. */
static struct slot *look_up(struct newest *s, const struct newest_key *k, size_t *at,
	uint32_t *hash)
{
	make_slots(s);
	*at = write_record(s, k);
	const struct record *r = record_at(s, *at);
	*hash = (uint32_t)word_hash(r->key, r->n);
	return find(s, r, *hash);
}

static bool is_long(const struct newest_key *k)
{
	size_t bytes = 0;

	for (size_t i = 0; i < k->n; i++)
		bytes += k->value[i].n;
	return bytes > KEY_MOST;
}

bool newest_is_after(struct newest *s, const struct newest_key *k, int64_t id)
{
	uint32_t hash;
	size_t at;

	if (is_long(k))
		return false;
	const struct slot *slot = look_up(s, k, &at, &hash);

	return slot->at && record_at(s, slot->at)->id > id;
}

void newest_add(struct newest *s, const struct newest_key *k, int64_t id)
{
	uint32_t hash;
	size_t at;

	if (is_long(k))
		return;
	if (s->records.len > MOST)
		newest_begin(s);
	struct slot *slot = look_up(s, k, &at, &hash);
	if (!slot->at) {
		*slot = (struct slot){ hash, (uint32_t)at };
		s->used++;
		keep_record(s, at);
	}
	struct record *r = record_at(s, slot->at);
	if (r->id < id)
		r->id = id;
}
