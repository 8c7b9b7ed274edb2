/*
 * A stream: rows of one shape that wait for one partition, in the order in which they were read,
 * encoded for COPY.
 *
 * While the types of the table's columns are not known, the rows are text. After a COPY to the
 * table our lock freezes its columns; if all their types are known then, further rows are binary,
 * which costs the target less. A row with a value that only the server can parse is suspect: most
 * such rows are bad. It waits apart until no more rows will come, or until many such wait, and is
 * sent by a careful COPY then, so that a bad one costs no second pass.
 *
 * Where many rows are suspect, the client may just not know their notation, and careful COPYs cost
 * as much as hundreds of rows each. There, and where the order counts, a suspect row goes as text
 * among the others, and so do those after it for a while, longer each time: changing the format
 * costs a COPY.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* A destination is trusted to have few suspect rows, or bad ones: each binary row adds 1, each row
 * that is refused TRUST_COPY, up to TRUST_MAX. */
#define TRUST_MAX 65536
#define TRUST_COPY 512                  /* price of the first row that waits apart in a stream, */
#define TRUST_ROW 16                    /* and of each further one */

static bool is_current(const struct sink *s, const struct stream *st)
{
	return s->lane[st->lane].current == st;
}

/* Where its rows wait. */
static struct stream *queue_of(const struct sink *s, struct stream *st)
{
	if (!st->into || s->careful)
		return st;
	st->whole->wrote = s->turn;
	return st->into;
}

/* How large a block the stream gets. Where rows wait in many streams, most have few of them, as
 * have those of suspects. Each block of a careful stream is a COPY, so they grow sooner. */
static enum block_size size_for(const struct sink *s, const struct stream *st, bool more)
{
	size_t bytes = sink_careful(s, st) ? 16 * st->bytes : st->bytes;

	if (s->waiting < MANY && !st->suspect)
		return more ? BLOCK_FULL : BLOCK_SMALL;
	return bytes < BLOCK_BYTES / 2 ? BLOCK_TINY : bytes < 2 * BLOCK_BYTES ? BLOCK_SMALL :
		BLOCK_FULL;
}

/* A block with room for a row of n bytes: the last one, or a new one that append makes the last. */
static struct block *room(struct sink *s, const struct stream *st, size_t n, bool binary)
{
	struct block *b = st->last;

	if (b && b->binary == binary && block_fits(b, n))
		return b;
	bool more = (b && b->binary == binary) || s->careful || is_current(s, st);
	b = block_take(&s->pool, n, size_for(s, st, more));
	b->binary = binary;
	return b;
}

/* A block of the stream waits. */
static void hold(struct sink *s, const struct stream *st, const struct block *b)
{
	if (st->suspect)
		s->held += b->cap;
	s->held_long |= s->held > HELD_BYTES;
}

/* Adds the row whose n bytes were written at the end of b, a block from room(). */
static void append(struct sink *s, struct stream *st, struct block *b, size_t n, int64_t event_id)
{
	assert(block_fits(b, n));
	if (b != st->last) {
		if (st->last)
			st->last->next = b;
		else
			st->first = b;
		st->last = b;
		hold(s, st, b);
	}
	if (sink_careful(s, st))
		*block_id(b, b->nrows) = event_id;
	b->nrows++;
	b->len += n;
	st->nrows++;
	st->bytes += n;
	level_set(s, st);
}

/* Drops a block from room() in which no row was completed. */
static void give_up(struct sink *s, const struct stream *st, struct block *b)
{
	if (b != st->last)
		block_drop(&s->pool, b);
}

/* ---- the two formats */

#define STAGED_ROOM 64                  /* bytes of the numbers of a staged row, in either format */

/* What a staged row says besides. */
static size_t put_numbers(char *out, const struct stream *st, const struct event *ev)
{
	size_t n = told_number(out, ev->id);

	out[n++] = '\t';
	n += told_number(out + n, st->part);
	out[n++] = '\t';
	n += told_number(out + n, st->kind);
	out[n++] = '\t';
	return n;
}

static size_t put_binary_numbers(char *out, const struct stream *st, const struct event *ev)
{
	size_t n = told_binary_number(out, ev->id, sizeof ev->id);

	n += told_binary_number(out + n, st->part, sizeof st->part);
	return n + told_binary_number(out + n, st->kind, sizeof st->kind);
}

/* Bytes that a line of text needs at most. A column may be asked for twice, so the length of the
 * event is no bound. */
static size_t text_room(const struct shape *shape, const struct span *values,
	const struct event *ev)
{
	size_t most = 0, own = shape->n - shape->nword;

	for (size_t i = 0; i < own; i++)
		most += 2 * values[i].n + 3;
	for (size_t i = 0; i < shape->nword; i++)
		most += told_room(ev, shape->word[i].told) + 1;
	return most;
}

static char *put_words(char *out, const struct shape *shape, const struct event *ev)
{
	for (size_t i = 0; i < shape->nword; i++) {
		out += told_copy(out, ev, shape->word[i].told);
		*out++ = '\t';
	}
	return out;
}

static int put_text(struct sink *s, struct stream *st, const struct shape *shape,
	enum format format, const struct span *values, const struct event *ev, struct err *e)
{
	size_t most = text_room(shape, values, ev) + (st->staged ? STAGED_ROOM : 0);
	size_t own = shape->n - shape->nword;
	struct stream *to = queue_of(s, st);
	struct block *b = room(s, to, most, false);
	char *start = b->data + b->len, *out = start;

	for (size_t i = 0; i < own; i++) {
		size_t bad;
		ssize_t n = 2;
		if (values[i].p)
			n = format_copy(out, format, values[i], &bad);
		else
			memcpy(out, "\\N", 2);
		if (n < 0) {
			give_up(s, to, b);
			return format_refuse(format, ev->data, values[i], bad, &shape->target[i],
				e);
		}
		out += n;
		*out++ = '\t';
	}
	out = put_words(out, shape, ev);
	if (st->staged)
		out += put_numbers(out, st, ev);
	out[-1] = '\n';
	size_t n = (size_t)(out - start);
	assert(n <= most);
	to->text_left -= to->text_left < n ? to->text_left : n;
	append(s, to, b, n, ev->id);
	return 0;
}

/* false, and nothing is appended, when the row must go as text. */
static bool put_binary(struct sink *s, struct stream *st, const struct shape *shape,
	enum format format, const struct span *values, const struct event *ev)
{
	size_t most = sizeof(uint16_t) + (st->staged ? STAGED_ROOM : 0);
	size_t own = shape->n - shape->nword, more = st->staged ? STAGE_COLUMNS : 0;

	for (size_t i = 0; i < own; i++)
		most += binary_room(values[i]);
	for (size_t i = 0; i < shape->nword; i++)
		most += BINARY_WORD + told_room(ev, shape->word[i].told);
	struct stream *to = queue_of(s, st);
	struct block *b = room(s, to, most, true);
	char *start = b->data + b->len, *out = start + binary_begin_row(start, shape->n + more);
	for (size_t i = 0; i < shape->n; i++) {
		ssize_t n = i < own ? binary_put(out, to->kinds[i], format, values[i]) :
			told_binary(out, to->kinds[i], ev, shape->word[i - own].told);
		if (n < 0) {
			give_up(s, to, b);
			return false;
		}
		out += n;
	}
	if (st->staged)
		out += put_binary_numbers(out, st, ev);
	assert((size_t)(out - start) <= most);
	append(s, to, b, (size_t)(out - start), ev->id);
	return true;
}

/* Takes over kinds, of n columns. */
static const enum binary_kind *share_kinds(struct shared_list *list, struct shared_kinds *kinds,
	size_t n)
{
	for (const struct shared_kinds *k = list->kinds; k; k = k->next)
		if (memcmp(k->at, kinds->at, n * sizeof *k->at) == 0) {
			free(kinds);
			return k->at;
		}
	kinds->next = list->kinds;
	list->kinds = kinds;
	return kinds->at;
}

static void ask_for_kinds(struct sink *s, struct stream *st, const struct shape *shape)
{
	struct shared_kinds *kinds = mem_alloc(sizeof *kinds + shape->n * sizeof *kinds->at);

	st->asked = s->known;
	st->typed = st->staged ?
		s->types.stage_kinds(s->types.arg, st->lane, st->of, shape, kinds->at) :
		s->types.kinds(s->types.arg, st->of, st->start_s, st->table, shape, kinds->at);
	if (st->typed)
		st->kinds = share_kinds(st->columns, kinds, shape->n);
	else
		free(kinds);
	st->text_left = 0;
	st->text_run = SWITCH_BYTES;
	if (st->typed)
		log_debug("partition %s: further rows of this batch go as binary values",
			st->table);
}

/* May the next row be binary? Not in a careful pass: there the server says which row failed. */
static bool takes_binary(struct sink *s, struct stream *st, const struct shape *shape)
{
	bool may_ask = st->staged ? st->looked == s->turn : s->types.kinds != NULL;

	if (!may_ask || s->careful)
		return false;
	if (!sink_typed(s, st) && st->asked != s->known)
		ask_for_kinds(s, st, shape);
	return sink_typed(s, st) && st->text_left == 0;
}

/* ---- rows that are suspect */

static void add_trust(struct sink *s, const struct stream *st, uint32_t more)
{
	struct sink_done *done = &s->done[st->of];

	done->trust = done->trust + more < TRUST_MAX ? done->trust + more : TRUST_MAX;
}

void stream_refused(struct sink *s, const struct stream *st)
{
	if (st->suspect)
		add_trust(s, st, TRUST_COPY);
}

static void add_suspects(struct stream *st)
{
	st->suspects = mem_alloc(sizeof *st);
	*st->suspects = (struct stream){
		.lane = st->lane, .of = st->of, .table = st->table, .target = st->target,
		.columns = st->columns, .whole = st->whole, .suspect = true,
	};
}

static uint32_t price_of(const struct stream *st)
{
	return st->suspects && st->suspects->first ? TRUST_ROW : TRUST_COPY;
}

/* May the stream's suspect row wait apart? Not one with columns that its event lacks: if these are
 * refused, that is not the event's fault, and only a careful pass is without them. */
static bool waits_apart(const struct sink *s, const struct stream *st, const struct shape *shape)
{
	return !s->ordered && !st->staged && !shape->filled &&
		s->done[st->of].trust >= price_of(st);
}

/* As stream_put. */
static int put_suspect(struct sink *s, struct stream *st, const struct shape *shape,
	enum format format, const struct span *values, const struct event *ev, struct err *e)
{
	uint32_t price = price_of(st);

	if (!st->suspects)
		add_suspects(st);
	if (put_text(s, st->suspects, shape, format, values, ev, e) == 0)
		s->done[st->of].trust -= price;
	return e->code;
}

int stream_put(struct sink *s, struct stream *st, const struct shape *shape, enum format format,
	const struct span *values, const struct event *ev, struct err *e)
{
	struct stream *to = queue_of(s, st);

	if (takes_binary(s, to, shape)) {
		if (put_binary(s, st, shape, format, values, ev)) {
			add_trust(s, st, 1);
			return 0;
		}
		if (waits_apart(s, st, shape))
			return put_suspect(s, st, shape, format, values, ev, e);
		to->text_left = to->text_run;
		to->text_run *= 2;
	}
	return put_text(s, st, shape, format, values, ev, e);
}

struct span stream_copied(const struct stream *st)
{
	const char *dot = st->staged ? strrchr(st->target, '.') : NULL;

	return span_of(dot ? dot + 1 : st->table);
}

void stream_put_copy(struct sink *s, struct stream *st, const struct event *ev, bool binary)
{
	struct span row = ev->data;
	struct stream *to = queue_of(s, st);
	struct block *b = room(s, to, row.n + (st->staged ? STAGED_ROOM : 0), binary);
	char *start = b->data + b->len, *out = start + row.n;

	assert(!st->staged || !binary);
	memcpy(start, row.p, row.n);
	if (st->staged) {
		out[-1] = '\t';
		out += put_numbers(out, st, ev);
		out[-1] = '\n';
	}
	append(s, to, b, (size_t)(out - start), ev->id);
}

/* ---- the chain of blocks */

void stream_add_copy(struct buf *sql, const struct stream *st)
{
	buf_fmt(sql, "COPY %s (%s) FROM STDIN", st->target, st->columns->text);
}

struct block *stream_take(struct sink *s, struct stream *st)
{
	struct block *b = st->first;

	assert(b && b->len <= st->bytes);
	st->first = b->next;
	if (!st->first)
		st->last = NULL;
	st->bytes -= b->len;
	st->nrows -= b->nrows;
	if (st->suspect)
		s->held -= b->cap;
	s->held_long = s->held_long && s->held;
	level_set(s, st);
	return b;
}

void stream_put_back(struct sink *s, struct stream *st, struct block *b)
{
	b->next = st->first;
	st->first = b;
	if (!st->last)
		st->last = b;
	st->bytes += b->len;
	st->nrows += b->nrows;
	hold(s, st, b);
	level_set(s, st);
}
