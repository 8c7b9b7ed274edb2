/*
 * The sink: rows wait in streams, one for each partition and shape (stream.c), in blocks of a pool
 * of bounded size (block.c), until the COPY of their lane sends them (lane.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink.h"

struct sink *sink_new(const struct sink_types *types)
{
	struct sink *s = mem_alloc(sizeof *s);

	memset(s, 0, sizeof *s);
	if (types)
		s->types = *types;
	s->turn = 1;
	return s;
}

/* ---- streams */

static struct stream **bucket_of(struct sink *s, int64_t start_s, uint64_t shape)
{
	uint64_t h = (uint64_t)start_s + shape * 7919;

	h *= UINT64_C(0x9e3779b97f4a7c15);
	return &s->bucket[(h >> 32) % BUCKETS];
}

static bool is_in_use(const struct sink *s, const struct stream *st)
{
	return st->first || s->lane[st->lane].current == st;
}

/* Frees the list with its last stream. */
static void leave_columns(struct shared_list *list)
{
	if (--list->users == 0)
		free(list);
}

/* Forgets the streams in which no rows wait. */
static void sweep(struct sink *s)
{
	size_t kept = 0;

	memset(s->bucket, 0, sizeof s->bucket);
	for (size_t i = 0; i < s->nstream; i++) {
		struct stream *st = s->stream[i];
		if (!is_in_use(s, st)) {
			free(st->kinds);
			free(st->target);
			leave_columns(st->columns);
			free(st);
			continue;
		}
		struct stream **at = bucket_of(s, st->start_s, st->shape);
		st->next = *at;
		*at = st;
		s->stream[kept++] = st;
	}
	s->nstream = kept;
	s->found = NULL;
	s->swept = s->turn;
}

struct stream *sink_find(struct sink *s, int64_t start_s, uint64_t shape)
{
	struct stream *st = s->found;

	if (st && st->start_s == start_s && st->shape == shape)
		return st;
	for (st = *bucket_of(s, start_s, shape); st; st = st->next)
		if (st->start_s == start_s && st->shape == shape)
			break;
	if (st)
		s->found = st;
	return st;
}

/* The column list that other streams of the shape have, or a copy of text. */
static struct shared_list *share_columns(const struct sink *s, uint64_t shape, const char *text)
{
	struct shared_list *list = NULL;

	for (size_t i = s->nstream; i-- > 0 && !list;)
		list = s->stream[i]->shape == shape ? s->stream[i]->columns : NULL;
	if (!list) {
		list = mem_alloc(sizeof *list + strlen(text) + 1);
		list->users = 0;
		memcpy(list->text, text, strlen(text) + 1);
	}
	list->users++;
	return list;
}

/* Makes room for the destination's rows to be counted. */
static void count_for(struct sink *s, size_t of)
{
	while (s->ndone <= of) {
		s->done = mem_grow(s->done, s->ndone, &s->done_cap, sizeof *s->done);
		s->done[s->ndone++] = (struct sink_done){ 0 };
	}
}

struct stream *sink_add(struct sink *s, size_t of, int64_t start_s, uint64_t shape, size_t lane,
	struct span table, const char *target, const char *columns)
{
	struct stream **at, *st = mem_alloc(sizeof *st);

	if (s->nstream == STREAMS_MAX)
		sweep(s);
	assert(lane < LANES_MAX && s->nstream < STREAMS_MAX);
	count_for(s, of);
	for (size_t i = 0; i < s->nstream && !s->beside; i++)
		s->beside = s->stream[i]->start_s == start_s && s->stream[i]->of == of;
	at = bucket_of(s, start_s, shape);
	*st = (struct stream){
		.next = *at, .start_s = start_s, .shape = shape, .lane = (unsigned char)lane,
		.of = (uint32_t)of,
		.target = mem_str(target, strlen(target)),
		.columns = share_columns(s, shape, columns),
	};
	snprintf(st->table, sizeof st->table, "%.*s", (int)table.n, table.p);
	*at = st;
	s->stream[s->nstream++] = st;
	return st;
}

void sink_stage(struct stream *st, size_t part, size_t kind)
{
	st->staged = true;
	st->part = (int32_t)part;
	st->kind = (int32_t)kind;
}

void sink_unstage(struct sink *s, size_t of)
{
	for (size_t i = 0; i < s->nstream; i++)
		if (s->stream[i]->staged && s->stream[i]->of == of)
			s->stream[i]->looked = 0;
}

void sink_count(struct sink *s, size_t of, const char *table, int64_t stored, int64_t unstored)
{
	struct sink_done *done = &s->done[of];

	tally_add(&done->rows, table, stored);
	if (unstored > 0)
		tally_add(&done->unstored, table, unstored);
}

/* ---- a pass */

static void drop_rows(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++)
		while (s->stream[i]->first)
			block_drop(&s->pool, stream_take(s->stream[i]));
	for (size_t i = 0; i < LANES_MAX; i++)
		lane_drop(s, &s->lane[i]);
	assert(s->pool.used == 0);
}

static void clear_done(struct sink *s)
{
	for (size_t i = 0; i < s->ndone; i++) {
		tally_clear(&s->done[i].rows);
		tally_clear(&s->done[i].unstored);
	}
}

void sink_begin(struct sink *s, bool careful)
{
	drop_rows(s);
	clear_done(s);
	s->bytes = 0;
	s->begun = false;
	s->careful = careful;
	s->turn++;
}

void sink_forget(struct sink *s)
{
	drop_rows(s);
	sweep(s);
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	sink_forget(s);
	clear_done(s);
	free(s->done);
	block_free_pool(&s->pool);
	free(s);
}

bool sink_full(const struct sink *s)
{
	return s->pool.used >= POOL_BYTES;
}

bool sink_has_beside(const struct sink *s, const struct stream *st)
{
	for (size_t i = 0; i < s->nstream && s->beside; i++) {
		const struct stream *other = s->stream[i];
		if (other != st && other->start_s == st->start_s && other->of == st->of &&
		    is_in_use(s, other))
			return true;
	}
	return false;
}

bool sink_idle(const struct sink *s)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		if (s->lane[i].current)
			return false;
	return s->pool.used == 0;
}

void sink_swallow(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++) {
		const struct stream *st = s->stream[i];
		for (const struct block *b = st->first; b && (!st->staged || st->kind); b = b->next)
			tally_add(&s->done[st->of].rows, st->table, (int64_t)b->nrows);
	}
	drop_rows(s);
}

const struct sink_done *sink_done(const struct sink *s, size_t of)
{
	static const struct sink_done none;

	return of < s->ndone ? &s->done[of] : &none;
}

int64_t sink_bytes(const struct sink *s)
{
	return s->bytes;
}

bool sink_begun(const struct sink *s)
{
	return s->begun;
}

bool sink_wrote(const struct sink *s, size_t of, int64_t start_s)
{
	for (size_t i = 0; i < s->nstream && s->swept != s->turn; i++)
		if (s->stream[i]->of == of && s->stream[i]->start_s == start_s &&
		    s->stream[i]->wrote == s->turn)
			return true;
	return s->swept == s->turn;
}
