/*
 * The destination: rows wait in blocks, a chain for each partition and column list (a stream),
 * and on each lane one COPY at a time takes them.
 *
 * Many small COPY commands are what costs the target. So COPY goes to the stream with most rows,
 * stays there while that has any, and moves on only to one that has enough to be worth it, or
 * when the pool runs short, or when no more rows will come. The pool is bounded: memory does not
 * grow with the batch. A row never spans two blocks; one that is larger gets a block of its size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define STREAMS_MAX 4096                /* partitions remembered at a time */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (8 * 1024 * 1024)    /* all blocks of waiting rows together */
#define SWITCH_BYTES (128 * 1024)       /* rows that must wait for a partition before COPY moves to it */
#define SLICE_BYTES (64 * 1024)         /* of a large block that libpq is handed at a time */
#define PLAN_MAX 64                     /* COPYs in one statement */
#define BUCKETS (2 * STREAMS_MAX)
#define TWINS_MAX (POOL_BYTES / BLOCK_BYTES / 4)        /* streams that may have another of binary rows */

/* len + 8 * nrows <= cap. Rows grow from the front of data, in a careful pass their events' ids
 * from its end. */
struct block {
	struct block *next;
	size_t len, nrows, cap;
	char data[];
};

#define BLOCK_CAP (BLOCK_BYTES - sizeof(struct block))
#define SMALL_CAP (BLOCK_BYTES / 4 - sizeof(struct block))      /* of the first block, where there may be many */

/* so that there is always a stream without rows to be forgotten */
_Static_assert(POOL_BYTES / SMALL_CAP + 1 < STREAMS_MAX, "every stream could hold rows");

struct stream {                         /* what every row needs comes first: one cache line of 400 streams */
	struct stream *next;            /* in its bucket */
	int64_t start_s;
	struct block *first, *last;
	size_t bytes;                   /* of rows that wait */
	enum binary_kind *kinds;        /* of its columns, NULL when its COPY takes text */
	uint64_t settled;               /* the last turn of the sink in which a COPY of it was over */
	uint32_t shape;
	bool told;                      /* sink_take_settled said so */
	unsigned char lane;

	struct stream *then;            /* in its lane's plan */
	uint64_t wrote;                 /* the last turn with a COPY of it */
	char *copy_sql;
	char table[NAME_BYTES_MAX + 1];
};

struct lane {                           /* a connection's COPY */
	struct stream *current;         /* whose COPY is open, or NULL */
	struct stream *plan;            /* whose COPYs come after it in the same statement */
	struct block *out;              /* the block being sent, or sent last while careful */
	size_t out_at;                  /* bytes of it handed over */
	size_t sent;                    /* bytes of the COPY's rows handed over */
};

struct sink {
	struct stream *bucket[BUCKETS];
	struct stream *stream[STREAMS_MAX];
	size_t nstream, nbinary;
	struct stream *found;           /* by the last sink_find */
	struct block *spare, *small;    /* blocks of BLOCK_CAP and of SMALL_CAP not in use */
	struct block *fresh;            /* no stream's, and not in use, before its first row is put */
	struct block *room;             /* where sink_room gave room: the stream's last, or fresh */
	size_t used;                    /* bytes of blocks in use */
	struct lane lane[LANES_MAX];
	bool careful, sent_any;
	uint64_t turn, swept;           /* counts sink_begin; the last turn in which streams were forgotten */
	struct tally rows;              /* that the target took since sink_begin, by its own count */
	int64_t sent_bytes;
};

/* ---- blocks */

static int64_t *block_id(struct block *b, size_t row)
{
	return (int64_t *)(void *)(b->data + b->cap) - 1 - row;
}

static bool block_fits(const struct block *b, size_t n)
{
	return b && b->len + n + sizeof(int64_t) * (b->nrows + 1) <= b->cap;
}

/* Where blocks of this size wait to be used again, NULL for those that are made for a row. */
static struct block **spares(struct sink *s, size_t cap)
{
	return cap == BLOCK_CAP ? &s->spare : cap == SMALL_CAP ? &s->small : NULL;
}

/* Of cap bytes, or more if n need them. Whoever uses it counts it. */
static struct block *block_take(struct sink *s, size_t n, size_t cap)
{
	if (n + sizeof(int64_t) > cap)
		cap = BLOCK_CAP;
	if (n + sizeof(int64_t) > cap)
		cap = (n + 2 * sizeof(int64_t)) & ~(sizeof(int64_t) - 1);
	struct block **spare = spares(s, cap), *b = spare ? *spare : NULL;
	if (b)
		*spare = b->next;
	else
		b = mem_alloc(sizeof *b + cap);
	b->next = NULL;
	b->len = b->nrows = 0;
	b->cap = cap;
	return b;
}

static void block_give(struct sink *s, struct block *b)
{
	struct block **spare = b ? spares(s, b->cap) : NULL;

	if (!spare) {
		free(b);
		return;
	}
	b->next = *spare;
	*spare = b;
}

static void block_drop(struct sink *s, struct block *b)
{
	s->used -= b ? b->cap : 0;
	block_give(s, b);
}

/* ---- streams */

static struct stream **bucket_of(struct sink *s, int64_t start_s, uint32_t shape)
{
	uint64_t h = ((uint64_t)start_s / 3600 + (uint64_t)shape * 7919) * UINT64_C(0x9e3779b97f4a7c15);

	return &s->bucket[(h >> 32) % BUCKETS];
}

struct sink *sink_new(void)
{
	struct sink *s = mem_alloc(sizeof *s);

	memset(s, 0, sizeof *s);
	s->turn = 1;
	return s;
}

static void drop_rows(struct sink *s, struct stream *st)
{
	while (st->first) {
		struct block *b = st->first;
		st->first = b->next;
		block_drop(s, b);
	}
	st->last = NULL;
	st->bytes = 0;
}

static void copy_is_over(struct sink *s, struct lane *l)
{
	block_drop(s, l->out);
	l->out = NULL;
	l->sent = 0;
	l->current = l->plan;
	if (l->plan)
		l->plan = l->plan->then;
}

void sink_discard(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++)
		drop_rows(s, s->stream[i]);
	block_give(s, s->fresh);
	s->fresh = NULL;
	for (size_t i = 0; i < LANES_MAX; i++) {
		s->lane[i].plan = NULL;
		copy_is_over(s, &s->lane[i]);
	}
}

static bool is_current(const struct sink *s, const struct stream *st)
{
	return s->lane[st->lane].current == st;
}

/* Forgets the streams in which no rows wait, of binary COPYs or all. */
static void sweep(struct sink *s, bool binary)
{
	size_t kept = 0;

	memset(s->bucket, 0, sizeof s->bucket);
	for (size_t i = 0; i < s->nstream; i++) {
		struct stream *st = s->stream[i];
		if (!st->first && !is_current(s, st) && (st->kinds || !binary)) {
			s->nbinary -= st->kinds != NULL;
			free(st->kinds);
			free(st->copy_sql);
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
	if (!binary)
		s->swept = s->turn;
}

void sink_forget(struct sink *s)
{
	sink_discard(s);
	sweep(s, false);
}

static void free_all(struct block *b)
{
	while (b) {
		struct block *next = b->next;
		free(b);
		b = next;
	}
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	sink_forget(s);
	tally_clear(&s->rows);
	free_all(s->spare);
	free_all(s->small);
	free(s);
}

struct stream *sink_find(struct sink *s, int64_t start_s, uint32_t shape)
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

struct stream *sink_add(struct sink *s, int64_t start_s, uint32_t shape, size_t lane, struct span table,
	const char *copy_sql)
{
	struct stream **at, *st = mem_alloc(sizeof *st);

	if (s->nstream == STREAMS_MAX)
		sweep(s, false);
	at = bucket_of(s, start_s, shape);
	*st = (struct stream){
		.next = *at, .start_s = start_s, .shape = shape, .lane = (unsigned char)lane,
		.copy_sql = mem_str(copy_sql, strlen(copy_sql)),
	};
	snprintf(st->table, sizeof st->table, "%.*s", (int)table.n, table.p);
	*at = st;
	s->stream[s->nstream++] = st;
	return st;
}

void sink_set_binary(struct sink *s, struct stream *st, enum binary_kind *kinds)
{
	st->kinds = kinds;
	s->nbinary++;
}

const enum binary_kind *sink_kinds(const struct stream *st)
{
	return st->kinds;
}

/* Streams in which rows wait; each holds a block at least. */
static size_t count_waiting(const struct sink *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nstream; i++)
		n += s->stream[i]->first != NULL;
	return n;
}

bool sink_take_settled(const struct sink *s, struct stream *st)
{
	if (st->settled != s->turn || st->told)
		return false;
	st->told = true;
	return count_waiting(s) <= TWINS_MAX;
}

/* ---- rows */

char *sink_room(struct sink *s, struct stream *st, size_t n)
{
	s->room = st->last;
	if (!block_fits(s->room, n)) {
		if (!block_fits(s->fresh, n)) {
			block_give(s, s->fresh);
			s->fresh = block_take(s, n, st->last || s->careful || is_current(s, st) ? BLOCK_CAP : SMALL_CAP);
		}
		s->room = s->fresh;
	}
	return s->room->data + s->room->len;
}

static void append_fresh(struct sink *s, struct stream *st)
{
	if (st->last)
		st->last->next = s->fresh;
	else
		st->first = s->fresh;
	st->last = s->fresh;
	s->used += s->fresh->cap;
	s->fresh = NULL;
}

void sink_put(struct sink *s, struct stream *st, size_t n, int64_t event_id)
{
	struct block *b = s->room;

	if (b == s->fresh)
		append_fresh(s, st);
	if (s->careful)
		*block_id(b, b->nrows) = event_id;
	b->nrows++;
	b->len += n;
	st->bytes += n;
}

bool sink_full(const struct sink *s)
{
	return s->used >= POOL_BYTES;
}

bool sink_idle(const struct sink *s)
{
	for (size_t i = 0; i < LANES_MAX; i++)
		if (s->lane[i].current)
			return false;
	return s->used == 0;
}

size_t sink_lane(const struct stream *st)
{
	return st->lane;
}

const char *sink_table(const struct stream *st)
{
	return st->table;
}

bool sink_sent_any(const struct sink *s)
{
	return s->sent_any;
}

bool sink_wrote(const struct sink *s, int64_t start_s)
{
	for (size_t i = 0; i < s->nstream && s->swept != s->turn; i++)
		if (s->stream[i]->start_s == start_s && s->stream[i]->wrote == s->turn)
			return true;
	return s->swept == s->turn;
}

int64_t sink_sent_bytes(const struct sink *s)
{
	return s->sent_bytes;
}

void sink_begin(struct sink *s, bool careful)
{
	if (s->nbinary)         /* a table may have other columns by now */
		sweep(s, true);
	s->turn++;
	s->careful = careful;
	s->sent_any = false;
	s->sent_bytes = 0;
	tally_clear(&s->rows);
}

const struct tally *sink_tally(const struct sink *s)
{
	return &s->rows;
}

void sink_swallow(struct sink *s)
{
	for (size_t i = 0; i < s->nstream; i++)
		for (const struct block *b = s->stream[i]->first; b; b = b->next)
			tally_add(&s->rows, s->stream[i]->table, (int64_t)b->nrows);
	sink_discard(s);
}

/* ---- the COPY */

/* The lane's stream with most rows, NULL when none has any. */
static struct stream *fullest(struct sink *s, size_t lane)
{
	struct stream *best = NULL;

	for (size_t i = 0; i < s->nstream; i++)
		if (s->stream[i]->lane == lane && s->stream[i]->bytes > (best ? best->bytes : 0))
			best = s->stream[i];
	return best;
}

/* The stream that a COPY should move to, NULL while waiting for more rows is better. */
static struct stream *worthwhile(struct sink *s, size_t lane, bool drain)
{
	struct stream *st = fullest(s, lane);

	return st && (drain || st->bytes >= SWITCH_BYTES || s->used >= POOL_BYTES / 2) ? st : NULL;
}

static bool block_is_sent(const struct lane *l)
{
	return !l->out || l->out_at == l->out->len;
}

/* A table's first COPY does not take all the rows there are: what comes after it may be binary. */
static bool is_first_and_long(const struct sink *s, const struct lane *l)
{
	return l->sent >= SWITCH_BYTES && !l->current->kinds && l->current->settled != s->turn;
}

/* Is it time to end the open COPY? Only between blocks: a row must not be cut. */
static bool should_end(struct sink *s, const struct lane *l, bool drain, bool stopped)
{
	if (!block_is_sent(l))
		return false;
	if (stopped || (s->careful && l->out) || is_first_and_long(s, l))
		return true;
	return l->current->bytes == 0 && (drain || l->plan || worthwhile(s, l->current->lane, drain));
}

/* The stream's first block becomes the one to send. */
static void take_out(struct lane *l)
{
	struct stream *st = l->current;

	l->out = st->first;
	l->out_at = 0;
	st->first = l->out->next;
	if (!st->first)
		st->last = NULL;
	st->bytes -= l->out->len;
}

static int send_some(struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	if (block_is_sent(l)) {
		block_drop(s, l->out);
		take_out(l);
	}
	if (l->sent == 0 && l->current->kinds && pq_copy_put(dst, BINARY_HEADER, sizeof BINARY_HEADER, e) < 0)
		return e->code;
	size_t n = l->out->len - l->out_at;
	if (n > SLICE_BYTES)
		n = SLICE_BYTES;
	l->out_at += n;
	l->sent += n;
	s->sent_bytes += (int64_t)n;
	if (pq_copy_put(dst, l->out->data + l->out_at - n, n, e) < 0)
		return e->code;
	if (block_is_sent(l) && !s->careful) {        /* libpq has a copy; its room is needed for rows */
		block_drop(s, l->out);
		l->out = NULL;
	}
	return 0;
}

/* ---- the row at fault */

static size_t row_at(const struct block *b, size_t row)
{
	const char *p = b->data;

	while (row--)
		p = (const char *)memchr(p, '\n', (size_t)(b->data + b->len - p)) + 1;
	return (size_t)(p - b->data);
}

static void put_back(struct stream *st, struct block *b)
{
	b->next = st->first;
	st->first = b;
	if (!st->last)
		st->last = b;
	st->bytes += b->len;
}

/* The rows from `row` on become a block of their own. */
static struct block *cut(struct sink *s, struct block *b, size_t row)
{
	size_t at = row_at(b, row), n = b->len - at;
	struct block *rest = block_take(s, n + sizeof(int64_t) * (b->nrows - row), BLOCK_CAP);

	s->used += rest->cap;
	memcpy(rest->data, b->data + at, n);
	rest->len = n;
	for (size_t i = row; i < b->nrows; i++)
		*block_id(rest, rest->nrows++) = *block_id(b, i);
	b->len = at;
	b->nrows = row;
	return rest;
}

static int to_savepoint(struct pq *dst, struct err *e)
{
	return pq_query(dst, "ROLLBACK TO SAVEPOINT tdispatch; RELEASE SAVEPOINT tdispatch", e);
}

/* The careful COPY's block of several rows goes back to its stream in parts: before the line that
 * the server named, that row, and what is after it; else in halves. The line is no more than a
 * hint: it is read from a text that values and triggers can write to. Only what fails alone is at
 * fault. */
static int divide(struct sink *s, struct lane *l, struct pq *dst, const struct sink_fault *fault, struct err *e)
{
	struct stream *st = l->current;
	struct block *b = l->out;
	size_t row = fault->line && fault->line <= b->nrows ? fault->line - 1 : b->nrows / 2;

	l->out = NULL;
	l->current = NULL;
	if (fault->line && row + 1 < b->nrows)
		put_back(st, cut(s, b, row + 1));
	if (row > 0)
		put_back(st, cut(s, b, row));
	put_back(st, b);
	return to_savepoint(dst, e);
}

int sink_leave_out(struct sink *s, size_t lane, struct pq *dst, struct err *e)
{
	struct lane *l = &s->lane[lane];

	block_drop(s, l->out);
	l->out = NULL;
	l->current = NULL;
	return to_savepoint(dst, e);
}

/* A row that is alone is the one at fault. An error of shape, all rows of the stream share. */
static void find_row(struct lane *l, int64_t line, struct sink_fault *fault, const struct err *e)
{
	if (!l->out)                    /* it failed before a row was sent */
		take_out(l);
	fault->line = line > 0 ? (size_t)line : 0;
	if (l->out->nrows == 1 || e->code == ERR_SHAPE)
		fault->event = *block_id(l->out, 0);
}

/* A COPY's error of no known class: a trigger's own code, say. Not the server's own troubles. */
static bool is_rows_fault(const char *sqlstate)
{
	static const char *const server[] = { "XX", "58", "57", "25" };

	for (size_t i = 0; i < sizeof server / sizeof *server; i++)
		if (strncmp(sqlstate, server[i], 2) == 0)
			return false;
	return *sqlstate;
}

static int at_fault(struct sink *s, struct lane *l, struct pq *dst, struct sink_fault *fault, struct err *e)
{
	struct span table = span_of(l->current->table), value = pq_error_value(dst, table);
	const char *column = pq_error_column(dst, table);
	struct buf shown = { 0 };

	*fault = (struct sink_fault){ .event = -1 };
	memcpy(fault->table, l->current->table, sizeof fault->table);
	snprintf(fault->column, sizeof fault->column, "%s", column ? column : "");
	buf_printable(&shown, value, sizeof fault->value / 2);
	snprintf(fault->value, sizeof fault->value, "%s", buf_cstr(&shown));
	buf_free(&shown);
	if (e->code == ERR_OTHER && is_rows_fault(e->sqlstate))
		e->code = ERR_DATA;
	if (s->careful)
		find_row(l, pq_error_line(dst, table), fault, e);
	return e->code;
}

/* One move of the open COPY. 1 when there may be another at once, 0 when it must wait. */
static int advance(struct sink *s, struct lane *l, struct pq *dst, bool drain, struct err *e)
{
	bool stopped;
	int step = pq_copy_step(dst, &stopped, e);

	if (step == PQ_END) {
		tally_add(&s->rows, l->current->table, pq_copied(dst));
		l->current->told = l->current->told && l->current->settled == s->turn;
		l->current->settled = s->turn;
		copy_is_over(s, l);
	}
	if (step != PQ_READY)
		return step == PQ_END ? 1 : step;
	if (!should_end(s, l, drain, stopped)) {
		if (block_is_sent(l) && l->current->bytes == 0)
			return 0;
		if (send_some(s, l, dst, e) < 0)
			return e->code;
		/* the last rows and the end go in one packet */
		if (!should_end(s, l, drain, false))
			return 1;
	}
	return pq_copy_end(dst, e) < 0 ? e->code : 1;
}

/* Begins a COPY to the current stream. The streams that are worth one too get theirs in the same
 * statement: the server goes from one to the next without a word from us, a round trip less. */
static int begin_copy(struct sink *s, size_t lane, struct pq *dst, bool drain, struct err *e)
{
	struct lane *l = &s->lane[lane];
	struct stream **last = &l->plan;
	struct buf sql = { 0 };
	size_t least = drain ? 1 : l->current->bytes / 2 < SWITCH_BYTES ? l->current->bytes / 2 + 1 : SWITCH_BYTES;
	int copies = 1;

	/* the rows that a careful COPY brought in survive the next one's failure */
	buf_fmt(&sql, s->careful ? "SAVEPOINT tdispatch; %s; RELEASE SAVEPOINT tdispatch" : "%s", l->current->copy_sql);
	for (size_t i = 0; !s->careful && i < s->nstream && copies < PLAN_MAX; i++) {
		struct stream *st = s->stream[i];
		if (st->lane != lane || st->bytes < least || st == l->current)
			continue;
		buf_fmt(&sql, "; %s", st->copy_sql);
		st->then = NULL;
		st->wrote = s->turn;
		*last = st;
		last = &st->then;
		copies++;
	}
	s->sent_any = true;
	l->sent = 0;
	l->current->wrote = s->turn;
	pq_copy_in(dst, buf_cstr(&sql), copies, e);
	buf_free(&sql);
	return e->code;
}

int sink_pump(struct sink *s, size_t lane, struct pq *dst, bool drain, struct sink_fault *fault, struct err *e)
{
	struct lane *l = &s->lane[lane];

	for (;;) {
		if (!l->current) {
			l->current = worthwhile(s, lane, drain);
			if (!l->current)
				return 0;
			if (begin_copy(s, lane, dst, drain, e) < 0)
				return e->code;
		}
		int moved = advance(s, l, dst, drain, e);
		if (moved == 0)
			return 0;
		if (moved > 0)
			continue;
		if (at_fault(s, l, dst, fault, e) != ERR_DATA || !s->careful || fault->event >= 0)
			return e->code;
		*e = (struct err){ 0 };
		if (divide(s, l, dst, fault, e) < 0)
			return e->code;
	}
}
