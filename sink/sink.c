/*
 * The sink: rows wait in streams, one for each partition and shape (stream.c), in blocks of a pool
 * of bounded size (block.c), until the COPY of their lane sends them (lane.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct sink *sink_new(const struct sink_types *types)
{
	struct sink *s = mem_alloc(sizeof *s);

	memset(s, 0, sizeof *s);
	if (types)
		s->types = *types;
	s->turn = s->known = 1;
	return s;
}

/* ---- streams */

static uint64_t key_of(int64_t start_s, uint64_t number)
{
	return (uint64_t)start_s * UINT64_C(0x9e3779b97f4a7c15) + number;
}

static bool is_in_use(const struct sink *s, const struct stream *st)
{
	const struct stream *current = s->lane[st->lane].current, *suspects = st->suspects;

	return st->first || st->joined || current == st ||
		(suspects && (suspects->first || current == suspects));
}

/* Frees the list with its last stream. */
static void leave_columns(struct sink *s, struct shared_list *list)
{
	if (--list->users > 0)
		return;
	hash_remove(&s->lists, &list->link);
	while (list->kinds) {
		struct shared_kinds *next = list->kinds->next;
		free(list->kinds);
		list->kinds = next;
	}
	free(list);
}

static void leave_part(struct sink *s, struct sink_part *part)
{
	if (--part->streams > 0)
		return;
	hash_remove(&s->parts, &part->link);
	free(part);
}

/* No stream that another has joined is dropped before that. */
static void leave_joined(struct stream *st)
{
	struct stream **at = &st->columns->joined;

	if (st->into)
		st->into->joined--;
	while (*at && *at != st)
		at = &(*at)->other;
	if (*at)
		*at = st->other;
}

static void drop_stream(struct sink *s, struct stream *st)
{
	leave_joined(st);
	hash_remove(&s->streams, &st->link);
	leave_part(s, st->whole);
	leave_columns(s, st->columns);
	free(st->suspects);
	free(st->target);
	free(st);
}

static void forget_ended(struct sink *s)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		s->lane[i].ended = NULL;
}

static void collect(const struct sink *);

/* Forgets the streams in which no rows wait. */
static void sweep(struct sink *s)
{
	size_t kept = 0;

	collect(s);
	forget_ended(s);
	for (size_t i = s->nstream; i-- > 0;)   /* those that came later have joined */
		if (!is_in_use(s, s->stream[i])) {
			drop_stream(s, s->stream[i]);
			s->stream[i] = NULL;
		}
	for (size_t i = 0; i < s->nstream; i++) {
		struct stream *st = s->stream[i];
		if (!st)
			continue;
		if (st->settled == s->turn && st->looked != s->turn && !st->staged &&
		    !sink_typed(s, st))
			lane_ended(s, st);
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
	st = (struct stream *)hash_find(&s->streams, key_of(start_s, shape));
	while (st && (st->start_s != start_s || st->shape != shape))
		st = (struct stream *)hash_next(&st->link);
	if (st)
		s->found = st;
	return st;
}

/* The column list that other streams of the shape have, or a copy of text. */
static struct shared_list *share_columns(struct sink *s, uint64_t shape, const char *text)
{
	struct shared_list *list = (struct shared_list *)hash_find(&s->lists, shape);

	if (!list) {
		list = mem_alloc(sizeof *list + strlen(text) + 1);
		list->users = 0;
		list->kinds = NULL;
		list->joined = NULL;
		memcpy(list->text, text, strlen(text) + 1);
		hash_add(&s->lists, &list->link, shape);
	}
	list->users++;
	return list;
}

/* The partition, or NULL. */
static struct sink_part *find_part(const struct sink *s, size_t of, int64_t start_s)
{
	struct sink_part *part = (struct sink_part *)hash_find(&s->parts, key_of(start_s, of));

	while (part && (part->start_s != start_s || part->of != of))
		part = (struct sink_part *)hash_next(&part->link);
	return part;
}

static struct sink_part *enter_part(struct sink *s, size_t of, int64_t start_s, struct span table)
{
	struct sink_part *part = find_part(s, of, start_s);

	if (!part) {
		part = mem_alloc(sizeof *part);
		*part = (struct sink_part){ .start_s = start_s, .of = (uint32_t)of };
		snprintf(part->table, sizeof part->table, "%.*s", (int)table.n, table.p);
		hash_add(&s->parts, &part->link, key_of(start_s, of));
	}
	part->streams++;
	return part;
}

/* Makes room for the destination's rows to be counted. */
static void count_for(struct sink *s, size_t of)
{
	while (s->ndone <= of) {
		s->done = mem_grow(s->done, s->ndone, &s->done_cap, sizeof *s->done);
		s->done[s->ndone++] = (struct sink_done){ .trust = TRUST_FIRST };
	}
}

struct stream *sink_add(struct sink *s, size_t of, int64_t start_s, uint64_t shape, size_t lane,
	struct span table, const char *target, const char *columns)
{
	struct stream *st = mem_alloc(sizeof *st);

	if (s->nstream == STREAMS_MAX)
		sweep(s);
	assert(lane < LANES_MAX && s->nstream < STREAMS_MAX);
	count_for(s, of);
	*st = (struct stream){
		.start_s = start_s, .shape = shape, .lane = (unsigned char)lane,
		.of = (uint32_t)of,
		.target = mem_text(target),
		.columns = share_columns(s, shape, columns),
		.whole = enter_part(s, of, start_s, table),
	};
	st->table = st->whole->table;
	hash_add(&s->streams, &st->link, key_of(start_s, shape));
	s->stream = mem_grow(s->stream, s->nstream, &s->stream_cap, sizeof(struct stream *));
	s->stream[s->nstream++] = st;
	return st;
}

void sink_stage(struct stream *st, int32_t part, size_t kind)
{
	st->staged = true;
	st->part = part;
	st->kind = (int32_t)kind;
}

void sink_join(struct stream *st)
{
	struct stream *to = st->columns->joined;

	while (to && to->lane != st->lane)
		to = to->other;
	if (to) {
		st->into = to;
		to->joined++;
		return;
	}
	st->other = st->columns->joined;
	st->columns->joined = st;
}

void sink_unstage(struct sink *s, size_t of)
{
	for (size_t i = 0; i < s->nstream; i++)
		if (s->stream[i]->staged && s->stream[i]->of == of)
			s->stream[i]->looked = 0;
	for (size_t i = 0; i < LANES_MAX; i++)
		s->lane[i].saved = 0;
}

/* ---- rows by partition */

static int compare_parts(const void *a, const void *b)
{
	const struct sink_part *x = *(struct sink_part *const *)a;
	const struct sink_part *y = *(struct sink_part *const *)b;

	return x->of != y->of ? (x->of > y->of) - (x->of < y->of) : strcmp(x->table, y->table);
}

/* All partitions by their destinations and names, as tallies are sorted. The caller frees it. */
static struct sink_part **sorted_parts(const struct sink *s)
{
	struct sink_part **list = mem_alloc((s->parts.n + 1) * sizeof(struct sink_part *));
	size_t n = 0;

	for (size_t i = 0; i < s->parts.size; i++)
		for (struct hash_link *at = s->parts.bucket[i]; at; at = at->next)
			list[n++] = (struct sink_part *)at;
	qsort(list, n, sizeof(struct sink_part *), compare_parts);
	return list;
}

static void add_rows(struct sink_done *done, const char *table, int64_t stored, int64_t unstored)
{
	tally_add(&done->rows, table, stored);
	if (unstored > 0)
		tally_add(&done->unstored, table, unstored);
}

/* Brings the counts of the partitions into the tallies. */
static void collect(const struct sink *s)
{
	bool behind = false;

	for (size_t i = 0; i < s->ndone; i++)
		behind |= s->done[i].behind;
	if (!behind)
		return;
	struct sink_part **list = sorted_parts(s);
	for (size_t i = 0; i < s->parts.n; i++) {
		struct sink_part *part = list[i];
		if (part->counted)
			add_rows(&s->done[part->of], part->table, part->stored,
				part->unstored);
		part->stored = part->unstored = 0;
		part->counted = false;
	}
	free(list);
	for (size_t i = 0; i < s->ndone; i++)
		s->done[i].behind = false;
}

void sink_count(struct sink *s, size_t of, const char *table, int64_t stored, int64_t unstored)
{
	add_rows(&s->done[of], table, stored, unstored);
}

/* ---- a pass */

static void drop_blocks(struct sink *s, struct stream *st)
{
	while (st->first)
		block_drop(&s->pool, stream_take(s, st));
}

static void drop_rows(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++) {
		drop_blocks(s, s->stream[i]);
		if (s->stream[i]->suspects)
			drop_blocks(s, s->stream[i]->suspects);
	}
	for (size_t i = 0; i < LANES_MAX; i++)
		lane_drop(s, &s->lane[i]);
	assert(s->pool.used == 0 && s->held == 0);
}

static void clear_done(struct sink *s)
{
	for (size_t i = 0; i < s->ndone; i++) {
		tally_clear(&s->done[i].rows);
		tally_clear(&s->done[i].unstored);
	}
}

void sink_begin(struct sink *s, bool careful, bool ordered)
{
	drop_rows(s);
	forget_ended(s);
	collect(s);
	clear_done(s);
	s->bytes = 0;
	s->begun = false;
	s->careful = careful;
	s->ordered = ordered;
	s->turn++;
	s->known_before = s->known++;
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
	free(s->stream);
	hash_clear(&s->streams);
	hash_clear(&s->parts);
	hash_clear(&s->lists);
	block_free_pool(&s->pool);
	free(s);
}

bool sink_full(const struct sink *s)
{
	return s->pool.used >= sink_room(s) || s->waiting >= WAITING_MAX;
}

bool sink_has_beside(const struct sink *s, const struct stream *st)
{
	if (st->whole->waiting > (st->first != NULL))
		return true;
	for (size_t i = 0; i < LANES_MAX; i++) {
		const struct stream *other = s->lane[i].current;
		if (other && other != st && other->whole == st->whole)
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

/* Counts the rows that wait, as if they were sent. */
static void count_waiting(struct sink *s, const struct stream *st)
{
	for (const struct block *b = st->first; b && (!st->staged || st->kind); b = b->next)
		lane_count(s, st, (int64_t)b->nrows, 0);
}

void sink_swallow(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++) {
		count_waiting(s, s->stream[i]);
		if (s->stream[i]->suspects)
			count_waiting(s, s->stream[i]->suspects);
	}
	drop_rows(s);
}

const struct sink_done *sink_done(const struct sink *s, size_t of)
{
	static const struct sink_done none;

	collect(s);
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
	const struct sink_part *part = find_part(s, of, start_s);

	return s->swept == s->turn || (part && part->wrote == s->turn);
}
