/*
 * The pieces in which a slice is read, and their order.
 *
 * Where rows go to many partitions by turns, each gets a COPY of a few rows whenever memory is
 * full, and to begin a COPY costs as much as 30 rows or so. So the first piece of a slice is read
 * as it is, and tells how many rows a partition would have in memory. If they are few, the source
 * sorts each further piece by the partition column, where that is cheap: pieces are 8 times as
 * large as memory or more, and so are the COPYs. The shorter rows are, the more does the sort cost
 * the source: half as much as reading them where they have 750 bytes.
 *
 * While a piece is sorted no row comes. So they are sorted by turns on two connections, one while
 * the rows of the other are on their way. Where a second one is not to be had, or has to wait for a
 * lock or a pooler, the first sorts them all.
 */
#include <inttypes.h>

#include "from.h"

#define LOOK_BYTES (256 * 1024)         /* of the first piece: a sixteenth of the sink's memory */
#define SORT_BYTES (32 * 1024 * 1024)   /* of one that is sorted: up to three times the memory; */
#define WIDE_ROW 512                    /* twice as much of such rows takes no more */
#define SECOND_MS 15000                 /* without a row: the first takes over the second's piece */
#define LOOKS_OF_SLICE 8                /* a small slice has so many first pieces, */
#define SORTS_OF_SLICE 4                /* and so many that are sorted */
#define FEW_PARTITIONS 16               /* they have enough rows in memory */
#define FEW_ROWS 2                      /* of a partition, in the first piece */

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t look_bytes(const struct pieces *s)
{
	return least(LOOK_BYTES, s->pass->job->conf->from_slice / LOOKS_OF_SLICE);
}

static bool is_left(const struct pieces *s)
{
	return s->returned || !scan_at_end(s->query, &s->at);
}

/* Asks for the next one, if there is one, or for that which was given back. */
static int ask(struct pieces *s, struct pieces_side *side, int64_t bytes, struct err *e)
{
	struct scan_at *at = s->returned ? &s->back : &s->at;

	side->asked = is_left(s);
	if (!side->asked)
		return 0;
	side->begun = s->returned = false;
	side->at = *at;
	scan_add_piece(&side->sql, s->query, at, bytes, s->order, s->extract->list.p,
		s->pass->reader->binary);
	int rc = scan_ask(side->q, buf_cstr(&side->sql), e);
	side->sql.len = 0;
	return rc;
}

int pieces_begin(struct pieces *s, const struct pass *p, const struct slice_query *q,
	const struct extract *x, struct err *e)
{
	pieces_end(s);
	s->pass = p;
	s->query = q;
	s->extract = x;
	s->side[0].q = p->job->src;
	s->looks = true;
	return ask(s, &s->side[0], look_bytes(s), e);
}

void pieces_note(struct pieces *s, int64_t start_s)
{
	uint64_t hash = word_hash((const char *)&start_s, sizeof start_s) % (64 * PIECES_SEEN);
	uint64_t bit = UINT64_C(1) << hash % 64, *word = &s->seen[hash / 64];

	s->nseen += !(*word & bit);
	*word |= bit;
}

/* After the first: are the others to be sorted? */
static void choose_order(struct pieces *s)
{
	if (s->nseen <= FEW_PARTITIONS || s->rows / (int64_t)s->nseen >= FEW_ROWS)
		return;
	s->order = s->extract->order;
	s->sort_bytes = least(s->bytes / s->rows < WIDE_ROW ? SORT_BYTES : 2 * SORT_BYTES,
		s->pass->job->conf->from_slice / SORTS_OF_SLICE);
	log_debug("%s: %" PRId64 " rows go to %zu partitions: further ones are %ssorted",
		s->query->table->name, s->rows, s->nseen, s->order.p ? "" : "not ");
}

/* ---- the second connection */

static void end_second(struct pieces *s)
{
	pq_close(s->side[1].q);
	buf_free(&s->side[1].sql);
	s->side[1] = (struct pieces_side){ 0 };
	s->turn = 0;
}

/* After an error: does without, and gives its piece back to the first. */
static int give_up(struct pieces *s, struct err *e)
{
	log_debug("pieces are sorted on one connection: %s", e->msg);
	*e = (struct err){ 0 };
	s->single = true;
	s->returned = s->side[1].asked;
	s->back = s->side[1].at;
	end_second(s);
	return s->side[0].asked ? 0 : ask(s, &s->side[0], s->sort_bytes, e);
}

/* Asks for the first ones that are sorted. The second connection is opened while the first sorts;
 * its transaction begins without being waited for, since a pooler may have no server for it. */
static int begin_sorting(struct pieces *s, struct err *e)
{
	struct pieces_side *first = &s->side[0], *second = &s->side[1];

	if (!s->single && slice_twin(first->q, &second->sql, e) < 0)
		return e->code;
	if (ask(s, first, s->sort_bytes, e) < 0 || s->single || !is_left(s))
		return e->code;
	second->q = pq_open("src_db", s->pass->job->conf->src_db, NULL, e);
	return second->q && ask(s, second, s->sort_bytes, e) == 0 ? 0 : give_up(s, e);
}

/* In its turn no row has come. */
static int wait_for_second(const struct pieces *s, struct err *e)
{
	if (clock_ms() - s->turn_ms < SECOND_MS)
		return PQ_WAIT;
	return err_set(e, ERR_TIMEOUT, "src_db: no row of a sorted piece in %d s",
		SECOND_MS / 1000);
}

/* ---- from piece to piece */

/* The piece at hand is over: asks for more on its connection, and goes on to the other's. */
static int go_on(struct pieces *s, struct err *e)
{
	struct pieces_side *side = &s->side[s->turn], *other = &s->side[!s->turn];
	bool looked = s->looks;

	side->asked = s->looks = false;
	if (looked && is_left(s))
		choose_order(s);
	if (looked && s->order.p)
		return begin_sorting(s, e);
	if (ask(s, side, s->order.p ? s->sort_bytes : INT64_MAX, e) == 0 && other->asked) {
		s->turn = !s->turn;
		s->turn_ms = clock_ms();
	}
	return e->code;
}

int pieces_row(struct pieces *s, struct span *row, struct err *e)
{
	struct pieces_side *side;

	while ((side = &s->side[s->turn])->asked) {
		int step = scan_row(side->q, row, e);
		if (step == PQ_READY) {
			side->begun = true;
			s->rows++;
			s->bytes += (int64_t)row->n;
			return step;
		}
		bool early = s->turn && !side->begun;
		if (step == PQ_WAIT && early)
			step = wait_for_second(s, e);
		if (step == PQ_END)
			step = go_on(s, e);
		else if (step < 0 && early)
			step = give_up(s, e);
		else
			return step;
		if (step < 0)
			return step;
	}
	end_second(s);
	return PQ_END;
}

struct pq *pieces_from(const struct pieces *s)
{
	return s->side[s->turn].q;
}

void pieces_end(struct pieces *s)
{
	end_second(s);
	buf_free(&s->side[0].sql);
	*s = (struct pieces){ .single = s->single };
}
